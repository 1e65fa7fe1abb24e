package stack_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// modular is a root module that needs its neighbours and its workspace.
const modular = `
module "m" {
  source = "../modules/m"
  input  = "one"
}
resource "terraform_data" "w" {
  input = "${terraform.workspace} ${file("${path.module}/../motd")}"
}
`

func (r *rig) neighbours() {
	r.t.Helper()
	for path, text := range map[string]string{
		"modules/m/m.tf":         "variable \"input\" {\n  type = string\n}\nmodule \"deeper\" {\n  source = \"../deeper\"\n  input  = var.input\n}\n",
		"modules/deeper/main.tf": "variable \"input\" {\n  type = string\n}\nresource \"terraform_data\" \"d\" {\n  input = var.input\n}\n",
		"motd":                   "hello",
	} {
		path = filepath.Join(r.Workspace, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A rehearsal says what a plan against the archive would do, and touches
// nothing: the real state may be gone, and its backend with it.
func TestRehearse(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	dir := filepath.Dir(r.state)
	r.inputs["workspace"] = "prod"
	r.inputs["backend_config"] = "path=" + r.state + "\nworkspace_dir=" + dir
	r.neighbours()
	r.config(modular)
	r.applied()
	first := filepath.Base(last(r.archives(filepath.Join(r.off, stackName))))
	r.config(strings.Replace(modular, `"one"`, `"uno"`, 1) + "resource \"terraform_data\" \"new\" {}\n")
	r.wantGreen(r.apply(r.mustPlan()))
	newest := filepath.Base(last(r.archives(filepath.Join(r.off, stackName))))
	state := filepath.Join(dir, "prod", "terraform.tfstate")
	before, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}

	res := r.restoring("rehearse", "").Run()
	r.wantGreen(res)
	if res.Outputs["archive"] != newest || res.Outputs["changes"] != "false" || res.Outputs["to_add"] != "0" || res.Outputs["resources"] != "3" || res.Outputs["verdict"] != "proven" {
		t.Errorf("the newest: %v", res.Outputs)
	}
	res = r.restoring("rehearse", first, map[string]string{"refresh": "false", "from": "offsite"}).Run()
	r.wantGreen(res)
	if res.Outputs["archive"] != first || res.Outputs["changes"] != "true" || res.Outputs["to_add"] != "1" || res.Outputs["to_change"] != "1" || res.Outputs["serial"] != "1" {
		t.Errorf("the first: %v\n%s", res.Outputs, res.Log)
	}
	if now, err := os.ReadFile(state); err != nil || string(now) != string(before) {
		t.Errorf("the state was touched (%v)", err)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "prod", ".*")); len(found) > 0 {
		t.Errorf("%q was made beside it", found)
	}
	if found, _ := filepath.Glob(filepath.Join(r.Workspace, "infra", "zzzz*")); len(found) > 0 {
		t.Errorf("%q was made in the checkout", found)
	}
	r.nothingLeft()

	// It asks nobody for the real one.
	os.RemoveAll(dir)
	os.RemoveAll(filepath.Join(r.stack, "tofu"))
	r.wantGreen(r.restoring("rehearse", "", map[string]string{"backend_config": ""}).Run())

	// Nor is it green over an archive that does not hold, or a module that has
	// got another backend than the copy's.
	r.config(modular + "resource \"terraform_data\" \"e\" {\n  lifecycle {\n    precondition {\n      condition     = terraform_data.w.id == \"x\"\n      error_message = \"no\"\n    }\n  }\n}\n")
	r.wantRed(r.restoring("rehearse", "").Run(), "plan-failed")
	r.config(modular)
	override := filepath.Join(r.Workspace, "infra", "zzzzz_override.tf")
	if err := os.WriteFile(override, []byte("terraform {\n  backend \"local\" {\n    workspace_dir = \""+dir+"\"\n  }\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "prod"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.wantRed(r.restoring("rehearse", "").Run(), "rehearsal-apart")
	os.Remove(override)
	for _, root := range []string{filepath.Join(r.off, stackName), filepath.Join(r.stack, "archives")} {
		flip(r, filepath.Join(root, newest, "state.tfstate.zst.age"))
	}
	res = r.restoring("rehearse", "").Run()
	r.wantRed(res, "state-archive-bytes")
	if res.Outputs["verdict"] != "disproven" {
		t.Errorf("verdict %q", res.Outputs["verdict"])
	}
}

// A rehearsal has the state in clear while it runs. Killed, it is swept by the
// next run of any action of any stack, in whatever job.
func TestKilledRehearsalIsSwept(t *testing.T) {
	t.Parallel()
	const config = "resource \"terraform_data\" \"a\" {\n  input = sensitive(\"" + secretInput + "\")\n}\n"
	r := newRig(t, config)
	r.applied()
	os.Remove(filepath.Join(r.Workspace, "infra", "main.tf")) // has it in clear
	r.config("resource \"terraform_data\" \"a\" {}\n")
	marker := filepath.Join(t.TempDir(), "planning")
	r.wrapTofu("if [ \"$1\" = plan ]; then touch " + marker + "; sleep 30; fi\nexec \"$real\" \"$@\"\n")
	s := r.restoring("rehearse", "")
	s.Start()
	s.KillOnFile(marker)
	if found := r.FilesWith(secretInput); len(found) != 1 {
		t.Fatalf("this was no kill in the middle: %q", found)
	}
	delete(r.inputs, "tofu_path")
	old := r.Temp
	r.Temp = filepath.Join(t.TempDir(), "next") // as where each job has its own
	if err := os.Mkdir(r.Temp, 0o700); err != nil {
		t.Fatal(err)
	}
	res := r.plan(map[string]string{"stack": "another", "accept_state": "new", "backend_config": "path=" + r.state + ".another"})
	r.wantGreen(res)
	r.Temp = old
	if found := r.FilesWith(secretInput); len(found) != 0 {
		t.Errorf("in clear in %q\n%s", found, res.Log)
	}
	r.nothingLeft()
}

// Text in a state, a plan or a manifest is text in the log and nothing more.
func TestHostileTextInARestore(t *testing.T) {
	t.Parallel()
	var keys []string
	for _, a := range attacks {
		if len(a) < 100 {
			keys = append(keys, quoted("x\n"+a))
		}
	}
	r := newRig(t, "resource \"terraform_data\" \"h\" {\n  for_each = toset(["+strings.Join(keys, ", ")+"])\n  input = each.key\n}\n")
	r.applied()
	name := filepath.Base(last(r.archives(filepath.Join(r.off, stackName))))
	r.config("")
	for _, step := range []func() map[string]string{
		func() map[string]string { return map[string]string{"mode": "rehearse"} },
		func() map[string]string { return map[string]string{"mode": "restore"} },
	} {
		res := r.restore(name, step())
		r.wantGreen(res)
		wantNotOwned(t, res)
	}
	// The reason in a manifest is shown in the list.
	for _, root := range []string{filepath.Join(r.off, stackName), filepath.Join(r.stack, "archives")} {
		path := filepath.Join(root, name, "manifest.json")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(data), `"after-apply"`, `"x\n::add-path::/owned\u001b]0;owned"`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	res := r.restoring("list", "").Run()
	r.wantGreen(res)
	for _, c := range res.Honoured {
		if c.Name == "add-path" {
			t.Errorf("the runner obeyed %+v", c)
		}
	}
	if strings.Contains(res.RawLog, "\x1b]") {
		t.Error("an escape sequence reached the terminal")
	}
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "${", "$${", "%{", "%%{").Replace(s) + `"`
}
