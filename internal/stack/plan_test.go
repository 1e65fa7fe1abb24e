package stack_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/realtools"
)

const two = `
resource "terraform_data" "a" {
  input = "one"
}
resource "terraform_data" "b" {
  input            = "two"
  triggers_replace = ["x"]
}
output "greeting" {
  value = terraform_data.a.output
}
`

// TestCounts holds the outputs against what the real OpenTofu plans.
func TestCounts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		inputs map[string]string
		want   string // the non-zero outputs
		log    string
	}{
		"nothing": {two, nil, "changes=false", "No changes."},
		"update":  {strings.Replace(two, `"one"`, `"uno"`, 1), nil, "changes=true to_change=1", "changes input"},
		"replace": {strings.Replace(two, `"x"`, `"y"`, 1), nil, "changes=true to_add=1 to_destroy=1 to_replace=1", "forced by triggers_replace"},
		"create before destroy": {strings.Replace(strings.Replace(two, `"x"`, `"y"`, 1), `= "two"`, "= \"two\"\nlifecycle {\n create_before_destroy = true\n}", 1), nil,
			"changes=true to_add=1 to_destroy=1 to_replace=1", "replace"},
		"delete":      {strings.Split(two, `resource "terraform_data" "b"`)[0] + "output \"greeting\" {\n value = terraform_data.a.output\n}\n", nil, "changes=true to_destroy=1", "delete because no resource config"},
		"moved only":  {strings.Replace(two, `"b" {`, `"c" {`, 1) + "moved {\n from = terraform_data.b\n to = terraform_data.c\n}\n", nil, "changes=true to_move=1", "from terraform_data.b"},
		"output only": {two + "output \"more\" {\n value = 1\n}\n", nil, "changes=true", "output more"},
		"import": {two + "resource \"terraform_data\" \"i\" {}\nimport {\n to = terraform_data.i\n id = \"outside\"\n}\n", nil,
			"changes=true to_import=1", "import"},
		"forget": {strings.Split(two, `resource "terraform_data" "b"`)[0] + "output \"greeting\" {\n value = terraform_data.a.output\n}\nremoved {\n from = terraform_data.b\n lifecycle {\n destroy = false\n}\n}\n", nil,
			"changes=true to_forget=1", "forget"},
		"replace by request": {two, map[string]string{"replace": "terraform_data.a"}, "changes=true to_add=1 to_destroy=1 to_replace=1", "replace by request"},
		"target":             {strings.NewReplacer(`"one"`, `"uno"`, `"x"`, `"y"`).Replace(two), map[string]string{"target": "terraform_data.a"}, "changes=true to_change=1", "terraform_data.a"},
		"exclude":            {strings.NewReplacer(`"one"`, `"uno"`, `"x"`, `"y"`).Replace(two), map[string]string{"exclude": "terraform_data.b"}, "changes=true to_change=1", "terraform_data.a"},
		"destroy":            {two, map[string]string{"destroy": "true"}, "changes=true to_destroy=2", "delete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, two)
			r.applied()
			r.config(c.config)
			res := r.plan(c.inputs)
			r.wantGreen(res)
			var got []string
			for _, o := range []string{"changes", "to_add", "to_change", "to_destroy", "to_replace", "to_move", "to_import", "to_forget"} {
				if v := res.Outputs[o]; v != "0" {
					got = append(got, o+"="+v)
				}
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("wanted %s, got %s\n%s", c.want, s, res.Log)
			}
			if !strings.Contains(res.Log, c.log) {
				t.Errorf("wanted %q in the log:\n%s", c.log, res.Log)
			}
			// What was planned is also what an apply does, to nothing left.
			if c.inputs == nil {
				r.wantGreen(r.apply(handOver(res)))
				if after := r.plan(); after.Outputs["changes"] != "false" {
					t.Errorf("after the apply there are still changes:\n%s", after.Log)
				}
			}
		})
	}
}

