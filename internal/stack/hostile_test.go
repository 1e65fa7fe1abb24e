package stack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/runnertest"
)

// attacks is text that a runner would act on if it got through.
var attacks = []string{
	"::set-output name=changes::owned",
	"::set-env name=OWNED::1",
	"::add-path::/owned",
	"##[add-path]/owned",
	"  ::add-path::/owned",
	"::stop-commands::owned",
	"::add-mask::tofu",
	"_GitHubActionsFileCommandDelimeter_\nchanges=owned",
	"%0A::add-path::/owned",
	"$${{ secrets.X }}",
	strings.Repeat("A", 70_000),
	"\\u001b]0;owned\\u0007 \\u202e",
}

// wantNotOwned fails if the runner did anything that the step did not mean.
func wantNotOwned(t *testing.T, res *runnertest.Result) {
	t.Helper()
	fence := regexp.MustCompile(`^edge_[0-9a-f]{32}$`)
	for _, c := range res.Honoured {
		if c.Name != "stop-commands" && !fence.MatchString(c.Name) {
			t.Errorf("the runner obeyed %+v", c)
		}
	}
	if len(res.Env) > 0 || len(res.Path) > 0 || len(res.Masks) > 0 || res.OutputsLost {
		t.Errorf("env %v, path %v, masks %v, outputs lost %v", res.Env, res.Path, res.Masks, res.OutputsLost)
	}
	for name, value := range res.Outputs {
		if strings.Contains(value, "owned") || name == "OWNED" {
			t.Errorf("output %s is %q", name, value)
		}
	}
	for line := range strings.Lines(res.RawLog) {
		if len(line) > 16<<10 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if strings.Contains(res.RawLog, "\x1b]") {
		t.Error("an escape sequence reached the terminal")
	}
}

func TestHostileText(t *testing.T) {
	t.Parallel()
	var keys []string
	for _, a := range attacks {
		if len(a) < 1000 {
			keys = append(keys, fmt.Sprintf("%q", "x\n"+a))
		}
	}
	list := strings.NewReplacer(`\\u`, `\u`, `\x1b`, `\u001b`).Replace(strings.Join(keys, ",\n"))
	config := fmt.Sprintf(`
resource "terraform_data" "h" {
  for_each = toset([%s])
  input = each.key
}
resource "terraform_data" "long" {
  input = { "%s" = "v" }
}
output "hostile" { value = [for k, v in terraform_data.h : v.output] }
`, list, strings.Repeat("k", 70_000))
	r := newRig(t, config)
	r.Secrets["X"] = "the-secret-x"
	plan := r.plan(map[string]string{"accept_state": "new"})
	r.wantGreen(plan)
	wantNotOwned(t, plan)
	res := r.apply(handOver(plan))
	r.wantGreen(res)
	wantNotOwned(t, res)
	// In a replacement the names are shown again, with the attributes.
	r.config(strings.Replace(config, "input = each.key", "triggers_replace = each.key", 1))
	res = r.plan(map[string]string{"max_destroy": "100"})
	r.wantGreen(res)
	wantNotOwned(t, res)
	if strings.Contains(res.Summary, "\n::") || strings.Contains(res.Summary, "\x1b") {
		t.Errorf("the summary has it raw:\n%.3000q", res.Summary)
	}
	// And when a guard names them.
	res = r.plan(map[string]string{"max_destroy": "0", "protected_types": "terraform_data"})
	r.wantRed(res, "protected")
	wantNotOwned(t, res)
}

func TestHostileErrors(t *testing.T) {
	t.Parallel()
	for i, a := range attacks {
		quoted := strings.NewReplacer(`\\u`, `\u`).Replace(fmt.Sprintf("%q", "It ends.\n"+a+"\n."))
		r := newRig(t, fmt.Sprintf("resource \"terraform_data\" \"e\" {\n lifecycle {\n precondition {\n condition = 1 == 2\n error_message = %s\n}\n}\n}\n", quoted))
		res := r.plan(map[string]string{"accept_state": "new"})
		if res.Green() {
			t.Errorf("attack %d was no error", i)
		}
		wantNotOwned(t, res)
	}
}

// What a program prints during the apply is the most hostile text of all: it
// comes from anywhere.
func TestHostileApply(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "hostile.sh")
	body := "#!/bin/sh\n"
	for _, a := range attacks {
		body += fmt.Sprintf("cat <<'END'\n%s\nEND\n", a)
	}
	body += `printf '\377\376::add-path::/owned\r::set-env name=OWNED::1\n'; printf '\033]0;owned\007\n'; head -c 70000 /dev/zero | tr '\0' B; echo; echo oops >&2; exit 1` + "\n"
	if err := os.WriteFile(script, []byte(body), 0o700); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, fmt.Sprintf("resource \"terraform_data\" \"e\" {\n provisioner \"local-exec\" {\n command = %q\n}\n}\n", script))
	res := r.apply(r.mustPlan(map[string]string{"accept_state": "new"}))
	r.wantRed(res, "apply-failed")
	wantNotOwned(t, res)
}

