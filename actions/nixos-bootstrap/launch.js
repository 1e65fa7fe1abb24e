// The launcher, with what goes to a process' group passed on to it. A node
// action is the one form that has a post phase, and that phase is the one thing
// that still runs after a cancel on a Forgejo runner.
const { spawn } = require("child_process");
const path = require("path");

module.exports = (...args) => {
  const launcher = path.join(__dirname, "..", "..", "scripts", "action");
  let child;
  // Before there is a child: a signal in between would end us and not it.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child = spawn("bash", [launcher, "nixos-bootstrap", ...args], { stdio: "inherit" });
  child.on("error", (err) => {
    console.error(`wanted bash to run ${launcher}, found: ${err.message}`);
    process.exitCode = 1;
  });
  child.on("exit", (code) => (process.exitCode = code ?? 1));
};