func TestGuardsOfThePlan(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	r.config(strings.Replace(two, `"x"`, `"y"`, 1))
	res := r.plan(map[string]string{"protected_types": "terraform_*"})
	r.wantRed(res, "protected")
	if res.Outputs["plan_path"] != "" || res.Outputs["to_replace"] != "1" {
		t.Errorf("a refused plan was given out, or its counts were not: %v", res.Outputs)
	}
	for _, path := range r.LeftBehind() {
		if strings.HasSuffix(path, ".tfplan") {
			t.Errorf("the refused plan was left at %s", path)
		}
	}
	if !strings.Contains(res.Log, "add the line terraform_data.b to allow_destroy") {
		t.Errorf("the log does not say the way out:\n%s", res.Log)
	}
	r.wantRed(r.plan(map[string]string{"protected_addresses": "terraform_data.b"}), "protected")
	r.wantRed(r.plan(map[string]string{"max_destroy": "0"}), "protected")
	r.wantGreen(r.plan(map[string]string{"protected_types": "terraform_data", "allow_destroy": "terraform_data.b"}))
	// The apply step holds the plan against its own guard.
	planned := r.mustPlan()
	r.wantRed(r.apply(planned, map[string]string{"protected_types": "terraform_data"}), "protected")
	// forget and delete are losses as well
	r.config("resource \"terraform_data\" \"a\" {\n input = \"one\"\n}\nremoved {\n from = terraform_data.b\n lifecycle {\n destroy = false\n}\n}\n")
	r.wantRed(r.plan(map[string]string{"protected_types": "terraform_data"}), "protected")
	r.config("resource \"terraform_data\" \"a\" {\n input = \"one\"\n}\n")
	r.wantRed(r.plan(map[string]string{"protected_types": "terraform_data"}), "protected")
}