// TestNoSecretIsLeftBehind follows a secret through a plan and an apply: it may
// be in the state and in nothing else that the runner keeps, prints or shows
// in its list of processes.
func TestNoSecretIsLeftBehind(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-wr0ng-horse" // in no other test, since all processes are looked at
	r := newRig(t, `
variable "token" {
  type      = string
  sensitive = true
}
resource "terraform_data" "v" {
  input = var.token
  provisioner "local-exec" {
    command     = "sleep 0.3"
    environment = { TOKEN = var.token }
  }
}
output "token" {
  value     = var.token
  sensitive = true
}
`)
	stop, seen := watchArguments(secret)
	in := map[string]string{"accept_state": "new", "variables": `token = "` + secret + `"`}
	plan := r.plan(in)
	r.wantGreen(plan)
	res := r.apply(handOver(plan))
	r.wantGreen(res)
	close(stop)
	if args := <-seen; len(args) > 0 {
		t.Errorf("in the arguments of processes: %q", args)
	}
	if !strings.Contains(r.readState(), secret) {
		t.Fatal("the secret is not even in the state")
	}
	for _, log := range []string{plan.RawLog, res.RawLog, plan.Summary, res.Summary, fmt.Sprint(plan.Outputs, res.Outputs)} {
		if strings.Contains(log, secret) {
			t.Errorf("it is shown:\n%s", log)
		}
	}
	if files := r.FilesWith(secret); len(files) > 0 {
		t.Errorf("it was left in %q", files)
	}
	// A plan is a zip file: no search finds what is in it. None must be left.
	for _, path := range r.LeftBehind() {
		if strings.HasSuffix(path, ".tfplan") || strings.HasPrefix(path, filepath.Join(r.Temp, "edge-actions", "secret-")) || strings.Contains(path, ".partial-") {
			t.Errorf("%s was left", path)
		}
	}
	for _, root := range []string{r.off, filepath.Join(r.stack, "archives")} {
		for _, dir := range r.archives(root) {
			data, err := os.ReadFile(filepath.Join(dir, "state.tfstate.zst.age"))
			if err != nil || strings.Contains(string(data), secret) {
				t.Errorf("%s: %v", dir, err)
			}
		}
	}
	// A failing run keeps it just as well.
	r.config("variable \"token\" {\n  type = string\n  sensitive = true\n}\nresource \"terraform_data\" \"v\" {\n lifecycle {\n precondition {\n condition = var.token == \"\"\n error_message = \"no\"\n}\n}\n}\n")
	bad := r.plan(in)
	if bad.Green() || strings.Contains(bad.RawLog, secret) || len(r.FilesWith(secret)) > 0 {
		t.Errorf("%v\n%s", r.FilesWith(secret), bad.RawLog)
	}
}

