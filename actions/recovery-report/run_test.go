package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/evidence"
	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/verdict"
)

func TestReport(t *testing.T) {
	j := newJob(t)
	j.add("node-validate", "edge-1", good())
	j.Inputs["output_dir"] = "pages"
	r := j.Do()
	r.Want("")
	for name, want := range map[string]string{
		"verdict": "proven", "entries": "1", "todo": "0", "overdue": "0", "slower": "0", "open_doors": "", "drifted": "", "last_restore": "", "html_path": filepath.Join(j.Workspace, "pages", "recovery.html"), "failure_reason": "",
	} {
		if r.Outputs[name] != want {
			t.Errorf("%s is %q, wanted %q", name, r.Outputs[name], want)
		}
	}
	if len(r.Outputs["ledger_sha256"]) != 64 {
		t.Errorf("%v", r.Outputs)
	}
	for name, text := range map[string]string{"html_path": "<title>proven: recovery</title>", "markdown_path": "# recovery: PROVEN", "badge_path": "recovery: proven"} {
		if got := read(t, r.Outputs[name]); !strings.Contains(got, text) {
			t.Errorf("%s lacks %q: %.300s", name, text, got)
		}
	}
	if !strings.Contains(read(t, filepath.Join(j.Temp, "summary")), "Everything that is expected was proven") {
		t.Error("the step's summary has no report")
	}
	// What this action leaves behind proves nothing: not itself, and not that
	// anything else was looked at.
	j.add("recovery-report", "recovery", good())
	j.Inputs["expect"] = "node-validate 8d\nrecovery-report 8d"
	r = j.Do()
	r.Want("", "overdue=unproven")
	if r.Outputs["entries"] != "2" || r.Outputs["overdue"] != "1" || r.Outputs["todo"] != "1" {
		t.Errorf("%v", r.Outputs)
	}
	r.Says("recovery-report: overdue", "never")
	// And a waiver shows as one.
	j.Inputs["waive"] = "recovery-report"
	r = j.Do()
	r.Want("", "overdue=unproven (waived)")
	if !strings.Contains(read(t, r.Outputs["html_path"]), "waive of this report") {
		t.Error("the page does not show the waiver")
	}
}

func TestNotProven(t *testing.T) {
	j := newJob(t)
	j.add("node-validate", "edge-1", good(), verdict.Check{ID: "k3s", Verdict: verdict.Disproven, Wanted: "Ready", Got: "NotReady", Hint: "look at the kubelet"})
	r := j.Do()
	r.Want("", "newest-evidence=disproven", "overdue=unproven")
	if r.Outputs["verdict"] != "disproven" || r.Outputs["failure_reason"] != "newest-evidence" {
		t.Errorf("%v", r.Outputs)
	}
	r.Says("k3s: NotReady", "look at the kubelet")
	// Nothing expected and nothing there is not proven either.
	j = newJob(t)
	j.add("recovery-report", "recovery", good())
	j.Inputs["expect"] = "none"
	j.Do().Want("", "newest-evidence=unproven")
}

// A ledger that was changed: the page says so first, shows what is before that
// place, and is written.
func TestBrokenLedger(t *testing.T) {
	j := newJob(t)
	j.add("node-validate", "edge-1", good())
	j.add("node-validate", "edge-2", good())
	j.add("node-validate", "edge-3", good())
	j.Do().Want("")
	path := filepath.Join(j.ledger.Dir, evidence.EntriesFile)
	text := read(t, path)
	j.write(path, strings.Replace(text, `"subject":"edge-2"`, `"subject":"edge-9"`, 1))
	r := j.Do()
	r.Want("", "ledger-edited=disproven")
	if r.Outputs["verdict"] != "disproven" || r.Outputs["entries"] != "1" || r.Outputs["failure_reason"] != "ledger-edited" {
		t.Errorf("%v", r.Outputs)
	}
	html := read(t, r.Outputs["html_path"])
	for _, want := range []string{"The ledger is broken", "line 2", "edge-1"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(html, "edge-9") || strings.Contains(html, "edge-3") {
		t.Error("what comes after the break is shown as if it were known")
	}
	// Mended, it is what it was.
	j.write(path, text)
	j.Do().Want("")
	// Another key.
	other := newJob(t)
	j.Inputs["allowed_signers"] = other.key + ".pub"
	if r = j.Do(); r.Code != 1 || r.Outputs["verdict"] == "proven" || r.Outputs["entries"] != "0" {
		t.Errorf("%v", r.Outputs)
	}
}

// Nowhere to write the pages to.
func TestUnwritten(t *testing.T) {
	j := newJob(t)
	j.add("node-validate", "edge-1", good())
	j.Inputs["output_dir"] = filepath.Join(j.Home, "nowhere", "pages")
	r := j.Do()
	r.Want("", "pages=unproven")
	if r.Outputs["html_path"] != "" {
		t.Error("a path to nothing")
	}
}

// The report on an issue of a real forge: one comment, brought up to date.
func TestComment(t *testing.T) {
	f := forgetest.New(t)
	repo := f.Repo(t)
	issue := repo.Issue(t, "recovery")
	j := newJob(t)
	j.add("node-validate", "edge-1", good())
	j.write(filepath.Join(j.Home, "token"), f.Token(t, "write:issue", "read:user", "write:repository"))
	for name, value := range map[string]string{"comment_on": fmt.Sprintf("%s/%s#%d", repo.Owner, repo.Name, issue), "comment_url": f.URL, "comment_token_file": "~/token"} {
		j.Inputs[name] = value
	}
	comments := func() (out []string) {
		t.Helper()
		var list []struct{ Body string }
		f.API(t, http.MethodGet, fmt.Sprintf("%s/issues/%d/comments", repo.Path(), issue), nil, &list)
		for _, c := range list {
			out = append(out, c.Body)
		}
		return out
	}
	j.Do().Want("")
	if got := comments(); len(got) != 1 || !strings.Contains(got[0], "### Recovery of `recovery`") || !strings.Contains(got[0], "Everything that is expected was proven") {
		t.Errorf("%q", got)
	}
	for n := range 300 { // far more than a comment has room for
		j.add("node-validate", fmt.Sprintf("edge-%d", n), verdict.Check{ID: "ssh", Verdict: verdict.Unproven, Got: strings.Repeat("no route to host, ", 10), Hint: "look"})
	}
	if r := j.Do(); r.Code != 1 || r.Outputs["html_path"] == "" || strings.Contains(strings.Join(r.Not(), " "), "comment") {
		t.Errorf("%v\n%.2000s", r.Outputs, r.Log)
	}
	if got := comments(); len(got) != 1 || !strings.Contains(got[0], "rows are left out here") || !strings.Contains(got[0], "things need you") || len(got[0]) > 60<<10 {
		t.Errorf("%d comments, %.400q", len(got), got)
	}
	// A forge that does not take it: the report is there all the same.
	must(t, os.WriteFile(filepath.Join(j.Home, "token"), []byte(strings.Repeat("0", 40)), 0o600))
	r := j.Do()
	if r.Code != 1 || !strings.Contains(strings.Join(r.Not(), " "), "comment=unproven") || r.Outputs["html_path"] == "" {
		t.Errorf("%v", r.Not()[:1])
	}
}
