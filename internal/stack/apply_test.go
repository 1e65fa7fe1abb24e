package stack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// slow is a stack whose apply takes a second, in parts.
const slow = `
resource "terraform_data" "first" {
  input = "one"
}
resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" { command = "sleep 0.5" }
}
resource "terraform_data" "third" {
  depends_on = [terraform_data.second]
}
`

// slowBy is slow, and its second resource waits at the gate.
func slowBy(g gate) string { return strings.Replace(slow, "sleep 0.5", g.wait(), 1) }

func TestApplyIsOnceAndBackedUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	planned := r.mustPlan(map[string]string{"accept_state": "new"})
	res := r.apply(planned)
	r.wantGreen(res)
	if res.Outputs["outcome"] != "applied" || res.Outputs["state_serial"] != "1" || res.Outputs["state_lineage"] == "" {
		t.Errorf("%v", res.Outputs)
	}
	for _, dir := range []string{res.Outputs["backup_path"], res.Outputs["offsite_path"]} {
		if r.open(dir) != r.readState() {
			t.Errorf("%s is not the state", dir)
		}
	}
	if info, err := os.Stat(r.state); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the state has mode %v (%v)", info.Mode(), err)
	}
	// The same plan again, with or without its file.
	r.wantRed(r.apply(planned), "plan-changed")
	// A plan without changes is applied like any other.
	again := r.mustPlan()
	keep := copyOf(t, again["plan_path"])
	r.wantGreen(r.apply(again))
	again["plan_path"] = keep
	res = r.apply(again)
	r.wantRed(res, "plan-changed")
	if !strings.Contains(res.Log, "was applied, or was about to be, by an earlier run") {
		t.Errorf("the reason is another:\n%s", res.Log)
	}
}

func copyOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestReceipt changes one thing of the world after the plan and before the
// apply, each of which OpenTofu itself would not notice, or only in part.
func TestReceipt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		between func(r *rig, planned map[string]string)
		reason  string
	}{
		"an outside writer": {func(r *rig, _ map[string]string) {
			r.tofu("apply", "-auto-approve", "-input=false", "-replace=terraform_data.a")
		}, "state-moved"},
		"the same serial with other contents": {func(r *rig, _ map[string]string) {
			r.writeState(strings.Replace(r.readState(), `"one"`, `"eno"`, 1))
		}, "state-moved"},
		"the state vanished":   {func(r *rig, _ map[string]string) { os.Remove(r.state) }, "state-moved"},
		"the state is 0 bytes": {func(r *rig, _ map[string]string) { r.writeState("") }, "state-whole"},
		"another plan": {func(r *rig, planned map[string]string) {
			other := r.mustPlan(map[string]string{"replace": "terraform_data.a"})
			planned["plan_path"] = other["plan_path"]
		}, "plan-changed"},
		"a plan with one flipped bit":    {func(r *rig, planned map[string]string) { flip(r, planned["plan_path"]) }, "plan-changed"},
		"a receipt with one flipped bit": {func(r *rig, planned map[string]string) { flip(r, planned["receipt_path"]) }, "plan-changed"},
		"no plan":                        {func(r *rig, planned map[string]string) { os.Remove(planned["plan_path"]) }, "plan-changed"},
		"another commit":                 {func(r *rig, _ map[string]string) { r.env["GITHUB_SHA"] = strings.Repeat("0", 40) }, "plan-changed"},
		"another stack":                  {func(r *rig, _ map[string]string) { r.inputs["stack"] = "other" }, "plan-changed"},
		"another lock file": {func(r *rig, _ map[string]string) {
			os.WriteFile(filepath.Join(r.Workspace, "infra", ".terraform.lock.hcl"), []byte("# changed\n"), 0o644)
		}, "plan-changed"},
		"the archive is damaged": {func(r *rig, _ map[string]string) {
			flip(r, filepath.Join(last(r.archives(filepath.Join(r.stack, "archives"))), "state.tfstate.zst.age"))
		}, "backup-unproven"},
		"the copy is damaged": {func(r *rig, _ map[string]string) {
			flip(r, filepath.Join(last(r.archives(filepath.Join(r.off, stackName))), "state.tfstate.zst.age"))
		}, "backup-unproven"},
		"the copy is gone": {func(r *rig, _ map[string]string) { os.RemoveAll(filepath.Join(r.off, stackName)) }, "backup-unproven"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, two)
			r.applied()
			r.config(strings.Replace(two, `"one"`, `"uno"`, 1))
			planned := r.mustPlan()
			c.between(r, planned)
			before, _ := os.ReadFile(r.state)
			res := r.apply(planned)
			r.wantRed(res, c.reason)
			if after, _ := os.ReadFile(r.state); string(after) != string(before) {
				t.Error("the refused apply changed the state")
			}
			if res.Outputs["outcome"] != "" {
				t.Errorf("outcome %q", res.Outputs["outcome"])
			}
		})
	}
}

