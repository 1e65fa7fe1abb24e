package stacks_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/realtools"
)

// Four stacks are planned and applied in their order, each with its own
// backup and receipt; what has not changed is not touched.
func TestSeveral(t *testing.T) {
	t.Parallel()
	r := newRig(t, four)
	plan := r.plan(fresh)
	r.wantGreen(plan)
	r.want(plan, "net proven", "app proven", "db proven", "web proven")
	if o := plan.Outputs; o["changes"] != "true" || o["to_add"] != "4" || o["receipt_path"] != "" {
		t.Errorf("%v", o)
	}
	web := r.results(plan)["web"]
	if strings.Join(web.After, " ") != "app db" || web.Path != "web" || web.Counts.Add != 1 {
		t.Errorf("%+v", web)
	}
	comment, err := os.ReadFile(plan.Outputs["comment_path"])
	if err != nil || !strings.Contains(string(comment), "4 of 4 stacks proven. Plan: 4 to add") || !strings.Contains(string(comment), "| web | proven |") {
		t.Errorf("the comment: %v\n%s", err, comment)
	}
	if !strings.Contains(plan.Log, "proven     web: plan:") {
		t.Errorf("the checks do not name their stack:\n%s", plan.Log)
	}
	apply := r.apply(plan)
	r.wantGreen(apply)
	r.want(apply, "net proven applied", "app proven applied", "db proven applied", "web proven applied")
	last := -1
	for _, name := range []string{"net", "app", "web"} {
		at := strings.Index(apply.Log, name+" tofu | terraform_data.a: Creation complete")
		if at < last || at < 0 {
			t.Errorf("%s was applied at %d, after %d:\n%s", name, at, last, apply.Log)
		}
		last = at
		if here, off := r.archives(name); here != 1 || off != 1 {
			t.Errorf("%s has %d and %d archives", name, here, off)
		}
		if !strings.Contains(r.readState(name), `"`+name+`"`) {
			t.Errorf("the state of %s is another", name)
		}
	}
	// Used up, each of them.
	again := r.apply(plan)
	r.wantRed(again, "plan-changed")
	r.want(again, "net disproven plan-changed", "app unproven stopped", "db unproven stopped", "web unproven stopped")

	// One changes; the others' receipts say that they have nothing to apply.
	r.config("db", "resource \"terraform_data\" \"a\" {\n input = \"another\"\n}\n")
	plan = r.plan()
	r.wantGreen(plan)
	if o := plan.Outputs; o["to_change"] != "1" || o["to_add"] != "0" {
		t.Errorf("%v", o)
	}
	before, off := r.archives("net")
	apply = r.apply(plan)
	r.wantGreen(apply)
	r.want(apply, "net proven nothing", "app proven nothing", "db proven applied", "web proven nothing")
	if here, there := r.archives("net"); here != before || there != off {
		t.Error("a stack without changes was archived again by its apply")
	}
	if !strings.Contains(r.readState("db"), "another") {
		t.Error("db was not applied")
	}
}

// A stack that fails stops those after it and nothing beside it, in the plan
// and in the apply.
func TestFailureStopsWhatComesAfter(t *testing.T) {
	t.Parallel()
	r := newRig(t, four)
	r.config("app", "resource \"terraform_data\" \"a\" {\n input = nothing.of.the.kind\n}\n")
	plan := r.plan(fresh)
	r.wantRed(plan, "plan-failed")
	r.want(plan, "net proven", "app disproven plan-failed", "db proven", "web unproven stopped")
	if !strings.Contains(plan.Log, "not planned: stack app before it failed") {
		t.Errorf("the reason is missing:\n%s", plan.Log)
	}
	// What was planned can be applied; what was not is said again.
	apply := r.apply(plan)
	r.wantRed(apply, "not-planned")
	r.want(apply, "net proven applied", "app unproven not-planned", "db proven applied", "web unproven stopped")

	r.config("app", "resource \"terraform_data\" \"a\" {\n provisioner \"local-exec\" {\n  command = \"exit 3\"\n }\n}\n")
	plan = r.plan(fresh)
	r.wantGreen(plan)
	apply = r.apply(plan)
	r.wantRed(apply, "apply-failed")
	r.want(apply, "net proven nothing", "app disproven apply-failed applied", "db proven nothing", "web unproven stopped")
	if here, _ := r.archives("app"); here == 0 {
		t.Error("the state after the failed apply was not archived")
	}
	if _, err := os.Stat(filepath.Join(r.state, "web.tfstate")); err == nil {
		t.Error("web was applied")
	}
}