func TestFmtAndValidate(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	path := filepath.Join(r.Workspace, "infra", "extra.tf")
	if err := os.WriteFile(path, []byte("locals {\n      a = 1\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.wantRed(r.plan(), "fmt")
	res := r.plan(map[string]string{"fmt": "false"})
	r.wantGreen(res)
	if !strings.Contains(res.Log, "[waived by fmt: false]") {
		t.Errorf("a check that was turned off is not shown as waived:\n%s", res.Log)
	}
	if err := os.WriteFile(path, []byte("locals {\n  a = nonsense.here\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.wantRed(r.plan(), "validate")
	r.wantRed(r.plan(map[string]string{"validate": "false"}), "plan-failed")
}

func TestInitRunsOnlyWhenSomethingChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	const skipped = "nothing changed since the last init"
	if res := r.plan(); !strings.Contains(res.Log, skipped) {
		t.Errorf("it ran again:\n%s", res.Log)
	}
	module := filepath.Join(r.Workspace, "modules", "m")
	if err := os.MkdirAll(module, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(s string) {
		if err := os.WriteFile(filepath.Join(module, "m.tf"), []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("locals {\n  a = 1\n}\n")
	r.config(two + "module \"m\" {\n source = \"../modules/m\"\n}\n")
	if res := r.plan(); strings.Contains(res.Log, skipped) || !res.Green() {
		t.Errorf("a new module needs an init:\n%s", res.Log)
	}
	if res := r.plan(); !strings.Contains(res.Log, skipped) {
		t.Errorf("it ran again:\n%s", res.Log)
	}
	write("locals {\n  a = 2\n}\n")
	if res := r.plan(); strings.Contains(res.Log, skipped) || !res.Green() {
		t.Errorf("a changed module needs an init:\n%s", res.Log)
	}
}

func TestWorkspaces(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	dir := filepath.Dir(r.state)
	r.inputs["workspace"], r.inputs["stack"] = "prod", "edge-prod"
	r.inputs["backend_config"] = "path=" + r.state + "\nworkspace_dir=" + dir
	r.wantRed(r.plan(), "workspace") // it does not exist: a typo must not make one
	r.wantGreen(r.apply(r.mustPlan(map[string]string{"accept_state": "new"})))
	if _, err := os.Stat(filepath.Join(dir, "prod", "terraform.tfstate")); err != nil {
		t.Fatal(err)
	}
	res := r.plan()
	r.wantGreen(res)
	if res.Outputs["changes"] != "false" || res.Outputs["state_serial"] == "" {
		t.Errorf("%v", res.Outputs)
	}
	r.inputs["backend_config"] = "path=" + r.state
	r.wantRed(r.plan(), "workspace") // without workspace_dir it would lie in the checkout
}

func TestVariables(t *testing.T) {
	t.Parallel()
	const config = `
variable "size" { type = number }
variable "names" { type = list(string) }
variable "token" {
  type      = string
  sensitive = true
}
resource "terraform_data" "v" { input = { size = var.size, names = var.names, token = var.token } }
`
	r := newRig(t, config)
	file := filepath.Join(filepath.Dir(r.state), "edge.tfvars")
	if err := os.WriteFile(file, []byte("size = 1\ntoken = \"hunter2-from-a-file\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	in := map[string]string{"accept_state": "new", "var_files": file, "variables": "size = 2\nnames = [\"a\", \"b\"]"}
	r.wantRed(r.plan(in), "input-var_files") // others can read it
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	r.wantGreen(r.apply(r.mustPlan(in)))
	var state struct {
		Resources []struct {
			Instances []struct {
				Attributes struct {
					Input struct{ Value map[string]any }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(r.readState()), &state); err != nil {
		t.Fatal(err)
	}
	if got := state.Resources[0].Instances[0].Attributes.Input.Value["size"]; got != 2.0 {
		t.Errorf("variables do not win over var_files: size is %v", got)
	}
}

// A state that others can read, or that goes with the job, is refused.
func TestLocationOfTheState(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	if err := os.Chmod(r.state, 0o644); err != nil {
		t.Fatal(err)
	}
	res := r.plan()
	r.wantRed(res, "state-location")
	if !strings.Contains(res.Log, "chmod 600 "+r.state) {
		t.Errorf("the log does not say the way out:\n%s", res.Log)
	}
	for _, path := range []string{"edge.tfstate", filepath.Join(r.Workspace, "edge.tfstate"), filepath.Join(r.Temp, "edge.tfstate")} {
		r.wantRed(r.plan(map[string]string{"backend_config": "path=" + path, "accept_state": "vanished"}), "state-location")
	}
}

func TestTofuCliArgsDoNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	r.Env["TF_CLI_ARGS_plan"], r.Env["TF_CLI_ARGS"], r.Env["TF_WORKSPACE"], r.Env["TF_LOG"] = "-destroy", "-no-such-flag", "other", "TRACE"
	res := r.plan()
	r.wantGreen(res)
	if res.Outputs["changes"] != "false" {
		t.Errorf("the environment changed the plan:\n%s", res.Log)
	}
	if !strings.Contains(res.Log, "not handed on to OpenTofu from the runner's environment: TF_CLI_ARGS, TF_CLI_ARGS_plan, TF_LOG, TF_WORKSPACE") {
		t.Errorf("nobody is told:\n%s", res.Log)
	}
	// Red without the guard: the same environment, handed on, makes a plan to
	// destroy.
	cmd := r.tofuCmd("plan", "-no-color")
	cmd.Env = append(cmd.Env, "TF_CLI_ARGS_plan=-destroy")
	if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), "2 to destroy") {
		t.Errorf("the note is out of date:\n%s", out)
	}
}

// A warning about the CLI configuration stands in front of every JSON document
// that tofu prints. It is found before anything is read from one.
func TestBrokenCLIConfiguration(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	r.Env["TF_CLI_CONFIG_FILE"] = "/nowhere/tofurc"
	res := r.plan()
	r.wantRed(res, "tool-version")
	if !strings.Contains(res.Log, "Unable to open CLI configuration file") || !strings.Contains(res.Log, "TF_CLI_CONFIG_FILE") {
		t.Errorf("the log does not say why:\n%s", res.Log)
	}
}

// wrapTofu puts a shell script in front of the real tool.
func (r *rig) wrapTofu(script string) {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "tofu")
	text := "#!/bin/sh\nreal=" + realtools.Path(r.t, "tofu") + "\nstate=" + r.state + "\n" + script
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		r.t.Fatal(err)
	}
	r.inputs["tofu_path"] = path
}

// Somebody writes the state after it was archived and before the plan is made:
// the plan is for a state of which there is no archive.
func TestStateMovedDuringThePlan(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	r.wrapTofu("if [ \"$1\" = plan ]; then sed -i 's/\"serial\": 1/\"serial\": 2/' \"$state\"; fi\nexec \"$real\" \"$@\"\n")
	res := r.plan()
	r.wantRed(res, "state-moved")
	if res.Outputs["plan_path"] != "" {
		t.Errorf("the plan was given out: %v", res.Outputs)
	}
}

// A wrapper that turns exit code 2 into 0, as setup-terraform's does, makes a
// plan with changes look like one without.
func TestWrapperThatHidesTheExitCode(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.applied()
	r.config(strings.Replace(two, `"one"`, `"uno"`, 1))
	r.wrapTofu("\"$real\" \"$@\"\ncode=$?\n[ $code = 2 ] && exit 0\nexit $code\n")
	res := r.plan()
	r.wantRed(res, "plan-failed")
	if !strings.Contains(res.Log, "look for a wrapper around tofu") {
		t.Errorf("the log does not say the way out:\n%s", res.Log)
	}
}

// Another tool of the same command line works by name.
func TestTerraformByName(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	bin := t.TempDir()
	if err := os.Symlink(realtools.Path(t, "tofu"), filepath.Join(bin, "terraform")); err != nil {
		t.Fatal(err)
	}
	r.Env["PATH"] = bin + string(os.PathListSeparator) + r.Env["PATH"]
	r.wantGreen(r.plan(map[string]string{"tofu_path": "terraform", "accept_state": "new"}))
	r.wantRed(r.plan(map[string]string{"tofu_version": ">= 99.0", "accept_state": "new"}), "tool-version")
	r.wantRed(r.plan(map[string]string{"tofu_path": "no-such-tofu", "accept_state": "new"}), "tool-missing")
}
