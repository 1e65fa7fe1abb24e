package main

import (
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/mirror"
	"edge-actions/internal/testing/forgetest"
)

// The life of a mirror: never pushed, pushed, behind, pushed again, rewritten on
// the forge.
func TestMirror(t *testing.T) {
	j := newJob(t)
	r := j.do()
	j.want(r, mirror.Counts{Missing: 1}, "mirror-error=unproven", "mirror-age=disproven", "mirror-current=disproven")
	if r.Outputs["last_update"] != "" {
		t.Errorf("last_update %q of none", r.Outputs["last_update"])
	}

	j.Inputs["sync"] = "true"
	r = j.do()
	j.want(r, mirror.Counts{Equal: 1})
	if at, err := time.Parse(time.RFC3339, r.Outputs["last_update"]); err != nil || time.Since(at) > time.Hour {
		t.Errorf("last_update %q", r.Outputs["last_update"])
	}

	// One more commit, a branch and a tag; then a branch is deleted.
	j.Inputs["sync"] = "false"
	j.from.Branch(t, "feature/x", "main")
	j.from.Commit(t, "feature/x", "x", "x")
	j.from.Commit(t, "main", "a", "a")
	j.from.Tag(t, "v1", "main")
	r = j.do()
	j.want(r, mirror.Counts{Behind: 1, Missing: 2}, "mirror-current=disproven")
	r.Says(`"refs/heads/main": behind`, `"refs/tags/v1": missing`)
	j.Inputs["sync"] = "true"
	j.want(j.do(), mirror.Counts{Equal: 3})
	j.Inputs["sync"] = "false"
	j.from.DeleteBranch(t, "feature/x")
	r = j.do()
	j.want(r, mirror.Counts{Equal: 2, Stale: 1}, "mirror-current=disproven")
	r.Says(`"refs/heads/feature/x": stale`)
	j.Inputs["refs"] = "refs/heads/main\nrefs/tags/*"
	j.want(j.do(), mirror.Counts{Equal: 2})
	delete(j.Inputs, "refs")

	// The forge's history is rewritten: the mirror is late, and was not touched.
	dir := j.from.Clone(t)
	forgetest.Git(t, dir, "reset", "--quiet", "--hard", "HEAD~1")
	forgetest.CommitIn(t, dir, "b", "b")
	forgetest.Git(t, dir, "push", "--quiet", "--force", "origin", "HEAD:main")
	r = j.do()
	j.want(r, mirror.Counts{Equal: 1, Rewritten: 1, Stale: 1}, "mirror-current=disproven")
	j.Inputs["sync"] = "true"
	j.want(j.do(), mirror.Counts{Equal: 2})
}

// Somebody writes to the mirror.
func TestSomebodyWroteToIt(t *testing.T) {
	j := newJob(t)
	j.from.Sync(t)
	j.want(j.do(), mirror.Counts{Equal: 1})
	j.to.Commit(t, "main", "evil", "evil")
	r := j.do()
	j.want(r, mirror.Counts{Ahead: 1}, "mirror-untouched=disproven")
	r.Says(`"refs/heads/main": ahead`, "somebody wrote to the mirror")
	j.from.Commit(t, "main", "a", "a")
	r = j.do()
	j.want(r, mirror.Counts{Diverged: 1}, "mirror-untouched=disproven")
	r.Says(`"refs/heads/main": diverged`)
	j.to.Branch(t, "backdoor", "main")
	j.want(j.do(), mirror.Counts{Diverged: 1, Foreign: 1}, "mirror-untouched=disproven")
	// The forge pushes over all of it.
	j.Inputs["sync"] = "true"
	j.want(j.do(), mirror.Counts{Equal: 1})
}

