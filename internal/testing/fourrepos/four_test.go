package fourrepos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"edge-actions/internal/forge"
	"edge-actions/internal/testing/forgetest"
)

// TestLabFourRepos follows one node through the four repositories: from the first
// plan of its stack to the morning on which its mirror was written to.
func TestLabFourRepos(t *testing.T) {
	w := newWorld(t)
	w.firstDelivery()
	w.tampered()
	w.pullRequest()
	w.drift()
	w.secrets()
	w.controlPlane()
}

// status is what the forge shows of a commit of infra under the handoff's name.
func (w *world) status(commit string) string {
	w.t.Helper()
	var list []struct {
		Context, Status string
		TargetURL       string `json:"target_url"`
	}
	w.forge.API(w.t, http.MethodGet, "/repos/"+forgetest.User+"/infra/commits/"+commit+"/statuses", nil, &list)
	for _, s := range list { // the newest comes first
		if s.Context == "edge-actions/handoff" {
			return s.Status
		}
	}
	return ""
}

// handoff is the document in the runtime repository, and how many commits have
// changed it.
func (w *world) handoff() (document string, commits int) {
	w.t.Helper()
	dir := w.path("work", "runtime")
	forgetest.Git(w.t, dir, "pull", "--quiet", "--ff-only", w.remote("runtime", true), "main")
	data, err := os.ReadFile(filepath.Join(dir, "handoff", "handoff.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data), len(strings.Fields(forgetest.Git(w.t, dir, "log", "--format=%H", "--", "handoff/handoff.json")))
}

// firstDelivery: the first handoff is committed, and the runtime repository does
// not believe it until its operator has accepted it there; then the delivery that
// was cut short by that is completed, without another commit.
func (w *world) firstDelivery() {
	t := w.t
	commit := forgetest.Git(t, w.path("work", "infra"), "rev-parse", "HEAD")
	w.red("infra", "workflow_dispatch", "infra.yml", []string{"--input", "accept_state=new"},
		"tofu-apply: PROVEN", "emit-handoff: DISPROVEN", "proven     handoff-committed", "disproven  handoff-run")
	if got := w.status(commit); got != "failure" {
		t.Errorf("the status of infra is %q", got)
	}
	document, commits := w.handoff()
	if commits != 1 || !strings.Contains(document, w.host.Address) || !strings.Contains(document, commit) {
		t.Errorf("%d commits\n%s", commits, document)
	}
	if status, log := w.ended(w.newest()); status != "failure" || !strings.Contains(log, "handoff-serial") || strings.Contains(log, "colmena-deploy:") {
		t.Errorf("%s\n%s", status, log)
	}

	client, err := forge.New(w.front, w.token, forge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := client.Repo(forgetest.User, "runtime")
	if err != nil {
		t.Fatal(err)
	}
	id, err := runtime.Dispatch(t.Context(), "deploy.yml", "main", map[string]string{"accept": "new"})
	if err != nil {
		t.Fatal(err)
	}
	if status, log := w.ended(id); status != "success" || !strings.Contains(log, "verify-handoff: PROVEN") || !strings.Contains(log, "colmena-deploy: PROVEN") {
		t.Fatalf("%s\n%s", status, log)
	}
	if out, err := w.host.Run("cat /run/app-version"); err != nil || strings.TrimSpace(out) != "four" {
		t.Errorf("the node runs %q: %v", out, err)
	}

	log := w.green("infra", "push", "infra.yml", nil, "emit-handoff: PROVEN", "it says the same already")
	if got := w.status(commit); got != "success" {
		t.Errorf("the status of infra is %q\n%s", got, log)
	}
	if status, log := w.ended(w.newest()); status != "success" || !strings.Contains(log, "verify-handoff: PROVEN") {
		t.Errorf("%s\n%s", status, log)
	}
	if _, commits := w.handoff(); commits != 1 {
		t.Errorf("%d commits", commits)
	}
}

// newest is the run that was started last.
func (w *world) newest() (id int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for other := range w.runs {
		id = max(id, other)
	}
	return id
}

// tampered: somebody who can write to the runtime repository changes the handoff.
// Nothing is deployed by it, and the next delivery puts it right.
func (w *world) tampered() {
	t := w.t
	document, _ := w.handoff()
	path := filepath.Join(w.path("work", "runtime"), "handoff", "handoff.json")
	w.write(path, strings.Replace(document, w.host.Address, "10.99.99.99", 1))
	w.push("runtime", "main", "another node")
	log := w.red("runtime", "workflow_dispatch", "deploy.yml", nil, "verify-handoff: DISPROVEN", "disproven  signature")
	if strings.Contains(log, "colmena-deploy:") {
		t.Errorf("it was deployed:\n%s", log)
	}
	w.green("infra", "push", "infra.yml", nil, "emit-handoff: PROVEN", "committed as")
	// It was written anew: another second, the same facts.
	if now, commits := w.handoff(); commits != 3 || !strings.Contains(now, w.host.Address) || strings.Contains(now, "10.99.99.99") {
		t.Errorf("%d commits\n%s", commits, now)
	}
	if status, log := w.ended(w.newest()); status != "success" {
		t.Errorf("%s\n%s", status, log)
	}
}

// comments are those on a pull request or an issue of infra.
func (w *world) comments(number int) (out []string) {
	w.t.Helper()
	var list []struct{ Body string }
	w.forge.API(w.t, http.MethodGet, "/repos/"+forgetest.User+"/infra/issues/"+strconv.Itoa(number)+"/comments", nil, &list)
	for _, c := range list {
		out = append(out, c.Body)
	}
	return out
}

// pullRequest: the plan of a change is one comment on it, whatever the number of
// commits; one from a fork is not planned at all.
func (w *world) pullRequest() {
	t := w.t
	dir := w.path("work", "infra")
	forgetest.Git(t, dir, "switch", "--quiet", "--create", "change")
	resource := filepath.Join(dir, "stack", "more.tf")
	w.write(resource, "resource \"terraform_data\" \"more\" {\n}\n")
	w.push("infra", "change", "more")
	var made struct{ Number int }
	w.forge.API(t, http.MethodPost, "/repos/"+forgetest.User+"/infra/pulls", map[string]string{"title": "more", "head": "change", "base": "main"}, &made)
	event := func(from string) []string {
		data, err := json.Marshal(map[string]any{"pull_request": map[string]any{
			"number": made.Number, "base": map[string]any{"ref": "main"}, "head": map[string]any{"ref": "change", "repo": map[string]any{"full_name": from}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return []string{"--eventpath", w.write(w.path("event.json"), string(data))}
	}
	if log := w.green("infra", "pull_request", "plan.yml", event("stranger/infra")); strings.Contains(log, "tofu-plan") || len(w.comments(made.Number)) != 0 {
		t.Errorf("a stranger's change was planned:\n%s", log)
	}
	own := event(forgetest.User + "/infra")
	w.green("infra", "pull_request", "plan.yml", own, "tofu-plan-with-state-backup: PROVEN", "proven     comment")
	w.write(resource, "resource \"terraform_data\" \"more\" {\n  count = 3\n}\n")
	w.push("infra", "change", "three")
	w.green("infra", "pull_request", "plan.yml", own, "proven     comment")
	if got := w.comments(made.Number); len(got) != 1 || !strings.Contains(got[0], "Plan: 3 to add") || !strings.Contains(got[0], "more&#91;2]") {
		t.Errorf("%q", got)
	}
	forgetest.Git(t, dir, "switch", "--quiet", "main")
}

// drift: the look of each morning is one comment on one issue.
func (w *world) drift() {
	var made struct{ Number int }
	w.forge.API(w.t, http.MethodPost, "/repos/"+forgetest.User+"/infra/issues", map[string]string{"title": "drift"}, &made)
	for range 2 {
		w.green("infra", "schedule", "drift.yml", []string{"--var", fmt.Sprintf("DRIFT_ISSUE=%d", made.Number)}, "tofu-plan-with-state-backup: PROVEN")
	}
	if got := w.comments(made.Number); len(got) != 1 || !strings.Contains(got[0], "No drift.") {
		w.t.Errorf("%q", got)
	}
}

// secrets: what is required is there and encrypted; a secret in clear is refused.
func (w *world) secrets() {
	file := filepath.Join(w.path("work", "secrets"), "edge-1.sops.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	_, recipient, _ := strings.Cut(string(data), "recipient: ")
	recipient, _, _ = strings.Cut(recipient, "\n")
	args := []string{"--var", "RECIPIENTS=" + recipient}
	w.green("secrets", "push", "secrets.yml", args, "sops-secrets: PROVEN")
	// A new one that nobody encrypted.
	w.write(file, "other: hunter2\n"+string(data))
	w.push("secrets", "main", "in clear")
	if log := w.red("secrets", "push", "secrets.yml", args, "sops-secrets: DISPROVEN"); strings.Contains(log, "hunter2") {
		w.t.Errorf("a secret is in the log:\n%s", log)
	}
}

// controlPlane: the mirrors carry what the forge has until somebody writes to
// one; no door is open; the state's archives hold.
func (w *world) controlPlane() {
	t := w.t
	w.forge.API(t, http.MethodPost, "/orgs", map[string]any{"username": "public"}, nil)
	for _, name := range []string{"infra", "runtime"} {
		w.forge.API(t, http.MethodPost, "/orgs/public/repos", map[string]any{"name": name, "private": false, "default_branch": "main"}, nil)
		repo := "/repos/" + forgetest.User + "/" + name
		w.forge.API(t, http.MethodPost, repo+"/push_mirrors", map[string]any{
			"remote_address": w.forge.URL + "/public/" + name + ".git", "remote_username": forgetest.User, "remote_password": w.token, "interval": "8h", "sync_on_commit": true,
		}, nil)
		w.forge.API(t, http.MethodPost, repo+"/push_mirrors-sync", nil, nil)
	}
	log := w.green("control-plane", "schedule", "mirrors.yml", nil, "mirror-validate: PROVEN")
	if n := strings.Count(log, "| mirror-validate: PROVEN"); n != 2 {
		t.Errorf("%d mirrors are proven:\n%s", n, log)
	}
	w.forge.API(t, http.MethodPost, "/repos/public/runtime/contents/written", map[string]string{"branch": "main", "content": "eA==", "message": "by somebody else"}, nil)
	log = w.red("control-plane", "schedule", "mirrors.yml", nil, "disproven  mirror-untouched")
	if n := strings.Count(log, "| mirror-validate: PROVEN"); n != 1 {
		t.Errorf("%d mirrors are proven:\n%s", n, log)
	}
	w.green("control-plane", "schedule", "sweep.yml", nil, "ingress-sweep: PROVEN")
	w.green("control-plane", "schedule", "backups.yml", nil, "backup-validate: PROVEN")
}