func flip(r *rig, path string) {
	r.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func last(names []string) string { return names[len(names)-1] }

func TestFailedApplyIsBackedUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	r.config(two + "resource \"terraform_data\" \"bad\" {\n provisioner \"local-exec\" {\n command = \"echo '::set-output name=outcome::owned'; exit 3\"\n}\n}\n")
	res := r.apply(r.mustPlan())
	r.wantRed(res, "apply-failed")
	if r.open(res.Outputs["backup_path"]) != r.readState() {
		t.Error("the state after the failure was not backed up")
	}
	if !strings.Contains(r.readState(), `"status": "tainted"`) {
		t.Error("this was no failure half-way")
	}
	// The next run starts from what is there.
	r.config(two)
	r.wantGreen(r.apply(r.mustPlan()))
}

// The state can't be written: its disk is full. What OpenTofu leaves in the
// checkout, which the runner deletes, is collected and archived.
func TestErroredState(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	disk := smallDisk(t, "64k")
	r.state = filepath.Join(disk, "edge.tfstate")
	r.inputs["backend_config"] = "path=" + r.state
	r.applied()
	r.config(two + "resource \"terraform_data\" \"big\" {\n input = join(\"\", [for i in range(1000) : format(\"%0200d\", i)])\n}\n")
	res := r.apply(r.mustPlan())
	if res.Green() {
		t.Fatalf("green:\n%s", res.Log)
	}
	path := res.Outputs["errored_state_path"]
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), "000999") {
		t.Fatalf("errored_state_path %q: %v\n%s", path, err, res.Log)
	}
	if _, err := os.Stat(filepath.Join(r.Workspace, "infra", "errored.tfstate")); err == nil {
		t.Error("it was left in the checkout")
	}
	kept := false
	for _, dir := range r.archives(filepath.Join(r.off, stackName)) {
		kept = kept || r.open(dir) == string(data)
	}
	if !kept {
		t.Error("no archive holds it")
	}
}

// A cancel on the home runner: SIGKILL to the step's group at each boundary of
// an apply. The state is whole afterwards, the apply has either not begun or
// ends by itself, and the next run finds it and says how it ended.
func TestApplyKilled(t *testing.T) {
	t.Parallel()
	var killed atomic.Int32
	t.Cleanup(func() { // after the parallel cases
		if n := killed.Load(); n < 10 {
			t.Errorf("only %d of the cases killed the step before its end", n)
		}
	})
	for name, at := range map[string]struct{ file, line string }{
		"before the record":       {file: "STACK/applies"},
		"record staged":           {file: "STACK/applies/.partial-*"},
		"record made":             {file: "STACK/applies/*/record.json"},
		"lock taken":              {file: "STACK/applies/*/alive.lock"},
		"output opened":           {file: "STACK/applies/*/output.jsonl"},
		"tofu started":            {file: "STACK/applies/*/started"},
		"tofu holds the lock":     {file: "STATE/.edge.tfstate.lock.info"},
		"first resource there":    {line: "terraform_data.first: Creation complete"},
		"in the middle":           {line: "terraform_data.second: Creating..."},
		"last resource there":     {line: "terraform_data.third: Creation complete"},
		"tofu ended":              {file: "STACK/applies/*/exit.json"},
		"during the last backup":  {file: "STACK/archives/.partial-*"},
		"after the last backup":   {file: "STACK/archives/2*/manifest.json"},
		"during the copy of that": {file: "OFF/.partial-*"},
		"record closed":           {file: "STACK/applies/*/collected.json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, slow)
			planned := r.mustPlan(map[string]string{"accept_state": "new"})
			os.RemoveAll(filepath.Join(r.stack, "archives"))
			saved := copyOf(t, planned["plan_path"])
			s := r.step("tofu-apply", planned)
			s.Start()
			if at.line != "" {
				s.KillAt(at.line)
				killed.Add(1)
			} else {
				// Some of these are there for a moment only.
				place := strings.NewReplacer("STACK", r.stack, "STATE", filepath.Dir(r.state), "OFF", filepath.Join(r.off, stackName))
				if _, ok := s.TryKillOnFile(place.Replace(at.file)); ok {
					killed.Add(1)
				}
			}

			// The next run, in a new job: the plan's file may be gone.
			os.Rename(saved, planned["plan_path"])
			res := r.apply(planned)
			switch reason := res.Outputs["failure_reason"]; {
			case res.Green():
				// It had not begun and was applied now, or it was found.
				if o := res.Outputs["outcome"]; o != "applied" && o != "recovered" {
					t.Errorf("outcome %q", o)
				}
			case reason == "interrupted" && strings.Contains(res.Log, "before tofu started"):
			case reason == "plan-changed" || reason == "state-moved":
				// It had ended and was reported, all but the last step.
			default:
				t.Fatalf("the next run: %q\n%s", reason, res.Log)
			}
			// And the run after that starts from a plan, and ends well.
			plan := r.plan(map[string]string{"accept_state": "new"})
			r.wantGreen(plan)
			last := r.apply(handOver(plan))
			r.wantGreen(last)
			for _, want := range []string{`"first"`, `"second"`, `"third"`} {
				if !strings.Contains(r.readState(), want) {
					t.Errorf("%s is not in the state", want)
				}
			}
			if r.open(last.Outputs["offsite_path"]) != r.readState() {
				t.Error("the last archive is not the state")
			}
			for _, dir := range append(r.archives(filepath.Join(r.stack, "archives")), r.archives(filepath.Join(r.off, stackName))...) {
				r.open(dir)
			}
		})
	}
}

