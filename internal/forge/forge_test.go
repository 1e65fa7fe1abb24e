package forge_test

import (
	"context"
	"errors"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/forge"
	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { os.Exit(forgetest.Main(m)) }

func open(t *testing.T, base, token string, r *forgetest.Repo) *forge.Repo {
	t.Helper()
	c, err := forge.New(base, token, forge.Options{Pause: time.Millisecond, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := c.Repo(r.Owner, r.Name)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// both runs a test on the real Gitea and on the double of Forgejo before it.
func both(t *testing.T, run func(t *testing.T, f *forgetest.Forge, base string)) {
	f := forgetest.New(t)
	t.Run("gitea", func(t *testing.T) { run(t, f, f.URL) })
	t.Run("forgejo", func(t *testing.T) { run(t, f, f.Forgejo(t).URL) })
}

// wants holds an error against an id and a verdict, or against nothing.
func wants(t *testing.T, err error, id string, v verdict.Verdict) {
	t.Helper()
	checks := verdict.ChecksOf(err)
	if id == "" && err == nil {
		return
	}
	if len(checks) != 1 || checks[0].ID != id || checks[0].Verdict != v {
		t.Errorf("wanted %s=%s, found %+v", id, v, checks)
	}
}

func TestVersion(t *testing.T) {
	both(t, func(t *testing.T, f *forgetest.Forge, base string) {
		c, err := forge.New(base, f.Token(t, "read:repository"), forge.Options{})
		if err != nil {
			t.Fatal(err)
		}
		v, err := c.Version(t.Context())
		if err != nil || v.Forgejo != (path.Base(t.Name()) == "forgejo") || v.Version == "" {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

func TestStatus(t *testing.T) {
	f := forgetest.New(t)
	r := f.Repo(t)
	commit := r.Commit(t, "main", "a", "a")
	repo := open(t, f.URL, f.Token(t, "write:repository"), r)
	long := strings.Repeat("é", 200)
	for range 2 { // the second is the one that counts
		if err := repo.SetStatus(t.Context(), commit, forge.Status{Context: "plan", State: "failure", Description: long, TargetURL: "https://example.org/1"}); err != nil {
			t.Fatal(err)
		}
	}
	var got []struct{ Context, Status, Description, Target_URL string }
	f.API(t, "GET", r.Path()+"/commits/"+commit+"/statuses", nil, &got)
	if len(got) != 2 || got[0].Context != "plan" || got[0].Status != "failure" || got[0].Target_URL != "https://example.org/1" || got[0].Description != strings.Repeat("é", 139)+"…" {
		t.Errorf("%+v", got)
	}
	for name, s := range map[string]forge.Status{
		"state":   {Context: "plan", State: "proven"},
		"context": {State: "success"},
		"target":  {Context: "plan", State: "success", TargetURL: "https://user:pass@example.org"},
		"scheme":  {Context: "plan", State: "success", TargetURL: "javascript:alert(1)"},
	} {
		err := repo.SetStatus(t.Context(), commit, s)
		if wants(t, err, forge.Config, verdict.Disproven); err == nil || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%s: %v", name, err)
		}
	}
	wants(t, repo.SetStatus(t.Context(), "main", forge.Status{Context: "plan", State: "success"}), forge.Config, verdict.Disproven)
	// A commit that is not there, and a token without the scope.
	if err := repo.SetStatus(t.Context(), strings.Repeat("1", 40), forge.Status{Context: "plan", State: "success"}); err == nil {
		t.Error("a status of no commit")
	}
	err := open(t, f.URL, f.Token(t, "read:repository"), r).SetStatus(t.Context(), commit, forge.Status{Context: "plan", State: "success"})
	if wants(t, err, forge.Denied, verdict.Unproven); err == nil || !strings.Contains(err.Error(), "write:repository") {
		t.Errorf("it does not say the scope: %v", err)
	}
}

func TestBranches(t *testing.T) {
	f := forgetest.New(t)
	r := f.Repo(t)
	repo := open(t, f.URL, f.Token(t, "write:repository"), r)
	exists := func(name string) bool {
		t.Helper()
		there, err := repo.BranchExists(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return there
	}
	if !exists("main") || exists("deploy/edge-1") {
		t.Error("before")
	}
	if err := repo.CreateBranch(t.Context(), "deploy/edge-1", "main"); err != nil {
		t.Fatal(err)
	}
	if !exists("deploy/edge-1") || exists("deploy") {
		t.Error("after")
	}
	wants(t, repo.CreateBranch(t.Context(), "deploy/edge-1", "main"), forge.Conflicted, verdict.Disproven)
	for _, name := range []string{"", "../main", "a//b", "a/", "/a", "a\nb"} {
		_, err := repo.BranchExists(t.Context(), name)
		wants(t, err, forge.Config, verdict.Disproven)
		wants(t, repo.CreateBranch(t.Context(), name, "main"), forge.Config, verdict.Disproven)
	}
	// Of a repository that is not there nothing is said.
	_, err := open(t, f.URL, f.Token(t, "all"), &forgetest.Repo{Owner: r.Owner, Name: "nowhere"}).BranchExists(t.Context(), "main")
	if wants(t, err, forge.Missing, verdict.Unproven); err == nil || !strings.Contains(err.Error(), "missing or not allowed") || !strings.Contains(err.Error(), "read:repository") {
		t.Error(err)
	}
}

func TestContents(t *testing.T) {
	both(t, func(t *testing.T, f *forgetest.Forge, base string) {
		r := f.Repo(t)
		repo := open(t, base, f.Token(t, "write:repository"), r)
		ctx := t.Context()
		name := "nodes/edge 1 #é?.json"
		if _, err := repo.GetFile(ctx, name, "main"); !verdict.Has(err, forge.Missing) {
			t.Errorf("one that is not there: %v", err)
		}
		first, err := repo.PutFile(ctx, name, "main", []byte("one\x00\n"), "", "add")
		if err != nil {
			t.Fatal(err)
		}
		got, err := repo.GetFile(ctx, name, "main")
		if err != nil || got.SHA != first.SHA || string(got.Content) != "one\x00\n" || len(first.Commit) != 40 {
			t.Fatalf("%+v %+v %v", got, first, err)
		}
		second, err := repo.PutFile(ctx, name, "main", []byte("two"), got.SHA, "change")
		if err != nil || second.SHA == first.SHA || second.Commit == first.Commit {
			t.Fatalf("%+v %v", second, err)
		}
		if old, err := repo.GetFile(ctx, name, first.Commit); err != nil || old.SHA != first.SHA {
			t.Errorf("at a commit: %+v %v", old, err)
		}
		for what, sha := range map[string]string{"changed since": first.SHA, "there already": ""} {
			_, err := repo.PutFile(ctx, name, "main", []byte("three"), sha, "change")
			wants(t, err, forge.Conflicted, verdict.Disproven)
			var c *forge.Conflict
			if !errors.As(err, &c) || c.Path != name || c.Branch != "main" {
				t.Errorf("%s: %v", what, err)
			}
		}
		if now, err := repo.GetFile(ctx, name, "main"); err != nil || string(now.Content) != "two" {
			t.Errorf("a conflict wrote: %q %v", now.Content, err)
		}
		// A directory is no file, and a path leads nowhere else.
		_, err = repo.GetFile(ctx, "nodes", "main")
		if err == nil {
			t.Error("a directory was read")
		}
		for _, p := range []string{"", "/etc", "a/../b", "..", "a//b"} {
			_, err := repo.GetFile(ctx, p, "main")
			wants(t, err, forge.Config, verdict.Disproven)
			_, err = repo.PutFile(ctx, p, "main", nil, "", "x")
			wants(t, err, forge.Config, verdict.Disproven)
		}
		var c *forge.Conflict
		if _, err := repo.PutFile(ctx, "x", "no-such-branch", nil, "", "x"); err == nil || errors.As(err, &c) {
			t.Errorf("a branch that is not there: %v", err)
		}
	})
}

const workflow = "on: workflow_dispatch\njobs: {a: {runs-on: nowhere, steps: [{run: 'true'}]}}\n"

func TestDispatch(t *testing.T) {
	both(t, func(t *testing.T, f *forgetest.Forge, base string) {
		r := f.Repo(t)
		r.Commit(t, "main", ".gitea/workflows/deploy.yml", workflow)
		r.Commit(t, "main", ".gitea/workflows/other.yml", workflow)
		r.Branch(t, "release/1", "main")
		repo := open(t, base, f.Token(t, "write:repository"), r)
		ctx := t.Context()
		if _, err := repo.Dispatch(ctx, "other.yml", "main", nil); err != nil {
			t.Fatal(err)
		}
		first, err := repo.Dispatch(ctx, "deploy.yml", "main", map[string]string{"node": "edge-1"})
		if err != nil {
			t.Fatal(err)
		}
		second, err := repo.Dispatch(ctx, "deploy.yml", "refs/heads/release/1", nil)
		if err != nil || second <= first {
			t.Fatalf("%d, %d, %v", first, second, err)
		}
		run, err := repo.GetRun(ctx, first)
		if err != nil || run.Workflow != "deploy.yml" || !strings.HasSuffix(run.Ref, "main") || run.Event != "workflow_dispatch" || len(run.Commit) != 40 || run.Done() || run.URL == "" || run.Number == 0 {
			t.Errorf("%+v %v", run, err)
		}
		// Another one on the same branch cancels it, which is no success.
		third, err := repo.Dispatch(ctx, "deploy.yml", "main", nil)
		if err != nil || third <= second {
			t.Fatalf("%d, %v", third, err)
		}
		run, err = repo.WaitRun(ctx, first, time.Millisecond)
		if wants(t, err, forge.RunEnded, verdict.Unproven); run.Status != "cancelled" {
			t.Errorf("%+v", run)
		}
		// Nobody takes the third.
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err = repo.WaitRun(short, third, 5*time.Millisecond)
		wants(t, err, forge.TimedOut, verdict.Unproven)

		_, err = repo.Dispatch(ctx, "none.yml", "main", nil)
		wants(t, err, forge.Missing, verdict.Unproven)
		for _, bad := range []string{"", "../x.yml", "deploy", "a/b.yml", "x.yml?a"} {
			_, err := repo.Dispatch(ctx, bad, "main", nil)
			wants(t, err, forge.Config, verdict.Disproven)
		}
	})
}

func TestPushMirrors(t *testing.T) {
	both(t, func(t *testing.T, f *forgetest.Forge, base string) {
		from, to := f.Repo(t), f.EmptyRepo(t)
		secret := f.Token(t, "write:repository")
		repo := open(t, base, f.Token(t, "write:repository"), from)
		ctx := t.Context()
		list, _, err := repo.PushMirrors(ctx)
		if err != nil || len(list) != 0 {
			t.Fatalf("%+v %v", list, err)
		}
		from.PushMirror(t, to.GitURL(), forgetest.User, secret)
		list, at, err := repo.PushMirrors(ctx)
		if err != nil || len(list) != 1 || list[0].Address != to.GitURL() || !list[0].LastUpdate.IsZero() || at.IsZero() {
			t.Fatalf("%+v %v %v", list, at, err)
		}
		if err := repo.SyncPushMirrors(ctx, time.Minute); err != nil {
			t.Fatal(err)
		}
		list, at, err = repo.PushMirrors(ctx)
		if err != nil || len(list) != 1 || list[0].LastError != "" || list[0].LastUpdate.IsZero() || at.Sub(list[0].LastUpdate) > time.Minute {
			t.Fatalf("%+v %v %v", list, at, err)
		}
		// The mirror is gone: the time goes on, and the error says it.
		f.API(t, "DELETE", to.Path(), nil, nil)
		err = repo.SyncPushMirrors(ctx, time.Minute)
		wants(t, err, forge.Failed, verdict.Unproven)
		list, _, err = repo.PushMirrors(ctx)
		if err != nil || list[0].LastError == "" || strings.Contains(list[0].LastError, secret) || strings.Contains(list[0].Address, secret) {
			t.Errorf("%+v %v", list, err)
		}
		_, _, err = open(t, base, f.Token(t, "read:issue"), from).PushMirrors(ctx)
		wants(t, err, forge.Denied, verdict.Unproven)
	})
}

func TestHasCommit(t *testing.T) {
	f := forgetest.New(t)
	r := f.Repo(t)
	r.Branch(t, "gone", "main")
	there := r.Commit(t, "gone", "a", "a")
	r.DeleteBranch(t, "gone")
	tip := r.Commit(t, "main", "b", "b")
	repo := open(t, f.URL, f.Token(t, "read:repository"), r)
	got := map[string]bool{}
	for name, id := range map[string]string{"of a branch that is gone": there, "a tip": tip, "nobody's": strings.Repeat("1", 40)} {
		has, err := repo.HasCommit(t.Context(), id, tip)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = has
	}
	if diff := cmp.Diff(map[string]bool{"of a branch that is gone": true, "a tip": true, "nobody's": false}, got); diff != "" {
		t.Error(diff)
	}
	// Without a commit that is seen, a 404 says nothing.
	if _, err := repo.HasCommit(t.Context(), strings.Repeat("1", 40), strings.Repeat("2", 40)); !verdict.Has(err, forge.Missing) {
		t.Error(err)
	}
}

func TestNotes(t *testing.T) {
	f := forgetest.New(t)
	r := f.Repo(t)
	repo := open(t, f.URL, f.Token(t, "write:issue", "read:user"), r)
	issue := r.Issue(t, "a plan")
	ctx := t.Context()
	bodies := func() (out []string) {
		t.Helper()
		var list []struct{ Body string }
		f.API(t, "GET", r.Path()+"/issues/1/comments", nil, &list)
		for _, c := range list {
			out = append(out, c.Body)
		}
		return out
	}
	note := forge.Note{Marker: "plan/stacks/edge", Head: "# Plan", Blocks: []string{"one", "two"}, Tail: "end"}
	first, err := repo.PutNote(ctx, issue, note)
	if err != nil || !first.Created || first.Shown != 2 || first.URL == "" {
		t.Fatalf("%+v %v", first, err)
	}
	if diff := cmp.Diff([]string{"<!-- edge-actions: plan/stacks/edge -->\n\n# Plan\n\none\n\ntwo\n\nend"}, bodies()); diff != "" {
		t.Error(diff)
	}
	// Another one of its own, and one that only quotes it.
	other := forge.Note{Marker: "plan/stacks/edge-2", Head: "# Other"}
	if c, err := repo.PutNote(ctx, issue, other); err != nil || !c.Created || c.ID == first.ID {
		t.Fatalf("%+v %v", c, err)
	}
	f.API(t, "POST", r.Path()+"/issues/1/comments", map[string]string{"body": "> <!-- edge-actions: plan/stacks/edge -->"}, nil)
	note.Blocks = []string{"three"}
	again, err := repo.PutNote(ctx, issue, note)
	if err != nil || again.Created || again.ID != first.ID {
		t.Fatalf("%+v %v", again, err)
	}
	if b := bodies(); len(b) != 3 || !strings.Contains(b[0], "three") || strings.Contains(b[0], "one") {
		t.Errorf("%d comments, %q", len(b), b[0])
	}
	// Somebody else's comment is not ours, whatever it says.
	stranger := note
	stranger.Author = "somebody-else"
	if c, err := repo.PutNote(ctx, issue, stranger); err != nil || !c.Created {
		t.Errorf("%+v %v", c, err)
	}
	// Gitea and Forgejo say 500 of an issue that is not there.
	_, err = repo.PutNote(ctx, 999, note)
	wants(t, err, forge.Failed, verdict.Unproven)
	// Without read:user it says which scope it needs, and writes nothing.
	n := len(bodies())
	_, err = open(t, f.URL, f.Token(t, "write:issue"), r).PutNote(ctx, issue, note)
	if wants(t, err, forge.Denied, verdict.Unproven); err == nil || !strings.Contains(err.Error(), "read:user") || len(bodies()) != n {
		t.Error(err)
	}
}
