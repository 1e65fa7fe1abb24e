package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/runnertest"
)

// shim is the action's own JavaScript beside a launcher that is a fake: what it
// passes on is what is looked at.
func shim(t *testing.T, launcher string) (dir string) {
	t.Helper()
	root := t.TempDir()
	dir = filepath.Join(root, "actions", "nixos-bootstrap")
	for _, d := range []string{dir, filepath.Join(root, "scripts")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"main.js", "post.js", "launch.js"} {
		write(t, filepath.Join(dir, name), read(t, name))
	}
	write(t, filepath.Join(root, "scripts", "action"), launcher)
	return dir
}

// A step is a process of node's, which is what a runner makes of it.
func TestShimPassesOn(t *testing.T) {
	node := realtools.Path(t, "node")
	dir := shim(t, "echo \"called as <$*>, mode <$INPUT_MODE>, stdin <$(cat)>\"\nexit \"$INPUT_CODE\"\n")
	for file, called := range map[string]string{"main.js": "<nixos-bootstrap>", "post.js": "<nixos-bootstrap post>"} {
		for code, want := range map[string]int{"0": 0, "1": 1, "42": 42} {
			t.Run(file+" "+code, func(t *testing.T) {
				t.Parallel()
				cmd := exec.Command(node, filepath.Join(dir, file))
				cmd.Env = append(os.Environ(), "INPUT_MODE=plan", "INPUT_CODE="+code)
				out, _ := cmd.CombinedOutput() // the exit code is looked at
				if cmd.ProcessState.ExitCode() != want || !strings.Contains(string(out), "called as "+called+", mode <plan>, stdin <>") {
					t.Errorf("exit code %d\n%s", cmd.ProcessState.ExitCode(), out)
				}
			})
		}
	}
	t.Run("a launcher that is killed", func(t *testing.T) {
		cmd := exec.Command(node, filepath.Join(shim(t, "kill -KILL $$\n"), "main.js"))
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%v", err)
		}
	})
	t.Run("no bash", func(t *testing.T) {
		cmd := exec.Command(node, filepath.Join(dir, "main.js"))
		cmd.Env = []string{"PATH=/nowhere"}
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "wanted bash to run") || !strings.Contains(string(out), "ENOENT") {
			t.Errorf("exit code %d\n%s", cmd.ProcessState.ExitCode(), out)
		}
	})
}

// What asks the step to end reaches the child, and the step ends when the child
// has: what it shuts takes a while.
func TestShimPassesSignalsOn(t *testing.T) {
	node := realtools.Path(t, "node")
	dir := shim(t, `trap 'echo "asked by INT"; ended=4' INT
trap 'echo "asked by TERM"; ended=5' TERM
trap 'echo "asked by HUP"; ended=6' HUP
ended=
echo ready
until [ -n "$ended" ]; do sleep 0.05; done
sleep 0.3
echo "it is shut"
exit "$ended"
`)
	for signal, want := range map[syscall.Signal]struct {
		name string
		code int
	}{syscall.SIGINT: {"INT", 4}, syscall.SIGTERM: {"TERM", 5}, syscall.SIGHUP: {"HUP", 6}} {
		t.Run(want.name, func(t *testing.T) {
			t.Parallel()
			s := runnertest.New(t).Step([]string{node, filepath.Join(dir, "main.js")}, nil)
			s.Start()
			s.WaitLog("ready")
			s.Signal(signal)
			res := s.Wait()
			if res.ExitCode != want.code || !strings.Contains(res.Log, "asked by "+want.name) || !strings.Contains(res.Log, "it is shut") || len(res.Alive) > 0 {
				t.Errorf("exit code %d, alive %v\n%s", res.ExitCode, res.Alive, res.Log)
			}
		})
	}
}

// Under a real engine, as a workflow uses it: the inputs arrive in both phases,
// the outputs of a failed step are there, and the post phase runs after it.
func TestUnderAct(t *testing.T) {
	act := realtools.Path(t, "act")
	realtools.Path(t, "node")
	repo, home := t.TempDir(), t.TempDir()
	for _, part := range []string{"actions/nixos-bootstrap", "internal", "scripts/action", "scripts/lib", "go.mod", "go.sum"} {
		if err := os.MkdirAll(filepath.Join(repo, filepath.Dir(part)), 0o755); err != nil {
			t.Fatal(err)
		}
		realtools.Output(t, "cp", "-R", "../../"+part, filepath.Join(repo, part))
	}
	write(t, filepath.Join(repo, "shim.yml"), `name: shim
on: push
jobs:
  shim:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
      - id: bootstrap
        continue-on-error: true
        uses: ./actions/nixos-bootstrap
        with:
          method: kickstart
          node: edge-1
          runner_dir: `+home+`/state
      - env:
          SEEN: "${{ steps.bootstrap.outcome }} ${{ steps.bootstrap.outputs.public_ssh }} ${{ steps.bootstrap.outputs.failure_reason }}"
        run: echo "SEEN=<$SEEN>"
`)
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "t"}} {
		realtools.Output(t, "git", append([]string{"-C", repo}, args...)...)
	}
	cmd := exec.Command(act, "push", "--workflows", "shim.yml", "--platform", "self-hosted=-self-hosted", "--rm")
	cmd.Dir, cmd.Env = repo, realtools.Environ()
	out, err := cmd.CombinedOutput()
	log := string(out)
	if err != nil {
		t.Fatalf("act: %v\n%.20000s", err, log)
	}
	_, seen, _ := strings.Cut(log, "| SEEN=")
	seen, _, _ = strings.Cut(seen, "\n")
	if !strings.HasPrefix(seen, "<failure open input-") {
		t.Errorf("the next step saw %s", seen)
	}
	for _, text := range []string{`"kickstart"`, "one of nixos-infect, nixos-anywhere, adopt", "no door that the step left open"} {
		if !strings.Contains(log, text) {
			t.Errorf("%q is not in the log:\n%.20000s", text, log)
		}
	}
	if strings.Contains(log, "wanted the input") || strings.Index(log, "SEEN=") > strings.Index(log, "no door that the step left open") {
		t.Errorf("the post phase did not come last:\n%.20000s", log)
	}
}