// A killed step's apply goes on, and the run that finds it waits for it.
func TestKilledStepIsFoundWhileItRuns(t *testing.T) {
	t.Parallel()
	second := newGate(t)
	r := newRig(t, slowBy(second))
	planned := r.mustPlan(map[string]string{"accept_state": "new"})
	s := r.step("tofu-apply", planned)
	s.Start()
	killed := s.KillAt("terraform_data.second: Creating...")
	if len(killed.Alive) != 0 {
		t.Errorf("in the step's group there is still %v", killed.Alive)
	}
	s = r.step("tofu-apply", planned)
	s.Start()
	s.WaitLog("found an apply that an earlier run")
	second.open(t)
	res := s.Wait()
	r.wantGreen(res)
	if res.Outputs["outcome"] != "recovered" || !strings.Contains(res.Log, "terraform_data.third: Creation complete") {
		t.Errorf("outcome %q\n%s", res.Outputs["outcome"], res.Log)
	}
	if r.open(res.Outputs["backup_path"]) != r.readState() {
		t.Error("the state was not backed up")
	}
}

// A plan step that comes while an apply runs waits for the lock, and says who
// holds it when it gives up.
func TestPlanDuringApply(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	done := newGate(t)
	// The second plan comes to the lock before the apply has let go of it.
	r.config(two + "resource \"terraform_data\" \"s\" {\n provisioner \"local-exec\" {\n command = \"" + done.wait() + "; sleep 1\"\n}\n}\n")
	s := r.step("tofu-apply", r.mustPlan())
	s.Start()
	s.WaitLog("terraform_data.s: Creating...")
	res := r.plan(map[string]string{"lock_timeout": "100ms"})
	r.wantRed(res, "state-locked")
	if !strings.Contains(res.Log, "OperationTypeApply") {
		t.Errorf("the log does not say who holds the lock:\n%s", res.Log)
	}
	waiting := r.step("tofu-plan-with-state-backup", map[string]string{"lock_timeout": "30s"})
	waiting.Start()
	waiting.WaitLog("validate")
	done.open(t)
	if res := waiting.Wait(); !res.Green() {
		t.Errorf("waiting did not help:\n%s", res.Log)
	}
	r.wantGreen(s.Wait())
}

