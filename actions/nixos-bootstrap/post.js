require("./launch.js")("post");
