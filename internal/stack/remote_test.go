package stack_test

import (
	"fmt"
	"strings"
	"testing"
)

// From nothing to a state, a change, and a plan without one: each step is backed
// up from the backend itself, the archive is what OpenTofu reads there, and
// what the backend is reached with stays in the environment of tofu.
func TestRemoteLife(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, fresh func(*testing.T, string) *far) {
		r := fresh(t, two)
		r.wantRed(r.plan(), "state-new")
		planned := r.plan(map[string]string{"accept_state": "new"})
		r.wantGreen(planned)
		if len(r.kept()) != 0 {
			t.Errorf("archives of nothing: %q", r.kept())
		}
		applied := r.apply(handOver(planned))
		r.wantGreen(applied)
		if got := r.open(applied.Outputs["offsite_path"]); got != r.state() {
			t.Errorf("the archive is not the state:\n%s", got)
		}
		r.config(strings.Replace(two, `"one"`, `"uno"`, 1))
		changed := r.plan()
		r.wantGreen(changed)
		if changed.Outputs["to_change"] != "1" || r.open(changed.Outputs["offsite_path"]) != r.state() {
			t.Errorf("%v", changed.Outputs)
		}
		r.wantGreen(r.apply(handOver(changed)))
		last := r.plan()
		r.wantGreen(last)
		if last.Outputs["changes"] != "false" || !strings.Contains(r.state(), `"uno"`) {
			t.Errorf("%v", last.Outputs)
		}
		r.wantRed(r.apply(handOver(changed)), "plan-changed")
		for _, secret := range r.secrets {
			for _, log := range []string{planned.Log, applied.Log, changed.Log, last.Log, planned.Summary, applied.Summary, fmt.Sprint(planned.Outputs, applied.Outputs)} {
				if strings.Contains(log, secret) {
					t.Errorf("what the backend is reached with is shown:\n%s", log)
				}
			}
			if found := r.FilesWith(secret); len(found) > 0 {
				t.Errorf("it was left in %q", found)
			}
		}
	})
}
