// Package runnertest is a double of a runner, as strict as the strictest real
// one at each point: what an action survives here it survives on a Forgejo
// runner v12 in host mode, in nektos/act and on GitHub.
//
// Whose contract it follows:
//   - a terminal on stdin, stdout and stderr, in a session of its own
//     (Forgejo, act: host_environment.go);
//   - commands from anybody who prints them, on either stream: ::set-env::,
//     ::add-path::, ::set-output:: (Forgejo v12), after blanks and as ##[ in
//     the middle of a line (GitHub: ActionCommand.cs);
//   - ::stop-commands:: ends with the step for the engine, but with nothing
//     except its token for the log of a Forgejo job (reporter.go): a fence
//     that a kill left open swallows the masks of the next step;
//   - three maskers, because no two are alike: see Result.ShownBy;
//   - the scanner of Forgejo v12 for GITHUB_OUTPUT and its like: a line of
//     64 KiB and everything after it is lost without an error; empty lines at
//     the start of a value are lost too (parse_env_file.go);
//   - a value in GITHUB_ENV is evaluated in the next step: ${{ secrets.X }}
//     in it becomes the secret (Forgejo, act);
//   - the environment of the runner's daemon reaches every step, with INPUT_*
//     and a token in it (Forgejo);
//   - a cancel is SIGKILL to the process group, at once (Forgejo).
//
// What it leaves out: expressions other than secrets, containers, caches,
// action.yml itself (scripts/index holds that to the rules), annotations.
package runnertest