func TestWhatCannotBeSeen(t *testing.T) {
	j := newJob(t)
	j.from.Sync(t)
	none := mirror.Counts{}
	// Not this mirror's, whatever the others are.
	j.Inputs["push_mirror"] = "https://mirror.example.org/owner/name.git"
	r := j.do()
	j.want(r, mirror.Counts{Equal: 1}, "mirror-configured=disproven")
	delete(j.Inputs, "push_mirror")

	good := j.Inputs["token_file"]
	j.Inputs["token_file"] = j.file("wrong", strings.Repeat("0", 40))
	j.want(j.do(), none, "forge-auth=unproven", "mirror-source=unproven")
	j.Inputs["token_file"] = j.file("scope", j.token("read:issue"))
	r = j.do()
	j.want(r, none, "forge-auth=unproven", "mirror-source=unproven")
	r.Says("read:repository")
	j.Inputs["token_file"] = good
	j.Inputs["mirror_token_file"] = ""
	j.want(j.do(), none, "mirror-remote=unproven")
	j.Inputs["mirror_token_file"] = j.file("wrong", strings.Repeat("1", 40))
	j.want(j.do(), none, "mirror-remote=unproven")

	// The mirror is gone. Its last push was good, and is no proof.
	j.Inputs["mirror_token_file"] = good
	j.forge.API(t, "DELETE", j.to.Path(), nil, nil)
	j.want(j.do(), none, "mirror-remote=unproven")
	j.Inputs["sync"] = "true"
	r = j.do()
	j.want(r, none, "mirror-sync=unproven", "mirror-error=disproven", "mirror-remote=unproven")

	// So is the forge.
	server := httptest.NewServer(nil)
	server.Close()
	j.Inputs["sync"], j.Inputs["forge_url"] = "false", server.URL
	j.want(j.do(), none, "forge-unreachable=unproven", "mirror-source=unproven")
}

// Nothing on both sides is nothing proven.
func TestNothingToCompare(t *testing.T) {
	j := newJob(t)
	j.from.Sync(t)
	j.Inputs["refs"] = "refs/heads/release/*"
	j.want(j.do(), mirror.Counts{}, "mirror-source=unproven")
}

// Forgejo, and a mirror on a disk that is behind a filter.
func TestForgejoAndAFile(t *testing.T) {
	f := forgetest.New(t)
	d := f.Forgejo(t)
	j := newJobAt(t, d.URL)
	to := f.EmptyRepo(t)
	j.from.PushMirror(t, to.GitURL(), forgetest.User, j.token("write:repository"))
	j.from.Branch(t, "wip", "main")
	bare := forgetest.BareRemote(t)
	forgetest.Git(t, j.from.Clone(t), "push", "--quiet", bare, "HEAD:refs/heads/main")
	j.from.Sync(t)
	d.Filter = "main"
	j.Inputs["mirror"], j.Inputs["push_mirror"] = (&url.URL{Scheme: "file", Path: bare}).String(), to.GitURL()
	r := j.do()
	j.want(r, mirror.Counts{Equal: 1, Missing: 1}, "mirror-current=disproven")
	r.Says(`branch filter "main"`)
	j.Inputs["refs"] = "refs/heads/main"
	j.want(j.do(), mirror.Counts{Equal: 1})
}

// git takes nothing from the runner: no configuration, no helper that knows a
// password, no netrc, no other address.
func TestNothingOfTheRunners(t *testing.T) {
	j := newJob(t)
	j.from.Sync(t)
	marker := filepath.Join(j.Home, "ran")
	helper := "!f() { touch " + marker + "; echo username=x; echo password=y; }; f"
	config := "[credential]\n\thelper = \"" + helper + "\"\n[core]\n\taskPass = touch\n\tsshCommand = touch\n[url \"file:///nowhere/\"]\n\tinsteadOf = http://\n"
	for _, path := range []string{".gitconfig", ".config/git/config"} {
		full := filepath.Join(j.Home, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// This one would open the mirror.
	netrc := "machine 127.0.0.1 login x password " + j.token("read:repository") + "\n"
	if err := os.WriteFile(filepath.Join(j.Home, ".netrc"), []byte(netrc), 0o600); err != nil {
		t.Fatal(err)
	}
	j.Env = append(j.Env, "GIT_CONFIG_PARAMETERS='url.file:///nowhere/.insteadOf=http://'", "GIT_ASKPASS=/bin/false", "GIT_DIR=/nowhere", "XDG_CONFIG_HOME="+filepath.Join(j.Home, ".config"))
	j.want(j.do(), mirror.Counts{Equal: 1})
	j.Inputs["mirror_token_file"] = ""
	j.want(j.do(), mirror.Counts{}, "mirror-remote=unproven")
	if _, err := os.Stat(marker); err == nil {
		t.Error("the runner's credential helper was asked")
	}
}
