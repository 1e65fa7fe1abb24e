require("./launch.js")();