// Tofu respects our lock as we do its own: it waits for a holder that shows an
// ID, and fails at once without.
func TestStaleLockInfo(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	info := filepath.Join(filepath.Dir(r.state), ".edge.tfstate.lock.info")
	stale := `{"ID":"dead","Operation":"OperationTypeApply","Who":"me@gone","Version":"1.12.6","Created":"2026-01-02T03:04:05Z","Path":"x"}`
	if err := os.WriteFile(info, []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	res := r.plan()
	r.wantGreen(res)
	if !strings.Contains(res.Log, `a killed run left its lock info at the state ("OperationTypeApply" by "me@gone"`) {
		t.Errorf("nobody is told:\n%s", res.Log)
	}
	if _, err := os.Stat(info); err == nil {
		t.Error("the stale lock info is still there")
	}
}

func TestCancelOnGitHub(t *testing.T) {
	t.Parallel()
	second := newGate(t)
	r := newRig(t, slowBy(second))
	planned := r.mustPlan(map[string]string{"accept_state": "new"})
	s := r.step("tofu-apply", planned)
	s.Start()
	s.WaitLog("terraform_data.second: Creating...")
	s.Signal(syscall.SIGINT)
	res := s.Wait()
	r.wantRed(res, "interrupted")
	second.open(t)
	if res := r.apply(planned); res.Outputs["outcome"] != "recovered" {
		t.Errorf("outcome %q\n%s", res.Outputs["outcome"], res.Log)
	}
}

// Should even the supervisor be killed, tofu is still seen to run: whoever of
// the two is left holds the lock. How it ended is then not known, and not
// green.
func TestSupervisorKilled(t *testing.T) {
	t.Parallel()
	second := newGate(t)
	r := newRig(t, slowBy(second))
	planned := r.mustPlan(map[string]string{"accept_state": "new"})
	s := r.step("tofu-apply", planned)
	s.Start()
	s.WaitLog("terraform_data.second: Creating...")
	pid := 0
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		if data, _ := os.ReadFile(path); strings.Contains(string(data), "supervise\x00"+r.stack) {
			fmt.Sscanf(path, "/proc/%d/", &pid)
		}
	}
	if pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Fatal("no supervisor to kill")
	}
	s.KillGroup()
	s = r.step("tofu-apply", planned)
	s.Start()
	s.WaitLog("found an apply that an earlier run")
	second.open(t)
	res := s.Wait()
	r.wantRed(res, "interrupted")
	if !strings.Contains(res.Log, "terraform_data.third: Creation complete") {
		t.Errorf("it did not wait for tofu:\n%s", res.Log)
	}
	if r.open(res.Outputs["backup_path"]) != r.readState() || !strings.Contains(r.readState(), `"third"`) {
		t.Error("the state as tofu left it was not backed up")
	}
	if after := r.plan(); after.Outputs["changes"] != "false" {
		t.Errorf("the next plan:\n%s", after.Log)
	}
}

// A program that a provisioner leaves running is not the apply.
func TestProvisionerLeavesAProgramRunning(t *testing.T) {
	t.Parallel()
	r := newRig(t, "resource \"terraform_data\" \"d\" {\n provisioner \"local-exec\" {\n command = \"setsid sleep 40 >/dev/null 2>&1 </dev/null &\"\n}\n}\n")
	planned := r.mustPlan(map[string]string{"accept_state": "new"})
	s := r.step("tofu-apply", planned)
	s.Timeout = 30 * time.Second
	s.Start()
	r.wantGreen(s.Wait())
}

// A plan step in a new run comes first: the apply that was killed is then of
// another plan, and both are told apart in the report.
func TestKilledApplyOfAnotherPlan(t *testing.T) {
	t.Parallel()
	second := newGate(t)
	r := newRig(t, slowBy(second))
	s := r.step("tofu-apply", r.mustPlan(map[string]string{"accept_state": "new"}))
	s.Start()
	s.KillAt("terraform_data.second: Creating...")
	second.open(t)
	res := r.apply(r.mustPlan(map[string]string{"lock_timeout": "30s"}))
	r.wantGreen(res)
	for _, id := range []string{"apply-earlier", "backup-after-earlier", "receipt", "apply", "backup-after"} {
		if strings.Count(res.Log, "proven     "+id+":") != 1 {
			t.Errorf("check %s is not there once:\n%s", id, res.Log)
		}
	}
}

// The job of the killed step is gone, and its receipt with it: the apply is
// found and backed up all the same, and then the missing receipt is red.
func TestKilledApplyIsFoundWithoutItsReceipt(t *testing.T) {
	t.Parallel()
	second := newGate(t)
	r := newRig(t, slowBy(second))
	planned := r.mustPlan(map[string]string{"accept_state": "new"})
	s := r.step("tofu-apply", planned)
	s.Start()
	s.KillAt("terraform_data.second: Creating...")
	second.open(t)
	planned["receipt_path"], planned["receipt_sha256"] = filepath.Join(r.Temp, "gone"), strings.Repeat("0", 64)
	res := r.apply(planned)
	r.wantRed(res, "plan-changed")
	if !strings.Contains(res.Log, "proven     apply-earlier:") || !strings.Contains(res.Log, "proven     backup-after-earlier:") {
		t.Errorf("the apply was not taken up:\n%s", res.Log)
	}
	if all := r.archives(filepath.Join(r.off, stackName)); len(all) != 1 || r.open(all[0]) != r.readState() {
		t.Errorf("the state was not backed up: %v", all)
	}
	r.wantGreen(r.plan())
}
