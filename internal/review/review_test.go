package review_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/review"
	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { os.Exit(forgetest.Main(m)) }

const metadata = `name: shows
description: Shows something.
inputs:
  comment_on:
    description: Where.
  comment_url:
    description: The forge.
  comment_token_file:
    description: A token.
  comment_status:
    description: Whether.
    default: "false"
outputs: {}
runs:
  using: composite
  steps: []
`

// rig is a repository with a commit and an issue on a real forge.
type rig struct {
	t      *testing.T
	f      *forgetest.Forge
	repo   *forgetest.Repo
	commit string
	issue  int
	inputs map[string]string
	token  string
}

func newRig(t *testing.T, scopes ...string) *rig {
	t.Helper()
	f := forgetest.New(t)
	g := &rig{t: t, f: f, repo: f.Repo(t), token: f.Token(t, scopes...)}
	g.commit, g.issue = g.repo.Commit(t, "main", "main.tf", "# a stack"), g.repo.Issue(t, "a plan")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(g.token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.inputs = map[string]string{"comment_on": strconv.Itoa(g.issue), "comment_url": f.URL, "comment_token_file": file}
	return g
}

// show shows a finding, and returns the checks of it and the log.
func (g *rig) show(ctx context.Context, f review.Finding) (checks []string, log string) {
	g.t.Helper()
	env := []string{"GITHUB_REPOSITORY=" + g.repo.Owner + "/" + g.repo.Name, "GITHUB_SHA=" + g.commit, "GITHUB_RUN_ID=4711", "RUNNER_TEMP=" + g.t.TempDir()}
	for name, value := range g.inputs {
		env = append(env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	var out bytes.Buffer
	a, err := action.New([]byte(metadata), &out, env)
	if err != nil {
		g.t.Fatal(err)
	}
	in := a.Inputs()
	r := review.Read(in, a)
	if err = in.Err(); err == nil {
		err = r.Show(ctx, f)
	}
	for _, c := range append(a.Report.Checks, verdict.ChecksOf(err)...) {
		checks = append(checks, c.ID+"="+string(c.Verdict))
		if strings.Contains(c.Got+c.Hint+c.Wanted, g.token) {
			g.t.Errorf("the token is in a check: %+v", c)
		}
		out.WriteString(c.Wanted + c.Got + c.Hint)
	}
	return checks, out.String()
}

func (g *rig) comments() (out []string) {
	g.t.Helper()
	var list []struct{ Body string }
	g.f.API(g.t, http.MethodGet, g.repo.Path()+"/issues/"+strconv.Itoa(g.issue)+"/comments", nil, &list)
	for _, c := range list {
		out = append(out, c.Body)
	}
	return out
}

// statuses are those of the commit, the last of each name.
func (g *rig) statuses() map[string]string {
	g.t.Helper()
	var all struct {
		Statuses []struct{ Context, Status, Description string }
	}
	g.f.API(g.t, http.MethodGet, g.repo.Path()+"/commits/"+g.commit+"/status", nil, &all)
	out := map[string]string{}
	for _, s := range all.Statuses {
		out[s.Context] = s.Status + " " + s.Description
	}
	return out
}

func wants(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
}

var (
	proven    = []verdict.Check{{ID: "a", Verdict: verdict.Proven}}
	disproven = []verdict.Check{{ID: "a", Verdict: verdict.Proven}, {ID: "drift", Verdict: verdict.Disproven}}
	unproven  = []verdict.Check{{ID: "init", Verdict: verdict.Unproven}}
)

// One comment for each thing that is shown, whatever the number of runs; and a
// status that says the same.
func TestShow(t *testing.T) {
	t.Parallel()
	g := newRig(t, "write:issue", "read:user", "write:repository")
	g.inputs["comment_status"] = "true"
	plan := review.Finding{Kind: "plan", Name: "edge", Markdown: "**Plan: 1 to add &amp; more.**\n\n- **create** a.b\n", Checks: proven}
	checks, _ := g.show(t.Context(), plan)
	wants(t, checks, "comment=proven", "comment-status=proven")
	plan.Markdown = "**Plan: 2 to add.**\n\n- **create** a.c\n"
	checks, _ = g.show(t.Context(), plan)
	wants(t, checks, "comment=proven", "comment-status=proven")
	got := g.comments()
	if len(got) != 1 || !strings.Contains(got[0], "### Plan of `edge`\n\n**Plan: 2 to add.**") || strings.Contains(got[0], "a.b") ||
		!strings.HasSuffix(got[0], "a.c\n\n_proven, commit "+g.commit[:12]+", run 4711; the next run writes over it._") {
		t.Errorf("%d comments: %q", len(got), got)
	}
	// Of another name, of another choice under one name, of another kind.
	for _, f := range []review.Finding{
		{Kind: "plan", Name: "other", Markdown: "**b**\n", Checks: proven},
		{Kind: "plan", Name: "edge", Choice: "stacks/*", Markdown: "**c**\n", Checks: proven},
		{Kind: "drift", Name: "edge", Markdown: "**Drift: 1 changed outside.**\n", Checks: disproven},
	} {
		checks, _ = g.show(t.Context(), f)
		wants(t, checks, "comment=proven", "comment-status=proven")
	}
	if n := len(g.comments()); n != 4 {
		t.Errorf("%d comments", n)
	}
	// Nothing came of it: the last one does not stand as if it were this one.
	checks, _ = g.show(t.Context(), review.Finding{Kind: "plan", Name: "other", Checks: unproven})
	wants(t, checks, "comment=proven", "comment-status=proven")
	if got := g.comments(); len(got) != 4 || !strings.Contains(got[1], "**No plan: init.**") || !strings.Contains(got[1], "_unproven, ") {
		t.Errorf("%q", got)
	}
	if diff := cmp.Diff(map[string]string{
		"edge-actions/plan/edge": "success c", "edge-actions/plan/other": "error No plan: init.", "edge-actions/drift/edge": "failure Drift: 1 changed outside.",
	}, g.statuses()); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	// In the other repository that is named; and nowhere, if nothing is.
	other := g.f.Repo(t)
	number := other.Issue(t, "drift")
	g.inputs["comment_on"], g.inputs["comment_status"] = other.Owner+"/"+other.Name+"#"+strconv.Itoa(number), "false"
	checks, _ = g.show(t.Context(), plan)
	wants(t, checks, "comment=proven")
	var there []struct{ Body string }
	if g.f.API(t, http.MethodGet, other.Path()+"/issues/1/comments", nil, &there); len(there) != 1 {
		t.Errorf("%d comments there", len(there))
	}
	g.inputs["comment_on"] = ""
	checks, _ = g.show(t.Context(), plan)
	wants(t, checks)
}

// What can't be shown is unproven, whatever the forge says of it, and says what
// to do; the comment and the status do not wait for one another.
func TestCannotShow(t *testing.T) {
	t.Parallel()
	plan := review.Finding{Kind: "plan", Name: "edge", Markdown: "**a**\n", Checks: proven}
	for name, tt := range map[string]struct {
		scopes []string
		set    map[string]string
		want   []string
		says   string
	}{
		"no such issue":             {[]string{"write:issue", "read:user", "write:repository"}, map[string]string{"comment_on": "999"}, []string{"comment-status=proven", "comment=unproven"}, "#999"},
		"no such repository":        {[]string{"write:issue", "read:user", "write:repository"}, map[string]string{"comment_on": "operator/nowhere#1"}, []string{"comment-status=proven", "comment=unproven"}, "operator/nowhere"},
		"a token for statuses":      {[]string{"write:repository"}, nil, []string{"comment-status=proven", "comment=unproven"}, "write:issue"},
		"a token for comments":      {[]string{"write:issue", "read:user"}, nil, []string{"comment=proven", "comment-status=unproven"}, "write:repository"},
		"a forge that is not there": {[]string{"write:issue"}, map[string]string{"comment_url": "http://127.0.0.1:1", "comment_status": "false"}, []string{"comment=unproven"}, "what it is about stands"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, tt.scopes...)
			g.inputs["comment_status"] = "true"
			for name, value := range tt.set {
				g.inputs[name] = value
			}
			checks, log := g.show(t.Context(), plan)
			wants(t, checks, tt.want...)
			if !strings.Contains(log, tt.says) {
				t.Errorf("nothing of %q in\n%s", tt.says, log)
			}
		})
	}
	t.Run("a forge that refuses", func(t *testing.T) {
		t.Parallel()
		// Whatever a proxy in front of it has against it, the plan is not disproven.
		refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				w.Write([]byte("[]"))
				return
			}
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		}))
		t.Cleanup(refuses.Close)
		g := newRig(t, "write:issue")
		g.inputs["comment_url"], g.inputs["comment_status"] = refuses.URL, "true"
		checks, _ := g.show(t.Context(), plan)
		wants(t, checks, "comment=unproven", "comment-status=unproven")
	})
	t.Run("a run that was cancelled", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, "write:issue")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		checks, _ := g.show(ctx, plan)
		wants(t, checks, "comment=unproven")
	})
}

// What is wrong is said with the name of the input, and nothing is sent.
func TestWrongInputs(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		set  map[string]string
		want string
	}{
		"a word":      {map[string]string{"comment_on": "seven"}, "input-comment_on=disproven"},
		"zero":        {map[string]string{"comment_on": "#0"}, "input-comment_on=disproven"},
		"no name":     {map[string]string{"comment_on": "owner#7"}, "input-comment_on=disproven"},
		"a path":      {map[string]string{"comment_on": "a/../b#7"}, "input-comment_on=disproven"},
		"no token":    {map[string]string{"comment_token_file": ""}, "input-comment_token_file=disproven"},
		"a directory": {map[string]string{"comment_token_file": "/etc"}, "input-comment_token_file=disproven"},
		"in clear":    {map[string]string{"comment_url": "http://forge.example.org"}, "input-comment_url=disproven"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, "write:issue")
			for name, value := range tt.set {
				g.inputs[name] = value
			}
			checks, _ := g.show(t.Context(), review.Finding{Kind: "plan", Name: "edge", Checks: proven})
			wants(t, checks, tt.want)
			if n := len(g.comments()); n != 0 {
				t.Errorf("%d comments", n)
			}
		})
	}
}
