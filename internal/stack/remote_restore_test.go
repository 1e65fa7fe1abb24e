package stack_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The state of an archive goes back into the backend by OpenTofu's own push: over
// what is there, and where nothing is any more. Its serial is above all others,
// so that a receipt from before fits nothing; its lineage is the archive's.
func TestRemoteRestore(t *testing.T) {
	t.Parallel()
	backends(t, func(t *testing.T, fresh func(*testing.T, string) *far) {
		r := fresh(t, "resource \"terraform_data\" \"a\" {\n  input = sensitive(\""+secretInput+"\")\n}\n")
		r.applied()
		name := filepath.Base(last(r.kept()))
		r.config("resource \"terraform_data\" \"a\" {\n  input = \"uno\"\n}\n")
		r.wantGreen(r.apply(r.mustPlan()))
		before := r.state()
		restored := func(above string) {
			t.Helper()
			got := r.state()
			if !strings.Contains(got, secretInput) || strings.Contains(got, `"uno"`) || lineage(got) != lineage(before) || serial(t, got) <= serial(t, above) {
				t.Errorf("wanted the first state, of lineage %s and with a serial above %d:\n%s", lineage(before), serial(t, above), got)
			}
			if found := r.FilesWith(secretInput); len(found) > 0 {
				t.Errorf("in clear in %q", found)
			}
			r.nothingLeft()
		}
		stale := r.mustPlan()
		res := r.restore(name)
		r.wantGreen(res)
		restored(before)
		if r.open(res.Outputs["backup_path"]) != before || r.open(res.Outputs["restored_path"]) != r.state() {
			t.Errorf("the archives before and after are something else: %v", res.Outputs)
		}
		r.wantRed(r.apply(stale), "state-moved")

		top := r.state()
		r.lose()
		r.wantRed(r.plan(), "state-vanished")
		r.wantRed(r.restore(name), "state-vanished")
		r.wantGreen(r.restore(name, map[string]string{"accept_state": "vanished"}))
		restored(top)
		r.config("resource \"terraform_data\" \"a\" {\n  input = \"uno\"\n}\n")
		r.wantGreen(r.apply(r.mustPlan()))

		// Nobody answers: nothing is taken for lost, and nothing is changed.
		if r.pg == nil {
			return
		}
		r.pg.Stop()
		res = r.restore(name, map[string]string{"accept_state": "vanished"})
		r.wantRed(res, "state-unreadable")
		r.pg.Start()
		if !strings.Contains(r.state(), `"uno"`) {
			t.Error("the state was changed")
		}
		r.wantGreen(r.restore(name))
	})
}

// lose removes the state from the backend, as a mistake of somebody would.
func (r *far) lose() {
	r.t.Helper()
	if r.pg != nil {
		r.pg.Query(pgDatabase, "DELETE FROM "+pgSchema+".states")
		return
	}
	r.s3.Remove(s3Bucket, s3Key)
}

var lockID = regexp.MustCompile(`"ID":"([^"]+)"`)

// The lock of a killed run stays in S3, as a file that names its holder. It is
// shown, with the way out, and never removed by itself.
func TestStaleLockInS3(t *testing.T) {
	t.Parallel()
	r, h := newS3(t, two), newHalt(t)
	r.applied()
	r.config(two + h.inPlan())
	s := r.step("tofu-plan-with-state-backup")
	s.Start()
	h.reached()
	s.KillGroup()
	h.open()
	r.config(two)
	short := map[string]string{"lock_timeout": "1s"}
	res := r.plan(short)
	r.wantRed(res, "state-locked")
	lock := r.s3.Object(s3Bucket, s3Key+".tflock")
	if lock == "" {
		t.Fatalf("the lock file is gone: %q", r.s3.Keys(s3Bucket))
	}
	id := lockID.FindStringSubmatch(lock)
	if id == nil || !strings.Contains(res.Log, id[1]) || !strings.Contains(res.Log, "tofu force-unlock") {
		t.Errorf("the log does not show the lock %s, or no way out:\n%s", lock, res.Log)
	}
	if out, err := r.beside("force-unlock", "-force", id[1]).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.wantGreen(r.plan(short))
}

// A plan of a brand-new stack that is killed leaves 0 bytes in a local state's
// place. They are no state and nothing was made: the run says what to do, and
// does it.
func TestKilledPlanOfANewStack(t *testing.T) {
	t.Parallel()
	h := newHalt(t)
	r := newRig(t, two+h.inPlan())
	fresh := map[string]string{"accept_state": "new"}
	s := r.step("tofu-plan-with-state-backup", fresh)
	s.Start()
	h.reached()
	s.KillGroup()
	h.open()
	if info, err := os.Stat(r.state); err != nil || info.Size() != 0 {
		t.Fatalf("this is not what it is about: %v, %v", info, err)
	}
	res := r.plan()
	r.wantRed(res, "state-new")
	if !strings.Contains(res.Log, "0 bytes, as a killed run leaves them") || !strings.Contains(res.Log, "set accept_state: new for this one run") {
		t.Errorf("the log does not say the way out:\n%s", res.Log)
	}
	r.wantGreen(r.apply(r.mustPlan(fresh)))
	r.wantGreen(r.plan())
}
