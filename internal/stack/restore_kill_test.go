package stack_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/runnertest"
)

// A cancel on the home runner at each step of a restore: SIGKILL to the step's
// group. The state is whole, either old or new, as soon as any action of this
// stack has come by, and nothing of it lies about in clear.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	const changed = "resource \"terraform_data\" \"v\" {\n input = \"changed\"\n}\n"
	r := newRig(t, "resource \"terraform_data\" \"v\" {\n input = sensitive(\""+secretInput+"\")\n}\n")
	r.applied()
	archive, old := filepath.Base(last(r.archives(filepath.Join(r.off, stackName)))), r.readState()
	r.config(changed)
	r.wantGreen(r.apply(r.mustPlan()))
	killed := 0
	for name, at := range map[string]string{
		"before anything":         "TEMP/edge-actions/kept-*",
		"during the backup":       "STACK/archives/.partial-*",
		"during its copy":         "OFF/.partial-*",
		"the record is there":     "STACK/restore.json",
		"the copy is there":       "STATE/.edge.tfstate.restore",
		"the lock is held":        "STATE/.edge.tfstate.lock.info",
		"during the last backup":  "STACK/archives/.partial-*/SHA256SUMS",
		"during the refresh plan": "TEMP/edge-actions/kept-*/refresh-*",
	} {
		now := r.readState()
		place := strings.NewReplacer("STACK", r.stack, "STATE", filepath.Dir(r.state), "OFF", filepath.Join(r.off, stackName), "TEMP", r.Temp)
		s := r.restoring("restore", archive)
		s.Start()
		if _, ok := s.TryKillOnFile(place.Replace(at)); ok { // some are there for a moment only
			killed++
		}
		// Another action of this stack comes by, in another job.
		r.NextJob()
		r.config(changed)
		r.wantGreen(r.plan())
		if got := r.readState(); got != now && got != withSerial(old, serial(t, now)+1) {
			t.Errorf("%s: neither the old nor the new state:\n%s", name, got)
		}
		r.nothingLeft()
		if found := r.FilesWith(secretInput); len(found) > 0 {
			t.Errorf("%s: in clear in %q", name, found)
		}
	}
	if killed < 5 {
		t.Errorf("only %d of the cases killed the step before its end", killed)
	}
	r.wantGreen(r.apply(r.mustPlan()))
	for _, dir := range append(r.archives(filepath.Join(r.stack, "archives")), r.archives(filepath.Join(r.off, stackName))...) {
		r.open(dir)
	}
}

// The write itself was cut off: each of the actions finishes it before it
// reads the state. (internal/tfstate kills it at every system call; here it is
// put together what such a kill leaves.)
func TestWhoeverComesFinishesTheRestore(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	archive, old := r.twice()
	planned := r.mustPlan()
	for _, c := range []struct {
		name  string
		comes func() *runnertest.Result
		want  string // the reason
	}{
		{"a plan", func() *runnertest.Result { return r.plan() }, ""},
		{"a drift", func() *runnertest.Result { return r.plan(map[string]string{"mode": "drift"}) }, ""},
		{"an apply", func() *runnertest.Result { return r.apply(planned) }, "state-moved"},
		{"a restore", func() *runnertest.Result { return r.restore(archive) }, ""},
	} {
		now := r.readState()
		want := withSerial(old, serial(t, now)+1)
		r.halfWritten(now, want, archive)
		res := c.comes()
		if res.Outputs["failure_reason"] != c.want {
			t.Errorf("%s: %q\n%s", c.name, res.Outputs["failure_reason"], res.Log)
		}
		if !strings.Contains(res.Log, "it was finished") {
			t.Errorf("%s does not say so:\n%s", c.name, res.Log)
		}
		if c.name == "a restore" {
			want = withSerial(want, serial(t, want)+1)
		}
		if got := r.readState(); got != want {
			t.Errorf("after %s the state is:\n%s", c.name, got)
		}
		r.nothingLeft()
	}
	// Without the copy nobody can finish it, and nobody reads the rest of it.
	now := r.readState()
	r.halfWritten(now, withSerial(old, serial(t, now)+1), archive)
	os.Remove(filepath.Join(filepath.Dir(r.state), ".edge.tfstate.restore"))
	res := r.plan()
	r.wantRed(res, "restore-unfinished")
	if !strings.Contains(res.Log, "run tofu-state-restore with mode: restore and archive: "+archive) {
		t.Errorf("the log does not say the way out:\n%s", res.Log)
	}
}

// halfWritten leaves what a restore leaves that is killed in the middle of its
// write.
func (r *rig) halfWritten(now, want, archive string) {
	r.t.Helper()
	digest := func(s string) map[string]any {
		return map[string]any{"sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(s))), "size": len(s)}
	}
	journal, err := json.Marshal(map[string]any{
		"state": r.state, "was": digest(now), "new": digest(want), "serial": serial(r.t, want), "archive": archive, "run": "run 7", "created": time.Now(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for path, text := range map[string]string{
		r.state: "#" + want[1:len(want)/2], filepath.Join(filepath.Dir(r.state), ".edge.tfstate.restore"): want, filepath.Join(r.stack, "restore.json"): string(journal),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}
