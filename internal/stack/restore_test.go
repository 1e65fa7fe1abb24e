package stack_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/runnertest"
)

// restoring is a step of tofu-state-restore.
func (r *rig) restoring(mode, archive string, more ...map[string]string) *runnertest.Step {
	r.t.Helper()
	in := map[string]string{"mode": mode, "archive": archive, "age_identity_file": r.key}
	return r.step("tofu-state-restore", append([]map[string]string{in}, more...)...)
}

func (r *rig) restore(archive string, more ...map[string]string) *runnertest.Result {
	r.t.Helper()
	return r.restoring("restore", archive, more...).Run()
}

var serialOf = regexp.MustCompile(`"serial": ?(\d+)`)

func serial(t *testing.T, state string) int {
	t.Helper()
	m := serialOf.FindStringSubmatch(state)
	if m == nil {
		t.Fatalf("no serial in the state:\n%.300s", state)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// withSerial is the state with another serial, and all other bytes the same.
func withSerial(state string, n int) string {
	return serialOf.ReplaceAllStringFunc(state, func(s string) string {
		return s[:strings.LastIndexAny(s, ": ")+1] + strconv.Itoa(n)
	})
}

// twice brings the stack up and changes it: it returns the name of the archive
// of the first state, and what is in it.
func (r *rig) twice() (name, state string) {
	r.t.Helper()
	r.applied()
	all := r.archives(filepath.Join(r.off, stackName))
	name, state = filepath.Base(last(all)), r.readState()
	r.config(strings.Replace(two, `"one"`, `"uno"`, 1))
	r.wantGreen(r.apply(r.mustPlan()))
	return name, state
}

func TestRestore(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	name, old := r.twice()
	before := r.readState()
	stale := r.mustPlan() // a receipt from before
	res := r.restore(name)
	r.wantGreen(res)
	want := serial(t, before) + 1
	if got := r.readState(); got != withSerial(old, want) {
		t.Errorf("the state is not the archive's with serial %d:\n%s", want, got)
	}
	if res.Outputs["serial"] != strconv.Itoa(want) || res.Outputs["archive"] != name || res.Outputs["verdict"] != "proven" || res.Outputs["drifted"] != "false" {
		t.Errorf("%v", res.Outputs)
	}
	for path, want := range map[string]string{"backup_path": before, "offsite_path": before, "restored_path": r.readState()} {
		if r.open(res.Outputs[path]) != want {
			t.Errorf("%s is something else", path)
		}
	}
	if info, err := os.Stat(r.state); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
	r.nothingLeft()
	// OpenTofu takes it, and a receipt from before is refused, though it is of
	// the plan of the serial that was overwritten.
	r.wantRed(r.apply(stale), "state-moved")
	r.wantGreen(r.apply(r.mustPlan()))
	// The archive of the state from before the restore goes back again, with a
	// serial that is above all of them.
	top := serial(t, r.readState())
	r.wantGreen(r.restore(filepath.Base(res.Outputs["backup_path"])))
	if got := serial(t, r.readState()); got != top+1 {
		t.Errorf("serial %d after %d", got, top)
	}
}

// nothingLeft proves that a restore leaves no half of anything.
func (r *rig) nothingLeft() {
	r.t.Helper()
	dir, name := filepath.Split(r.state)
	for _, path := range []string{filepath.Join(dir, "."+name+".restore"), filepath.Join(r.stack, "restore.json"), filepath.Join(r.stack, "push"), filepath.Join(dir, "."+name+".lock.info")} {
		if _, err := os.Lstat(path); err == nil {
			r.t.Errorf("%s was left", path)
		}
	}
	for _, pattern := range []string{filepath.Join(r.Temp, "edge-actions/kept-*"), filepath.Join(r.Temp, "edge-actions/secret-*"), filepath.Join(r.stack, ".partial-*"), filepath.Join(dir, ".partial-*")} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			r.t.Errorf("%q was left", found)
		}
	}
}