// Without Terramate's files, globs choose, and a directory's parent comes
// first. The names are those of runs of one stack alone.
func TestGlobsAndNames(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.config("env/a", "")
	r.config("env/a/b", "")
	r.config("env/c", "")
	plan := r.plan(fresh, map[string]string{"stacks": "env/**\n!env/c", "stack": "edge"})
	r.wantGreen(plan)
	r.want(plan, "edge.env-a proven", "edge.env-a-b proven")
	if after := r.results(plan)["edge.env-a-b"].After; len(after) != 1 || after[0] != "edge.env-a" {
		t.Errorf("%v", after)
	}
	r.wantGreen(r.step("tofu-apply", map[string]string{"receipts": plan.Outputs["stacks_path"], "receipts_sha256": plan.Outputs["stacks_sha256"]}).Run())
	changed := plan.Outputs["stacks_sha256"]
	if err := os.WriteFile(plan.Outputs["stacks_path"], []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.wantRed(r.step("tofu-apply", map[string]string{"receipts": plan.Outputs["stacks_path"], "receipts_sha256": changed}).Run(), "input-receipts_sha256")

	// The archives of a stack go on when it is planned together with others.
	alone := map[string]string{"stacks": "", "path": "iac/env/c", "backend_config": "path=" + r.state + "/{stack}.tfstate"}
	one := r.plan(fresh, alone)
	r.wantGreen(one)
	together := r.plan(fresh, map[string]string{"stacks": "env/c"})
	r.wantGreen(together)
	for name, res := range r.results(together) {
		if dir := one.Outputs["data_dir"]; dir != res.DataDir {
			t.Errorf("%s: alone in %s, together in %s", name, dir, res.DataDir)
		}
	}
}

func TestSeveralRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, map[string]string{"a": `id = "same"`, "b": `id = "SAME"`})
	res := r.plan(fresh)
	r.wantRed(res, "stack-id")
	if !strings.Contains(res.Log, `"same" for "a", "b"`) {
		t.Errorf("the names are missing:\n%s", res.Log)
	}
	r.write("b/stack.tm.hcl", "stack {\n after = [\"/a\"]\n before = [\"/a\"]\n}\n")
	r.wantRed(r.plan(fresh), "stack-order")
	r.write("b/stack.tm.hcl", "stack {\n id = \"b\"\n}\n")
	for input, value := range map[string]string{
		"target": "a.b", "exclude": "a.b", "replace": "a.b", "destroy": "true", "accept_state": "vanished",
		"backend_config": "path=" + r.state + "/one.tfstate", "allow_destroy": "terraform_data.a", "changed_since": "--help",
	} {
		r.wantRed(r.plan(map[string]string{input: value}), "input-"+input)
	}
	r.wantRed(r.plan(map[string]string{"terramate_path": "no-such-terramate"}), "terramate")
	for _, c := range []struct{ receipts, reason string }{
		{"[]", "input-receipts"},
		{`[{"name":"../x"}]`, "input-receipts"},
		{`[{"name":"a","path":"a"},{"name":"a","path":"a"}]`, "input-receipts"},
		{`[{"name":"a","path":"../.."}]`, "input-receipts"},
		{`[{"name":"a","path":"a","after":["b"]}]`, "input-receipts"},
		{`[{"name":"a","path":"a","after":["b"]},{"name":"b","path":"b","after":["a"]}]`, "input-receipts"},
		{`[{"name":"a","path":"a","verdict":"proven"}]`, "input-receipts"},
		{`[{"name":"a","path":"a"}]`, "not-planned"},
		{`[null]`, "input-receipts"},
		{`[{]`, "input-receipts"},
	} {
		r.wantRed(r.step("tofu-apply", map[string]string{"receipts": c.receipts}).Run(), c.reason)
	}
	// A path in the configuration itself is seen only when it is there.
	for _, name := range []string{"a", "b"} {
		r.write(name+"/main.tf", "terraform {\n backend \"local\" {\n  path = \""+r.state+"/one.tfstate\"\n }\n}\n")
	}
	r.wantRed(r.plan(fresh, map[string]string{"backend_config": ""}), "state-shared")
}

