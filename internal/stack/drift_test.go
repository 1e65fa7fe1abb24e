package stack_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"edge-actions/internal/tfplan"

	"github.com/google/go-cmp/cmp"
)

// driftRig is a rig whose one stack is of things outside: files in world.
func driftRig(t *testing.T) (r *rig, world string) {
	t.Helper()
	r = newRig(t, "")
	world = t.TempDir()
	mirror := filepath.Join(t.TempDir(), "mirror")
	place := filepath.Join(mirror, "localhost/edge/outside/1.0.0", runtime.GOOS+"_"+runtime.GOARCH)
	if err := os.MkdirAll(place, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(binaries, "outsidetest"), filepath.Join(place, "terraform-provider-outside")); err != nil {
		t.Fatal(err)
	}
	rc := filepath.Join(mirror, "tofurc")
	if err := os.WriteFile(rc, fmt.Appendf(nil, "provider_installation {\n filesystem_mirror {\n  path = %q\n }\n}\n", mirror), 0o600); err != nil {
		t.Fatal(err)
	}
	r.env["TF_CLI_CONFIG_FILE"] = rc
	r.config(fmt.Sprintf(`
terraform {
  required_providers {
    outside = {
      source = "localhost/edge/outside"
    }
  }
}
variable "private" {
  default   = "of-the-operator"
  sensitive = true
}
resource "outside_thing" "a" {
  path   = "%[1]s/a"
  size   = 1
  secret = "hunter2"
  tags   = { env = "prod", gone = "x" }
  rules  = [{ port = 22, from = "a" }, { port = 80, from = "b" }]
}
resource "outside_thing" "b" {
  path = "%[1]s/b"
  note = var.private
}
resource "outside_thing" "c" {
  for_each = toset(["x", "y"])
  path     = "%[1]s/c${each.key}"
}
output "size" {
  value = outside_thing.a.size
}
`, world))
	r.applied()
	return r, world
}

