package forgetest

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Repo is a repository of User's.
type Repo struct {
	Owner, Name string

	f *Forge
}

// Repo makes a private repository whose branch main has one commit.
func (f *Forge) Repo(t testing.TB) *Repo {
	t.Helper()
	return f.make(t, true)
}

// EmptyRepo makes a private repository without a commit.
func (f *Forge) EmptyRepo(t testing.TB) *Repo {
	t.Helper()
	return f.make(t, false)
}

func (f *Forge) make(t testing.TB, initial bool) *Repo {
	t.Helper()
	r := &Repo{Owner: User, Name: f.name("repo"), f: f}
	f.API(t, http.MethodPost, "/user/repos", map[string]any{"name": r.Name, "private": true, "auto_init": initial, "default_branch": "main"}, nil)
	return r
}

// Path is the repository's in the API.
func (r *Repo) Path() string { return "/repos/" + r.Owner + "/" + r.Name }

// GitURL is where git finds it, without anything secret.
func (r *Repo) GitURL() string { return r.f.URL + "/" + r.Owner + "/" + r.Name + ".git" }

// Commit writes a file in one commit on a branch, which is there, and returns
// the commit's id.
func (r *Repo) Commit(t testing.TB, branch, path, content string) string {
	t.Helper()
	var made struct{ Commit struct{ SHA string } }
	r.f.API(t, http.MethodPost, r.Path()+"/contents/"+path, map[string]string{"branch": branch, "content": base64.StdEncoding.EncodeToString([]byte(content)), "message": "add " + path}, &made)
	return made.Commit.SHA
}

// Branch makes a branch at another one.
func (r *Repo) Branch(t testing.TB, name, from string) {
	t.Helper()
	r.f.API(t, http.MethodPost, r.Path()+"/branches", map[string]string{"new_branch_name": name, "old_ref_name": from}, nil)
}

// DeleteBranch removes a branch.
func (r *Repo) DeleteBranch(t testing.TB, name string) {
	t.Helper()
	r.f.API(t, http.MethodDelete, r.Path()+"/branches/"+name, nil, nil)
}

// Tag makes an annotated tag at a branch.
func (r *Repo) Tag(t testing.TB, name, at string) {
	t.Helper()
	r.f.API(t, http.MethodPost, r.Path()+"/tags", map[string]string{"tag_name": name, "target": at, "message": name}, nil)
}

// Issue opens an issue and returns its number.
func (r *Repo) Issue(t testing.TB, title string) int {
	t.Helper()
	var made struct{ Number int }
	r.f.API(t, http.MethodPost, r.Path()+"/issues", map[string]string{"title": title}, &made)
	return made.Number
}

// PushMirror has the forge push this repository to a git URL, when it is told
// to; user and secret may be empty.
func (r *Repo) PushMirror(t testing.TB, remote, user, secret string) {
	t.Helper()
	r.f.API(t, http.MethodPost, r.Path()+"/push_mirrors", map[string]any{"remote_address": remote, "remote_username": user, "remote_password": secret, "interval": "0", "sync_on_commit": false}, nil)
}

// Sync pushes to all mirrors now.
func (r *Repo) Sync(t testing.TB) {
	t.Helper()
	r.f.API(t, http.MethodPost, r.Path()+"/push_mirrors-sync", nil, nil)
}

// Clone is a work tree of the repository that may push to it.
func (r *Repo) Clone(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	u, err := url.Parse(r.GitURL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(User, r.f.password)
	Git(t, "", "clone", "--quiet", u.String(), dir)
	return dir
}

// BareRemote is an empty repository on this machine's disk.
func BareRemote(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "remote.git")
	Git(t, "", "init", "--quiet", "--bare", "--initial-branch=main", dir)
	return dir
}

// Git runs git in a directory, as somebody who has no configuration, and
// returns what it printed.
func Git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

// CommitIn commits a file in a work tree and returns the commit's id.
func CommitIn(t testing.TB, dir, path, content string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	Git(t, dir, "add", path)
	Git(t, dir, "commit", "--quiet", "--message", "change "+path)
	return Git(t, dir, "rev-parse", "HEAD")
}