// watchArguments looks at the arguments of all processes until stop is closed.
func watchArguments(secret string) (stop chan struct{}, seen chan []string) {
	stop, seen = make(chan struct{}), make(chan []string, 1)
	go func() {
		var found []string
		for {
			all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, path := range all {
				if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), secret) && !slices.Contains(found, string(data)) {
					found = append(found, string(data))
				}
			}
			select {
			case <-stop:
				seen <- found
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return stop, seen
}

// A killed backup leaves nothing secret either: the state is only ever on disk
// encrypted.
func TestKilledPlanLeavesNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-c0rrect-horse"
	r := newRig(t, "resource \"terraform_data\" \"v\" {\n input = sensitive(\""+secret+"\")\n}\n")
	r.applied()
	r.config("resource \"terraform_data\" \"v\" {}\n")
	killed := 0
	const enough = 2
	// Some are there for a moment only, which on a busy machine nobody sees.
	for round := 0; round < 5 && killed < enough; round++ {
		for i, pattern := range []string{
			filepath.Join(r.stack, "archives/.partial-*"), filepath.Join(r.stack, "archives/.partial-*/SHA256SUMS"),
			filepath.Join(r.off, stackName, ".partial-*"), filepath.Join(r.Temp, "edge-actions/plan-*/plan-*"),
		} {
			s := r.step("tofu-plan-with-state-backup")
			s.Start()
			if _, ok := s.TryKillOnFile(pattern); ok {
				killed++
			}
			for _, path := range r.FilesWith(secret) {
				t.Errorf("kill %d: it was left in %s", i, path)
			}
			os.RemoveAll(filepath.Join(r.Temp, "edge-actions"))
		}
	}
	if killed < enough {
		t.Errorf("only %d kills", killed)
	}
	r.wantGreen(r.plan())
}

// What a killed run had to write down for tofu is swept by the next one, and
// not that of a run that still lives.
func TestKilledPlanIsSwept(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-c0rrect-horse"
	r := newRig(t, "variable \"v\" {\n  type = string\n}\nresource \"terraform_data\" \"v\" {\n input = var.v\n}\n")
	in := map[string]string{"accept_state": "new", "variables": `v = "` + secret + `"`}
	planning := newGate(t)
	r.wrapTofu("if [ \"$1\" = plan ]; then " + planning.wait() + "; fi\nexec \"$real\" \"$@\"\n")
	killed, alive := r.step("tofu-plan-with-state-backup", in), r.step("tofu-plan-with-state-backup", in, map[string]string{"stack": "other"})
	killed.Start()
	killed.KillOnFile(filepath.Join(r.Temp, "edge-actions/secret-*/variables.tfvars"))
	if len(r.FilesWith(secret)) != 1 {
		t.Fatalf("in %q", r.FilesWith(secret))
	}
	alive.Start()
	alive.WaitLog("validate")
	delete(r.inputs, "tofu_path")
	r.wantGreen(r.plan(map[string]string{"accept_state": "new", "variables": `v = "x"`}))
	if found := r.FilesWith(secret); len(found) != 1 {
		t.Errorf("in %q: the killed run's is to go, the living one's to stay", found)
	}
	planning.open(t)
	r.wantGreen(alive.Wait())
	if found := r.FilesWith(secret); len(found) != 0 {
		t.Errorf("in %q", found)
	}
}

// A plan that nobody applied does not lie around for ever.
func TestOldPlansAreSwept(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	r.inputs["plan_dir"] = filepath.Join(filepath.Dir(r.state), "plans")
	old, young := r.mustPlan(), r.mustPlan()
	week := time.Now().Add(-8 * 24 * time.Hour)
	if err := os.Chtimes(filepath.Dir(old["plan_path"]), week, week); err != nil {
		t.Fatal(err)
	}
	r.mustPlan()
	if _, err := os.Stat(old["plan_path"]); err == nil {
		t.Error("the old plan is still there")
	}
	delete(r.inputs, "plan_dir")
	r.NextJob()
	r.config(two)
	r.wantGreen(r.apply(young))
}
