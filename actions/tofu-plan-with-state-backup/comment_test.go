package main

import (
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/tfplan"
)

func TestMain(m *testing.M) { os.Exit(forgetest.Main(m)) }

// job is a job that plans with a real OpenTofu, of a repository on a real forge.
type job struct {
	*jobtest.Job
	t      *testing.T
	forge  *forgetest.Forge
	repo   *forgetest.Repo
	commit string
	issue  int
}

func newJob(t *testing.T, url func(*forgetest.Forge) string) *job {
	t.Helper()
	realtools.Path(t, "tofu")
	j := &job{Job: jobtest.New(t, metadata, run), t: t, forge: forgetest.New(t)}
	j.repo = j.forge.Repo(t)
	j.commit, j.issue = j.repo.Commit(t, "main", "main.tf", "# a stack"), j.repo.Issue(t, "a change")
	j.Env = []string{"GITHUB_REPOSITORY=" + j.repo.Owner + "/" + j.repo.Name, "GITHUB_SHA=" + j.commit, "GITHUB_RUN_ID=12", "GITHUB_SERVER_URL=" + url(j.forge), "CHECKPOINT_DISABLE=1"}
	token := filepath.Join(j.Home, "forge.token")
	if err := os.WriteFile(token, []byte(j.forge.Token(t, "write:issue", "read:user", "write:repository")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	off := t.TempDir()
	if err := os.MkdirAll(filepath.Join(j.Home, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(j.Home, "key.txt")
	realtools.Output(t, "age-keygen", "-o", key)
	maps.Copy(j.Inputs, map[string]string{
		"stack": "edge", "backend_config": "path=" + filepath.Join(j.Home, "state", "{stack}.tfstate"), "offsite": off, "accept_state": "new", "fmt": "false", "validate": "false",
		"age_recipients": strings.TrimSpace(realtools.Output(t, "age-keygen", "-y", key)),
		"comment_on":     strconv.Itoa(j.issue), "comment_token_file": token,
	})
	return j
}

func gitea(f *forgetest.Forge) string { return f.URL }

func (j *job) config(dir, hcl string) {
	j.t.Helper()
	path := filepath.Join(j.Workspace, dir, "main.tf")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		j.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("terraform {\n  backend \"local\" {}\n}\n"+hcl), 0o644); err != nil {
		j.t.Fatal(err)
	}
}

func (j *job) comments() (out []string) {
	j.t.Helper()
	var list []struct{ Body string }
	j.forge.API(j.t, http.MethodGet, j.repo.Path()+"/issues/"+strconv.Itoa(j.issue)+"/comments", nil, &list)
	for _, c := range list {
		out = append(out, c.Body)
	}
	return out
}

// wants holds a plan of a new stack to the checks that are not proven, besides
// what every job here waives.
func wants(r *jobtest.Result, checks ...string) {
	r.Want("", append(checks, "fmt=unproven (waived)", "validate=unproven (waived)", "state-new=unproven (waived)")...)
}

// applied brings the stack up with the tool itself, so that there is a state.
func (j *job) applied() {
	j.t.Helper()
	state := filepath.Join(j.Home, "state", "edge.tfstate")
	for _, args := range [][]string{{"init", "-backend-config=path=" + state}, {"apply", "-auto-approve"}} {
		cmd := exec.Command("tofu", args...)
		cmd.Dir, cmd.Env = j.Workspace, realtools.Environ("TF_DATA_DIR="+filepath.Join(j.Home, "data"), "CHECKPOINT_DISABLE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			j.t.Fatalf("tofu %s: %v\n%s", args[0], err, out)
		}
	}
	if err := os.Chmod(state, 0o600); err != nil {
		j.t.Fatal(err)
	}
}

// wholeLine is a resource as a comment shows it.
var wholeLine = regexp.MustCompile(`^- \*\*create\*\* terraform&#95;data\.n&#91;\d+\]$`)

// Ten thousand changes, by a real OpenTofu, are one comment that the forge takes
// (a real Gitea, through the double of Forgejo) and a person can read: whole
// resources, and a count of the rest.
func TestTenThousandChanges(t *testing.T) {
	t.Parallel()
	j := newJob(t, func(f *forgetest.Forge) string { return f.Forgejo(t).URL })
	j.config(".", "resource \"terraform_data\" \"n\" {\n  count = 10000\n  input = \"hunter2hunter2-${count.index}\"\n}\n")
	wants(j.Do())
	got := j.comments()
	if len(got) != 1 {
		t.Fatalf("%d comments", len(got))
	}
	text := got[0]
	if len(text) > 65_536 || len(text) < tfplan.MaxMarkdown/2 {
		t.Errorf("%d bytes", len(text))
	}
	shown := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "- ") {
			if shown++; !wholeLine.MatchString(strings.TrimSpace(line)) {
				t.Fatalf("not a whole resource: %q", line)
			}
		}
	}
	if want := strconv.Itoa(10_000-shown) + " × create terraform&#95;data"; shown < 100 || !strings.Contains(text, "Not shown one by one: "+want+".") {
		t.Errorf("%d shown, and not %q: …%s", shown, want, text[len(text)-300:])
	}
	if !strings.Contains(text, "**Plan: 10000 to add, 0 to change, 0 to destroy.**") || strings.Contains(text, "hunter2") {
		t.Errorf("%.500s", text)
	}
	t.Logf("%d of 10,000 shown in %d bytes", shown, len(text))
}

// One stack from its first plan to its drift: each kind keeps one comment, a
// sensitive value is in none, and an outcome that is red is shown as such.
func TestCommentOfOneStack(t *testing.T) {
	t.Parallel()
	j := newJob(t, gitea)
	j.Inputs["comment_status"] = "true"
	j.config(".", "variable \"secret\" {\n  sensitive = true\n}\nresource \"terraform_data\" \"a\" {\n  input = var.secret\n}\n")
	j.Inputs["variables"] = `secret = "hunter2hunter2"`
	wants(j.Do())
	wants(j.Do())
	if got := j.comments(); len(got) != 1 || !strings.Contains(got[0], "- **create** terraform&#95;data.a\n") {
		t.Errorf("%q", got)
	}
	// A plan that fails writes over the one that held.
	j.config(".", "resource \"terraform_data\" \"a\" {\n  input = nowhere.at.all\n}\n")
	wants(j.Do(), "plan-failed=disproven")
	got := j.comments()
	if len(got) != 1 || !strings.Contains(got[0], "plan-failed") || strings.Contains(got[0], "create") {
		t.Errorf("%q", got)
	}
	// A drift check, of a state that is not there: its own comment.
	j.Inputs["mode"], j.Inputs["accept_state"] = "drift", ""
	r := j.Do()
	if r.Code != 1 || r.Outputs["failure_reason"] != "state-empty" {
		t.Errorf("%d %s\n%s", r.Code, r.Outputs["failure_reason"], r.Log)
	}
	if got = append(got, j.comments()...); len(got) != 3 || !strings.Contains(got[2], "### Drift of `edge`") || !strings.Contains(got[2], "state-empty") {
		t.Errorf("%q", got)
	}
	if strings.Contains(strings.Join(got, ""), "hunter2") {
		t.Errorf("a secret: %q", got)
	}
	var status struct {
		Statuses []struct{ Context, Status string }
	}
	j.forge.API(t, http.MethodGet, j.repo.Path()+"/commits/"+j.commit+"/status", nil, &status)
	found := map[string]string{}
	for _, s := range status.Statuses {
		found[s.Context] = s.Status
	}
	if found["edge-actions/plan/edge"] != "failure" || found["edge-actions/drift/edge"] != "error" {
		t.Errorf("%v", found)
	}
}

// Several stacks are one comment.
func TestCommentOfSeveralStacks(t *testing.T) {
	t.Parallel()
	j := newJob(t, gitea)
	for _, name := range []string{"net", "app"} {
		j.config("stacks/"+name, "resource \"terraform_data\" \""+name+"\" {}\n")
	}
	j.Inputs["stack"], j.Inputs["stacks"] = "", "stacks/*"
	if r := j.Do(); r.Code != 0 {
		t.Fatal(r.Log)
	}
	got := j.comments()
	if len(got) != 1 || !strings.Contains(got[0], "2 of 2 stacks proven. Plan: 2 to add") || !strings.Contains(got[0], "| proven |") {
		t.Errorf("%q", got)
	}
}

// A comment that does not come about makes the step red under its own name, and
// takes nothing back.
func TestCommentFails(t *testing.T) {
	t.Parallel()
	j := newJob(t, gitea)
	j.config(".", "resource \"terraform_data\" \"a\" {}\n")
	j.applied()
	j.config(".", "resource \"terraform_data\" \"a\" {}\nresource \"terraform_data\" \"b\" {}\n")
	j.Inputs["comment_on"], j.Inputs["accept_state"] = "operator/nowhere#1", ""
	r := j.Do()
	r.Want("", "comment=unproven", "fmt=unproven (waived)", "validate=unproven (waived)")
	if r.Outputs["failure_reason"] != "comment" || r.Outputs["changes"] != "true" {
		t.Errorf("%v", r.Outputs)
	}
	for _, name := range []string{"plan_path", "receipt_path", "backup_path", "offsite_path", "comment_path"} {
		if _, err := os.Stat(r.Outputs[name]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r.Outputs["plan_sha256"] == "" || r.Outputs["receipt_sha256"] == "" || r.Outputs["state_serial"] == "" {
		t.Errorf("%v", r.Outputs)
	}
	r.Says("missing or not allowed", "stands, and is in the outputs")
	// Nor does it hide why the plan itself is red.
	j.config(".", "resource \"terraform_data\" \"a\" {\n  input = nowhere.at.all\n}\n")
	r = j.Do()
	r.Want("", "plan-failed=disproven", "comment=unproven", "fmt=unproven (waived)", "validate=unproven (waived)")
	if r.Outputs["failure_reason"] != "plan-failed" {
		t.Errorf("%v", r.Outputs)
	}
}