// An archive with the higher serial counts, though its state is gone: a plan
// for it must not fit the restored state.
func TestSerialIsAboveAllArchives(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	name, _ := r.twice()
	all := r.archives(filepath.Join(r.off, stackName))
	top := filepath.Base(last(all))
	forged := regexp.MustCompile(`serial\d+`).ReplaceAllString(top, "serial900")
	if err := os.CopyFS(filepath.Join(r.off, stackName, forged), os.DirFS(last(all))); err != nil {
		t.Fatal(err)
	}
	res := r.restore(name)
	r.wantGreen(res)
	if res.Outputs["serial"] != "901" {
		t.Errorf("serial %s", res.Outputs["serial"])
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	archive, _ := r.twice()
	whole, kept := r.readState(), t.TempDir()
	places := map[string]string{"archives": filepath.Join(r.stack, "archives"), "off": filepath.Join(r.off, stackName)}
	for name, dir := range places {
		if err := os.CopyFS(filepath.Join(kept, name), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	reset := func() {
		r.writeState(whole)
		for name, dir := range places {
			if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(filepath.Join(kept, name)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		spoil  func(r *rig, archive string) map[string]string
		reason string
		says   string
	}{
		"an unknown archive": {func(r *rig, a string) map[string]string {
			return map[string]string{"archive": "20200101T000000.000Z-serial1-0123456789ab"}
		}, "state-archive", "take a name from mode: list"},
		"a flipped bit in both copies": {func(r *rig, a string) map[string]string {
			flip(r, filepath.Join(r.off, stackName, a, "state.tfstate.zst.age"))
			flip(r, filepath.Join(r.stack, "archives", a, "state.tfstate.zst.age"))
			return nil
		}, "state-archive-bytes", "is damaged or was changed"},
		"a flipped bit in the copy that is asked for": {func(r *rig, a string) map[string]string {
			flip(r, filepath.Join(r.off, stackName, a, "state.tfstate.zst.age"))
			return map[string]string{"from": "offsite"}
		}, "state-archive-bytes", "is damaged or was changed"},
		"a manifest of another state": {func(r *rig, a string) map[string]string {
			for _, root := range []string{filepath.Join(r.off, stackName), filepath.Join(r.stack, "archives")} {
				path := filepath.Join(root, a, "manifest.json")
				data, err := os.ReadFile(path)
				if err != nil {
					r.t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(strings.Replace(string(data), `"instances": 2`, `"instances": 3`, 1)), 0o600); err != nil {
					r.t.Fatal(err)
				}
			}
			return nil
		}, "state-archive-opens", "do not belong together"},
		"an archive of another stack": {func(r *rig, a string) map[string]string {
			for dir, to := range map[string]string{r.off: stackName, filepath.Join(r.stack, ".."): filepath.Join(stackName, "archives")} {
				if err := os.CopyFS(filepath.Join(dir, strings.Replace(to, stackName, "other", 1)), os.DirFS(filepath.Join(dir, to))); err != nil {
					r.t.Fatal(err)
				}
			}
			return map[string]string{"stack": "other"}
		}, "state-archive", `of the stack "edge", not of "other"`},
		"a wrong key": {func(r *rig, a string) map[string]string {
			key := filepath.Join(r.t.TempDir(), "other.txt")
			realtools.Output(r.t, "age-keygen", "-o", key)
			return map[string]string{"age_identity_file": key}
		}, "state-archive-opens", "this key does not open"},
		"another lineage": {func(r *rig, a string) map[string]string {
			r.writeState(regexp.MustCompile(`"lineage": "[^"]*"`).ReplaceAllString(r.readState(), `"lineage": "other"`))
			return nil
		}, "state-lineage", "set accept_state: lineage"},
		"no state": {func(r *rig, a string) map[string]string {
			os.Remove(r.state)
			return nil
		}, "state-vanished", "set accept_state: vanished"},
		"no place off the machine that can be listed": {func(r *rig, a string) map[string]string {
			if err := os.RemoveAll(filepath.Join(r.off, stackName)); err != nil {
				r.t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(r.off, stackName), nil, 0o600); err != nil {
				r.t.Fatal(err)
			}
			return nil
		}, "state-archive", "not a directory"},
		"a backup that can't be proved": {func(r *rig, a string) map[string]string {
			key := filepath.Join(r.t.TempDir(), "other.txt")
			realtools.Output(r.t, "age-keygen", "-o", key)
			return map[string]string{"age_recipients": realtools.Output(r.t, "age-keygen", "-y", key)}
		}, "backup-unproven", "nothing was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			more := c.spoil(r, archive)
			var before string
			if data, err := os.ReadFile(r.state); err == nil {
				before = string(data)
			}
			res := r.restore(archive, more)
			r.wantRed(res, c.reason)
			if !strings.Contains(res.Log, c.says) {
				t.Errorf("the log does not say %q:\n%s", c.says, res.Log)
			}
			if data, _ := os.ReadFile(r.state); string(data) != before {
				t.Error("the state was changed")
			}
			r.nothingLeft()
			reset()
		})
	}
}

// What is wrong is said at once, and what the operator accepted is shown.
func TestRestoreAccepts(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	name, old := r.twice()
	r.writeState(regexp.MustCompile(`"lineage": "[^"]*"`).ReplaceAllString(r.readState(), `"lineage": "other"`))
	other := r.readState()
	res := r.restore(name, map[string]string{"accept_state": "lineage"})
	r.wantGreen(res)
	if r.readState() != withSerial(old, serial(t, other)+1) || r.open(res.Outputs["backup_path"]) != other {
		t.Errorf("another state was restored, or the other one was not kept:\n%s", res.Log)
	}
	if !strings.Contains(res.Log, "[waived by accept_state: lineage]") {
		t.Errorf("the waiver is not shown:\n%s", res.Log)
	}
	r.wantGreen(r.plan())
	os.RemoveAll(filepath.Dir(r.state)) // the disk is a new one
	res = r.restore(name, map[string]string{"accept_state": "vanished"})
	r.wantGreen(res)
	if r.readState() != withSerial(old, serial(t, other)+2) || res.Outputs["backup_path"] != "" {
		t.Errorf("%v\n%s", res.Outputs, r.readState())
	}
	r.wantGreen(r.plan())
	// One copy is damaged: the other one serves, and the damage is told.
	flip(r, filepath.Join(r.stack, "archives", name, "state.tfstate.zst.age"))
	res = r.restore(name)
	r.wantGreen(res)
	if !strings.Contains(res.Log, "another copy of this archive is not whole") {
		t.Errorf("nobody is told:\n%s", res.Log)
	}
}

// The very case of a restore: what is there is no state. It stops nothing, and
// it is kept.
func TestRestoreOverABrokenState(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{"0 bytes": "", "cut": "{\n  \"version\": 4,\n  \"serial\": 70,\n", "noise": "\x00\x00\x00hello"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, two)
			archive, old := r.twice()
			top := serial(t, r.readState())
			r.writeState(broken)
			r.wantRed(r.plan(), "state-whole")
			res := r.restore(archive)
			r.wantGreen(res)
			if name == "cut" {
				top = 70
			}
			if r.readState() != withSerial(old, top+1) {
				t.Errorf("the state after serial %d:\n%s", top, r.readState())
			}
			if broken != "" {
				got := realtools.Output(t, "bash", "-c", `set -o pipefail; age -d -i "$1" "$2" | zstd -d`, "-", r.key, res.Outputs["backup_path"])
				if got != broken {
					t.Errorf("%q was kept", got)
				}
			}
			r.nothingLeft()
			r.wantGreen(r.plan())
		})
	}
}

// OpenTofu holds the lock: nothing is written, and it is said who holds it.
func TestRestoreWhileTofuHoldsTheLock(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	name, _ := r.twice()
	held := newGate(t)
	r.config(two + "resource \"terraform_data\" \"s\" {\n provisioner \"local-exec\" {\n command = \"" + held.wait() + "\"\n}\n}\n")
	s := r.step("tofu-apply", r.mustPlan())
	s.Start()
	s.WaitLog("terraform_data.s: Creating...")
	res := r.restore(name, map[string]string{"lock_timeout": "100ms"})
	r.wantRed(res, "state-locked")
	if !strings.Contains(res.Log, "still runs") { // a backend without locks is guarded by nothing else
		t.Errorf("the apply was not seen:\n%s", res.Log)
	}
	held.open(t)
	r.wantGreen(s.Wait())
	held.shut()
	// By somebody who is no apply of ours.
	cmd := r.tofuCmd("apply", "-auto-approve", "-input=false", "-replace=terraform_data.s")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	info := filepath.Join(filepath.Dir(r.state), ".edge.tfstate.lock.info")
	for {
		if _, err := os.Stat(info); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	res = r.restore(name, map[string]string{"lock_timeout": "100ms"})
	r.wantRed(res, "state-locked")
	if !strings.Contains(res.Log, "OperationTypeApply") {
		t.Errorf("the log does not say who holds it:\n%s", res.Log)
	}
	held.open(t)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	r.wantGreen(r.restore(name))
	r.nothingLeft()
}

func TestListOfArchives(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	name, _ := r.twice()
	list := func(more map[string]string) (*runnertest.Result, map[string]map[string]any, []string) {
		res := r.restoring("list", "", more).Run()
		var all []map[string]any
		if text := res.Outputs["archives"]; text != "" {
			if err := json.Unmarshal([]byte(text), &all); err != nil {
				t.Fatal(err)
			}
		}
		by, names := map[string]map[string]any{}, []string{}
		for _, l := range all {
			by[l["name"].(string)] = l
			names = append(names, l["name"].(string))
		}
		return res, by, names
	}
	res, by, names := list(nil)
	r.wantGreen(res)
	if len(names) != len(r.archives(filepath.Join(r.off, stackName))) || res.Outputs["newest_good"] != names[0] {
		t.Errorf("%q, newest good %q", names, res.Outputs["newest_good"])
	}
	if got := by[name]; got["verdict"] != "proven" || got["where"] != "both" || got["same"] != "yes" || got["instances"] != 2.0 || got["reason"] != "after-apply" || got["good"] != true {
		t.Errorf("%v", got)
	}
	if !strings.Contains(res.Log, name) {
		t.Errorf("the log does not show it:\n%s", res.Log)
	}
	// What was not opened is not proven, and one that was carries the rest.
	res, by, _ = list(map[string]string{"verify": "1"})
	r.wantGreen(res)
	if by[names[0]]["verdict"] != "proven" || by[names[1]]["verdict"] != "unproven" {
		t.Errorf("%v", by)
	}
	res, _, _ = list(map[string]string{"verify": "0"})
	r.wantRed(res, "newest-good")
	if res.Outputs["verdict"] != "unproven" {
		t.Errorf("verdict %q", res.Outputs["verdict"])
	}
	// One copy is damaged here, another one there, a third is only here.
	flip(r, filepath.Join(r.stack, "archives", names[0], "state.tfstate.zst.age"))
	flip(r, filepath.Join(r.off, stackName, names[1], "state.tfstate.zst.age"))
	os.RemoveAll(filepath.Join(r.off, stackName, names[2]))
	res, by, _ = list(nil)
	r.wantRed(res, "state-archive-copied")
	for i, want := range []string{"disproven both no", "disproven both no", "disproven here <nil>"} {
		if got := fmt.Sprint(by[names[i]]["verdict"], " ", by[names[i]]["where"], " ", by[names[i]]["same"]); got != want {
			t.Errorf("%s: %s, want %s", names[i], got, want)
		}
	}
	key := filepath.Join(t.TempDir(), "other.txt")
	realtools.Output(t, "age-keygen", "-o", key)
	res, _, _ = list(map[string]string{"age_identity_file": key})
	r.wantRed(res, "state-archive-opens")
	r.wantRed(r.restoring("list", "", map[string]string{"stack": "none"}).Run(), "state-archive")
}
