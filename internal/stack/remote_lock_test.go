package stack_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/runnertest"
)

// Somebody beside the actions holds the lock, in the middle of an apply. Nobody
// forces it: plan, apply and restore end clearly, the state stays theirs, and
// once it is free all goes on. A receipt from before it is refused.
func TestRemoteLock(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, fresh func(*testing.T, string) *far) {
		r, h := fresh(t, two), newHalt(t)
		r.applied()
		archive := filepath.Base(last(r.kept()))
		r.config(two + h.inApply())
		planned := r.mustPlan()
		before := r.state()
		other := r.beside("apply", "-auto-approve", "-input=false", "-no-color")
		var said strings.Builder
		other.Stdout, other.Stderr = &said, &said
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- other.Wait() }()
		t.Cleanup(func() { other.Process.Kill() })
		h.reached()
		short := map[string]string{"lock_timeout": "1s"}
		r.wantRed(r.plan(short), "state-locked")
		saved := copyOf(t, planned["plan_path"])
		res := r.apply(planned, short)
		r.wantRed(res, "state-locked")
		if !strings.Contains(res.Log, "OperationTypeApply") {
			t.Errorf("the log does not show the lock:\n%s", res.Log)
		}
		res = r.restore(archive, short)
		r.wantRed(res, "restore-failed")
		if !strings.Contains(res.Log, "Error acquiring the state lock") {
			t.Errorf("the log does not say that it is locked:\n%s", res.Log)
		}
		if got := r.state(); got != before {
			t.Errorf("the state was written under somebody's lock:\n%s", got)
		}
		h.open()
		if err := <-ended; err != nil {
			t.Fatalf("the lock was taken from its holder: %v\n%s", err, said.String())
		}
		// A run that had been told to wait would have waited; the plan from before
		// is used up, and a copy of it does not fit.
		planned["plan_path"] = saved
		r.wantRed(r.apply(planned), "state-moved")
		after := r.plan()
		r.wantGreen(after)
		if after.Outputs["changes"] != "false" {
			t.Errorf("what the other has made is planned again:\n%s", after.Log)
		}
		r.wantGreen(r.apply(handOver(after)))
	})
}

// Two runners, each with its own archives and records, apply two plans of the
// same state at the same moment: one is applied, the other ends clearly, and
// both see the same state afterwards.
func TestTwoRunnersAtOnce(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, fresh func(*testing.T, string) *far) {
		r := fresh(t, two)
		r.applied()
		r.config(strings.Replace(two, `"one"`, `"uno"`, 1))
		machines := []map[string]string{{}, {"runner_dir": filepath.Join(r.Home, "second")}}
		var steps []*runnertest.Step
		for _, m := range machines {
			steps = append(steps, r.step("tofu-apply", r.mustPlan(m), m, map[string]string{"lock_timeout": "30s"}))
		}
		for _, s := range steps {
			s.Start()
		}
		green := 0
		for _, s := range steps {
			res := s.Wait()
			switch reason := res.Outputs["failure_reason"]; {
			case res.Green():
				green++
			case reason == "state-moved", reason == "state-locked":
			default:
				t.Errorf("the other ended with %q:\n%s", reason, res.Log)
			}
		}
		if green != 1 {
			t.Errorf("%d of the two were applied", green)
		}
		for i, m := range machines {
			res := r.plan(m)
			r.wantGreen(res)
			if res.Outputs["changes"] != "false" {
				t.Errorf("runner %d sees changes:\n%s", i, res.Log)
			}
		}
		r.config(strings.Replace(two, `"one"`, `"eins"`, 1))
		for _, m := range machines {
			r.wantGreen(r.apply(r.mustPlan(m), m))
		}
	})
}

// A connection string that is no URL comes back in the error about it. It is
// masked, and nothing else of the environment is there either.
func TestBrokenConnectionString(t *testing.T) {
	t.Parallel()
	r := newPG(t, two)
	const password = "hunter2-c0rrect-horse"
	r.env["PG_CONN_STR"] = fmt.Sprintf("postgres://operator:%s@127.0.0.1:notaport/state", password)
	res := r.plan(map[string]string{"accept_state": "new"})
	r.wantRed(res, "init")
	if !strings.Contains(res.RawLog, "notaport") {
		t.Fatalf("the error does not show it, so this proves nothing:\n%s", res.RawLog)
	}
	for name, log := range res.Logs {
		if name != "act" && strings.Contains(log, password) {
			t.Errorf("%s shows the password:\n%s", name, log)
		}
	}
	if strings.Contains(res.Summary, password) || len(r.FilesWith(password)) > 0 {
		t.Errorf("it is in %q, or in the summary:\n%s", r.FilesWith(password), res.Summary)
	}
}
