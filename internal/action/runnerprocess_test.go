package action_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/action"
)

// leaveSecrets is a step that is killed after it has kept a secret, and while it
// writes others.
func leaveSecrets(ctx context.Context, a *action.Action) error {
	kept, err := a.KeepSecretFiles(ctx, time.Hour)
	if err != nil {
		return err
	}
	_, writeErr := kept.Write("token", []byte("secret"))
	plan, planErr := a.TempDir("plan")
	secret, _, secretErr := a.SecretDir()
	if err := errors.Join(writeErr, kept.Keep(), planErr, secretErr); err != nil {
		return err
	}
	a.Logf("dirs %s %s %s", kept.Dir, plan, secret)
	<-ctx.Done()
	return ctx.Err()
}

// A runner with a workspace and a RUNNER_TEMP for each job was killed with its
// step. What the job had is nobody's from then on, and not before.
func TestSweepOfAKilledRunner(t *testing.T) {
	j := newRunnerJob(t)
	// The shell is the runner, which gives each step a process group.
	runner := exec.Command("bash", "-c", `set -m; "$0" & wait`, os.Args[0])
	runner.Env = append(os.Environ(), "ACTION_TEST_SCENARIO=leave secrets", "HOME="+j.home, "RUNNER_TEMP="+j.temp, "GITHUB_WORKSPACE="+j.workspace, "GITHUB_RUN_ID=1", "GITHUB_JOB=deploy")
	out, err := runner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := runner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	dirs := strings.Fields(strings.TrimPrefix(line, "dirs "))
	if err != nil || len(dirs) != 3 {
		t.Fatalf("the step says %q, %v", line, err)
	}
	step, err := exec.Command("pgrep", "-P", strconv.Itoa(runner.Process.Pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	kill := func(pid string) {
		if out, err := exec.Command("kill", "-KILL", pid).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	next := j
	next.run, next.workspace, next.temp = "2", t.TempDir(), t.TempDir()
	use := func() (there []bool) {
		t.Helper()
		_, remove, err := next.action(t).SecretDir()
		if err != nil {
			t.Fatal(err)
		}
		remove()
		for _, dir := range dirs {
			there = append(there, isThere(dir))
		}
		return there
	}
	if got := use(); !got[0] || !got[1] || !got[2] {
		t.Errorf("while the step is at work, kept files, plan and secrets are there: %v", got)
	}
	// A step that is over is not its job.
	if err := runner.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	kill(strings.TrimSpace(string(step)))
	for use()[2] { // until it is dead; the deadline is the test's
	}
	if got := use(); !got[0] || !got[1] {
		t.Errorf("while the job goes on, kept files and plan are there: %v", got)
	}
	runner.Process.Kill()
	runner.Wait()
	if got := use(); got[0] || got[1] || got[2] {
		t.Errorf("when the runner is gone, kept files, plan and secrets are there: %v", got)
	}
	if isThere(filepath.Join(j.temp, "edge-actions")) {
		t.Error("their place is still there")
	}
	if got := registered(t, j.home); len(got) != 1 {
		t.Errorf("the register holds %v, want the next job's place alone", got)
	}
}
