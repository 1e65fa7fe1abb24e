package stack_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/runnertest"
)

// halt holds whoever comes to it until it is opened, so that something can
// happen in the middle of what tofu does.
type halt struct {
	t    *testing.T
	dir  string
	http *httptest.Server
}

func newHalt(t *testing.T) *halt {
	t.Helper()
	h := &halt{t: t, dir: t.TempDir()}
	h.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h.touch("reached")
		h.await("open", q.Context().Done())
		fmt.Fprint(w, `{"version":4,"terraform_version":"1.12.6","serial":1,"lineage":"of-the-gate","outputs":{},"resources":[],"check_results":null}`)
	}))
	t.Cleanup(func() { // or the server would wait for ever
		h.open()
		h.http.Close()
	})
	return h
}

// inPlan is configuration that is read in the middle of a plan, with the lock
// held.
func (h *halt) inPlan() string {
	return fmt.Sprintf("data \"terraform_remote_state\" \"gate\" {\n  backend = \"http\"\n  config = {\n    address = %q\n  }\n}\n", h.http.URL)
}

// inApply is a resource that is made in the middle of an apply, after another.
func (h *halt) inApply() string {
	return fmt.Sprintf("resource \"terraform_data\" \"before\" {}\nresource \"terraform_data\" \"gate\" {\n  depends_on = [terraform_data.before]\n  provisioner \"local-exec\" {\n    command = %q\n  }\n}\n", h.shell())
}

// shell is a line of shell that waits at the gate.
func (h *halt) shell() string {
	return fmt.Sprintf("touch %[1]s/reached; while [ ! -e %[1]s/open ]; do sleep 0.02; done", h.dir)
}

func (h *halt) touch(name string) {
	if err := os.WriteFile(filepath.Join(h.dir, name), nil, 0o600); err != nil {
		h.t.Error(err)
	}
}

func (h *halt) open() { h.touch("open") }

// reached waits until somebody is there.
func (h *halt) reached() {
	h.t.Helper()
	h.await("reached", h.t.Context().Done())
}