// TestDrift changes the world behind OpenTofu's back and asks again.
func TestDrift(t *testing.T) {
	t.Parallel()
	r, world := driftRig(t)
	mode := map[string]string{"mode": "drift", "offsite": "", "age_recipients": ""}
	state, archives := r.readState(), len(r.archives(filepath.Join(r.stack, "archives")))

	res := r.plan(mode)
	r.wantGreen(res)
	if res.Outputs["drifted"] != "false" || res.Outputs["drifted_resources"] != "0" {
		t.Errorf("%v", res.Outputs)
	}

	outside := map[string]string{
		"a": `{"path":"` + world + `/a","size":3,"secret":"hunter3","tags":{"env":"dev","new":"y"},"rules":[{"port":22,"from":"evil"}]}`,
		"b": `{"path":"` + world + `/b","note":"of-somebody-else"}`,
	}
	for name, text := range outside {
		if err := os.WriteFile(filepath.Join(world, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	os.Remove(filepath.Join(world, "cy"))
	res = r.plan(mode)
	r.wantRed(res, "drift")
	if res.Outputs["drifted"] != "true" || res.Outputs["drifted_resources"] != "3" || res.Outputs["receipt_path"] != "" || res.Outputs["backup_path"] != "" {
		t.Errorf("%v", res.Outputs)
	}
	var got tfplan.Drift
	data, err := os.ReadFile(res.Outputs["drift_path"])
	if err == nil {
		err = json.Unmarshal(data, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := []tfplan.Drifted{
		{Address: `outside_thing.c["y"]`, Type: "outside_thing", Action: tfplan.Delete},
		{Address: "outside_thing.a", Type: "outside_thing", Action: tfplan.Update, Attributes: []tfplan.Attribute{
			{Path: "rules[0].from", Before: `"a"`, After: `"evil"`},
			{Path: "rules[1]", Before: `{"from":"b","port":80}`, After: "(none)"},
			{Path: "secret", Before: "(sensitive)", After: "(sensitive)"},
			{Path: "size", Before: "1", After: "3"},
			{Path: "tags.env", Before: `"prod"`, After: `"dev"`},
			{Path: "tags.gone", Before: `"x"`, After: "(none)"},
			{Path: "tags.new", Before: "(none)", After: `"y"`},
		}},
		{Address: "outside_thing.b", Type: "outside_thing", Action: tfplan.Update, Attributes: []tfplan.Attribute{
			{Path: "note", Before: "(sensitive)", After: "(sensitive)"},
		}},
	}
	if diff := cmp.Diff(want, got.Resources); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"size"}, got.Outputs); diff != "" {
		t.Error(diff)
	}
	comment, err := os.ReadFile(res.Outputs["comment_path"])
	if err != nil {
		t.Fatal(err)
	}
	for place, text := range map[string]string{"log": res.Log, "document": string(data), "comment": string(comment), "summary": res.Summary} {
		for _, secret := range []string{"hunter", "of-somebody-else", "of-the-operator"} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s shows a sensitive value", place)
			}
		}
		if !strings.Contains(text, "rules") {
			t.Errorf("the %s does not say what drifted:\n%s", place, text)
		}
	}
	if left := r.FilesWith("hunter3"); len(left) > 0 {
		t.Errorf("the plan of the refresh was left in %v", left)
	}
	if r.readState() != state || len(r.archives(filepath.Join(r.stack, "archives"))) != archives {
		t.Error("the state or its archives were changed")
	}

	// What is allowed to drift is shown as allowed, and the rest still counts.
	res = r.plan(mode, map[string]string{"allow_drift": "outside_thing.a\noutside_thing.c"})
	r.wantRed(res, "drift")
	if res.Outputs["drifted_resources"] != "1" || !strings.Contains(res.Log, "[waived by allow_drift]") {
		t.Errorf("%v\n%s", res.Outputs, res.Log)
	}
	r.wantGreen(r.plan(mode, map[string]string{"allow_drift": "outside_thing.*"}))
}

// Whatever can't be asked is neither drift nor the absence of it.
func TestDriftThatCannotBeTold(t *testing.T) {
	t.Parallel()
	r, world := driftRig(t)
	mode := map[string]string{"mode": "drift"}
	unproven := func(res interface{ Green() bool }, reason string, log, drifted string) {
		t.Helper()
		if res.Green() || drifted != "" || !strings.Contains(log, "unproven   "+reason) || strings.Contains(log, "disproven") {
			t.Errorf("wanted unproven for %s, drifted is %q:\n%s", reason, drifted, log)
		}
	}
	if err := os.WriteFile(filepath.Join(world, "a"), []byte("unreachable"), 0o600); err != nil {
		t.Fatal(err)
	}
	res := r.plan(mode)
	unproven(res, "plan-failed", res.Log, res.Outputs["drifted"])
	if !strings.Contains(res.Log, "The API can't be reached") {
		t.Errorf("the reason is missing:\n%s", res.Log)
	}
	os.Remove(r.state)
	res = r.plan(mode)
	unproven(res, "state-empty", res.Log, res.Outputs["drifted"])
	if !strings.Contains(res.Log, "found   there is none") {
		t.Errorf("the reason is another:\n%s", res.Log)
	}
	r.writeState(`{"version":4,"terraform_version":"1.10.0","serial":7,"lineage":"l","outputs":{},"resources":[]}`)
	res = r.plan(mode)
	unproven(res, "state-empty", res.Log, res.Outputs["drifted"])
	r.writeState("")
	res = r.plan(mode)
	unproven(res, "state-whole", res.Log, res.Outputs["drifted"])
	for _, in := range []map[string]string{{"refresh": "false"}, {"destroy": "true"}, {"replace": "a.b"}} {
		for name := range in {
			r.wantRed(r.plan(mode, in), "input-"+name)
		}
	}
}