// What may go in one stack may not go in all of them.
func TestAllowDestroyIsOfOneStack(t *testing.T) {
	t.Parallel()
	r := newRig(t, map[string]string{"a": `id = "one"`, "b": `id = "two"`})
	r.applied()
	for _, name := range []string{"a", "b"} {
		r.config(name, "")
	}
	protected := map[string]string{"protected_types": "terraform_data"}
	res := r.plan(protected, map[string]string{"allow_destroy": "one terraform_data.a"})
	r.wantRed(res, "protected")
	r.want(res, "one proven", "two disproven protected")
	res = r.plan(protected, map[string]string{"allow_destroy": "one terraform_data.a\nb terraform_data.a"})
	r.wantGreen(res)
	comment, err := os.ReadFile(res.Outputs["comment_path"])
	if err != nil || !strings.Contains(string(comment), "**Deleted, replaced or forgotten**\n\n- one: **delete** terraform&#95;data.a") {
		t.Errorf("what is lost is not first: %v\n%s", err, comment)
	}
	r.wantRed(r.apply(res, protected), "protected")
}

func TestOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t, four)
	git := func(args ...string) {
		t.Helper()
		realtools.Output(t, "git", append([]string{"-C", r.Workspace, "-c", "user.name=t", "-c", "user.email=t@localhost"}, args...)...)
	}
	git("init", "-q", "-b", "main")
	git("add", "-A")
	git("commit", "-q", "-m", "first")
	since := map[string]string{"changed_since": "main"}
	res := r.plan(since)
	r.wantGreen(res)
	if o := res.Outputs; o["stacks"] != "[]" || o["changes"] != "false" {
		t.Errorf("%v", o)
	}
	r.wantRed(r.apply(res), "input-receipts")
	git("checkout", "-q", "-b", "work")
	r.config("web", "")
	r.config("net", "")
	git("commit", "-q", "-a", "-m", "second")
	res = r.plan(fresh, since)
	r.wantGreen(res)
	r.want(res, "net proven", "web proven")
	// The order between them goes through what is not planned.
	if after := r.results(res)["web"].After; len(after) != 1 || after[0] != "net" {
		t.Errorf("%v", after)
	}
}

// One stack that can't be asked leaves the drift of the others to be told.
func TestDriftOfSeveral(t *testing.T) {
	t.Parallel()
	r := newRig(t, map[string]string{"a": `id = "a"`, "b": "id = \"b\"\n  after = [\"/a\"]"})
	r.applied()
	mode := map[string]string{"mode": "drift", "offsite": "", "age_recipients": ""}
	res := r.plan(mode)
	r.wantGreen(res)
	if res.Outputs["drifted"] != "false" {
		t.Errorf("%v", res.Outputs)
	}
	os.Remove(filepath.Join(r.state, "a.tfstate"))
	res = r.plan(mode)
	r.wantRed(res, "state-empty")
	r.want(res, "a unproven state-empty", "b proven")
	if res.Outputs["drifted"] != "" {
		t.Errorf("drifted is %q although one could not be asked", res.Outputs["drifted"])
	}
}