func (h *halt) await(name string, gone <-chan struct{}) {
	for !there(filepath.Join(h.dir, name)) {
		select {
		case <-gone:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// stop is a stop of PostgreSQL in the middle of something.
type stop struct {
	action string // the step that is under way
	inPlan bool   // in the middle of tofu plan, or
	before string // before this command of tofu's
	killed bool   // the step is, too, as by a cancel
	want   string
}

// PostgreSQL is gone, as after a crash, in the middle of a step. The step ends
// by itself with what it was at, it is neither green nor a lost state, and what
// the database held is what it holds. The next run is clean.
func TestPostgreSQLStops(t *testing.T) {
	t.Parallel()
	const plan, apply = "tofu-plan-with-state-backup", "tofu-apply"
	for name, at := range map[string]stop{
		"in the backup":           {action: plan, before: "state pull", want: "state-unreadable"},
		"before the plan's lock":  {action: plan, before: "plan -json", want: "state-unreadable"},
		"in the plan":             {action: plan, inPlan: true, want: "state-lock-lost"},
		"in the plan, and a kill": {action: plan, inPlan: true, killed: true},
		"before the receipt":      {action: plan, before: "show -json", want: "state-unreadable"},
		"before the apply":        {action: apply, before: "state pull", want: "state-unreadable"},
		"before the apply's lock": {action: apply, before: "apply -json", want: "state-unreadable"},
		"before the init":         {action: plan, before: "init -input=false", want: "init"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, h := newPG(t, two), newHalt(t)
			r.applied()
			before := r.state()
			var with map[string]string
			switch {
			case at.inPlan:
				r.config(two + h.inPlan())
			case at.before == "init -input=false":
				r.config(two + "# a change, so that there is something to initialise\n")
			case at.action == apply:
				r.config(strings.Replace(two, `"one"`, `"uno"`, 1))
				with = r.mustPlan()
			}
			if at.before != "" {
				r.wrapTofu("if [ \"$1 $2\" = \"" + at.before + "\" ]; then " + h.shell() + "; fi\nexec \"$real\" \"$@\"\n")
			}
			s := r.step(at.action, with)
			s.Start()
			h.reached()
			r.pg.Stop()
			if at.killed {
				s.KillGroup()
			}
			h.open()
			if !at.killed {
				res := s.Wait()
				r.wantRed(res, at.want)
				if !strings.Contains(res.Log, "UNPROVEN") || strings.Contains(res.Log, "state-vanished") {
					t.Errorf("it is not unproven, or taken for a lost state:\n%s", res.Log)
				}
				if res.Outputs["plan_path"] != "" {
					t.Errorf("a plan was given out: %v", res.Outputs)
				}
			}
			delete(r.inputs, "tofu_path")
			r.pg.Start()
			if got := r.state(); got != before {
				t.Errorf("the state was changed:\n%s", got)
			}
			r.config(strings.Replace(two, `"one"`, `"eins"`, 1))
			r.wantGreen(r.apply(r.mustPlan()))
			if !strings.Contains(r.state(), `"eins"`) {
				t.Error("the next run has changed nothing")
			}
		})
	}
}

// It is gone in the middle of an apply, with the step or without. What was made
// is in the state that OpenTofu could not write: that is kept, here and off the
// machine, and named; nobody plans without it, and it goes back by its name.
func TestPostgreSQLStopsInAnApply(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed %v", killed), func(t *testing.T) {
			t.Parallel()
			r, h := newPG(t, two), newHalt(t)
			r.applied()
			before := r.state()
			r.config(two + h.inApply())
			planned := r.mustPlan()
			s := r.step("tofu-apply", planned)
			s.Start()
			h.reached()
			r.pg.Stop()
			if killed {
				s.KillGroup()
			}
			h.open()
			var res *runnertest.Result
			if killed { // whoever comes next finds it
				res = r.apply(planned)
			} else {
				res = s.Wait()
			}
			if !strings.Contains(res.Log, "unproven   state-unreadable") {
				t.Errorf("the log does not say that the backend is gone:\n%s", res.Log)
			}
			r.wantRed(res, "apply-failed")
			if strings.Contains(res.Log, "nothing was changed") || !strings.Contains(res.Log, "the state after it has no backup yet") {
				t.Errorf("it does not say what is so after an apply:\n%s", res.Log)
			}
			errored, err := os.ReadFile(res.Outputs["errored_state_path"])
			if err != nil || !strings.Contains(string(errored), `"gate"`) {
				t.Fatalf("errored_state_path %q: %v\n%s", res.Outputs["errored_state_path"], err, res.Log)
			}
			name := filepath.Base(last(r.kept()))
			if r.open(last(r.kept())) != string(errored) {
				t.Error("the copy off the machine is something else")
			}

			r.pg.Start()
			if got := r.state(); got != before {
				t.Errorf("the state was changed:\n%s", got)
			}
			res = r.plan()
			r.wantRed(res, "state-errored")
			if !strings.Contains(res.Log, "put it back: tofu-state-restore with mode: restore and archive: "+name) {
				t.Errorf("the log does not say the way out:\n%s", res.Log)
			}
			r.wantGreen(r.restore(name))
			if got := r.state(); !strings.Contains(got, `"gate"`) || lineage(got) != lineage(before) || serial(t, got) <= serial(t, string(errored)) {
				t.Errorf("the state is\n%s", got)
			}
			after := r.plan()
			r.wantGreen(after)
			if after.Outputs["changes"] != "false" {
				t.Errorf("what was made would be made again:\n%s", after.Log)
			}
			// The failed apply, whose state had no backup yet, stops no other plan.
			res = r.apply(handOver(after))
			r.wantGreen(res)
			if !strings.Contains(res.Log, "proven     apply-earlier: it was reported then (apply-failed)") {
				t.Errorf("the earlier apply was not settled:\n%s", res.Log)
			}
		})
	}
}

// The same in the first apply of a stack: there is no other archive than that of
// the state that could not be written, and nothing to compare it with.
func TestPostgreSQLStopsInTheFirstApply(t *testing.T) {
	t.Parallel()
	h := newHalt(t)
	r := newPG(t, h.inApply())
	fresh := map[string]string{"accept_state": "new"}
	s := r.step("tofu-apply", r.mustPlan(fresh))
	s.Start()
	h.reached()
	r.pg.Stop()
	h.open()
	res := s.Wait()
	r.wantRed(res, "apply-failed")
	if len(r.kept()) == 0 {
		t.Fatalf("the state was not kept:\n%s", res.Log)
	}
	r.pg.Start()
	errored := last(r.kept())
	if left, err := os.ReadFile(res.Outputs["errored_state_path"]); err != nil || string(left) != r.open(errored) {
		t.Errorf("errored_state_path %q: %v", res.Outputs["errored_state_path"], err)
	}
	res = r.plan(fresh)
	r.wantRed(res, "state-errored")
	r.wantGreen(r.restore(filepath.Base(errored), map[string]string{"accept_state": "vanished"}))
	if got := r.state(); lineage(got) != lineage(r.open(errored)) || !strings.Contains(got, `"gate"`) {
		t.Errorf("the state is\n%s", got)
	}
	after := r.plan()
	r.wantGreen(after)
	if after.Outputs["changes"] != "false" {
		t.Errorf("what was made would be made again:\n%s", after.Log)
	}
}
