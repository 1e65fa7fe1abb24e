package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/recovery/assert"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// documented are the assertions that the README shows, by their names.
func documented(t *testing.T) map[string]assert.Assertion {
	t.Helper()
	text, err := os.ReadFile("README.md")
	must(t, err)
	_, section, found := strings.Cut(string(text), "\n## Assertions\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found {
		t.Fatal("the README has no section on assertions, and errors refer to it")
	}
	out := map[string]assert.Assertion{}
	for _, part := range strings.Split(section, "```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		list, err := assert.Parse([]byte(block))
		if err != nil {
			t.Errorf("%v in\n%s", err, block)
		}
		for _, a := range list {
			out[a.Name] = a
		}
	}
	return out
}

// Every kind is shown, and what is shown is read.
func TestDocumentedAssertions(t *testing.T) {
	kinds := map[string]bool{}
	for _, a := range documented(t) {
		for kind, is := range map[string]bool{"sqlite": a.SQLite != nil, "forgejo": a.Forgejo != nil, "rustdesk": a.RustDesk != nil, "k3s": a.K3s != nil, "file": a.File != nil, "command": a.Command != nil} {
			kinds[kind] = kinds[kind] || is
		}
	}
	for kind, shown := range kinds {
		if !shown {
			t.Errorf("the README shows no %s", kind)
		}
	}
}

// What is shown holds in a tree that it is true of, and not in an empty one. That
// of K3s is judged in internal/recovery/assert, with a real etcd.
func TestDocumentedAssertionsHold(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	git := func(args ...string) string {
		return strings.TrimSpace(realtools.Output(t, "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.org"}, args...)...))
	}
	write(t, filepath.Join(tree, "etc/forgejo/app.ini"), "[repository]\nROOT = /var/lib/forgejo/repositories\n")
	write(t, filepath.Join(tree, "etc/edge/node.json"), `{"server": {"port": 8080}, "users": ["a", "b"]}`)
	pub, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	write(t, filepath.Join(tree, "var/lib/rustdesk/id_ed25519"), base64.StdEncoding.EncodeToString(key))
	write(t, filepath.Join(tree, "var/lib/rustdesk/id_ed25519.pub"), base64.StdEncoding.EncodeToString(pub))
	site, oid := filepath.Join(tree, "var/lib/forgejo/repositories/alice/site.git"), "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	git("init", "--quiet", "--bare", site)
	commit := git("--git-dir", site, "commit-tree", "-m", "x", git("--git-dir", site, "hash-object", "-t", "tree", "-w", "/dev/null"))
	git("--git-dir", site, "update-ref", "refs/heads/main", commit)
	write(t, filepath.Join(tree, "var/lib/forgejo/data/lfs", oid[:2], oid[2:4], oid[4:]), "x")
	realtools.Output(t, "sqlite3", filepath.Join(tree, "var/lib/forgejo/data/forgejo.db"), fmt.Sprintf(`
		CREATE TABLE user (id INTEGER PRIMARY KEY); INSERT INTO user VALUES (1);
		CREATE TABLE repository (id INTEGER PRIMARY KEY, owner_name TEXT, lower_name TEXT, is_empty INTEGER); INSERT INTO repository VALUES (1, 'alice', 'site', 0), (2, 'alice', 'new', 1);
		CREATE TABLE branch (repo_id INTEGER, name TEXT, commit_id TEXT, is_deleted INTEGER); INSERT INTO branch VALUES (1, 'main', '%s', 0);
		CREATE TABLE lfs_meta_object (oid TEXT, size INTEGER); INSERT INTO lfs_meta_object VALUES ('%s', 1);`, commit, oid))

	empty := t.TempDir()
	for name, a := range documented(t) {
		if a.K3s != nil {
			continue
		}
		tools := assert.Tools{Env: os.Environ(), Timeout: time.Minute, TempDir: t.TempDir()}
		if checks := a.Assert(t.Context(), tree, tools); verdict.Of(checks) != verdict.Proven {
			t.Errorf("%s: %+v", name, checks)
		}
		if checks := a.Assert(t.Context(), empty, tools); verdict.Of(checks) != verdict.Disproven && a.Command == nil || verdict.Of(checks) == verdict.Proven {
			t.Errorf("%s in an empty tree: %+v", name, checks)
		}
	}
}
