package mirror

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// While somebody pushes to the forge, its refs and the mirror's are of two
// moments: they are read again, and in the end nothing is said.
func TestRefsThatMove(t *testing.T) {
	work := t.TempDir()
	forgetest.Git(t, work, "init", "--quiet", "--initial-branch=main")
	forgetest.CommitIn(t, work, "a", "1")
	source, mirror := forgetest.BareRemote(t), forgetest.BareRemote(t)
	forgetest.Git(t, work, "push", "--quiet", source, "main")
	forgetest.Git(t, work, "push", "--quiet", mirror, "main")
	for times, ok := range map[int]bool{0: true, 1: true, maxReads - 1: true, maxReads: false} {
		dir := t.TempDir()
		// Each look at the mirror pushes a branch to the forge first.
		script := fmt.Sprintf(`#!/bin/sh
for last; do :; done
n=$(cat '%[1]s/n' 2>/dev/null || echo 0)
if [ "$last" = 'file://%[2]s' ] && [ "$n" -lt %[3]d ]; then
	echo $((n + 1)) >'%[1]s/n'
	'%[4]s' -C '%[5]s' update-ref "refs/heads/new-%[3]d-$n" main
fi
exec '%[4]s' "$@"
`, dir, mirror, times, realtools.Path(t, "git"), source)
		git := filepath.Join(dir, "git")
		if err := os.WriteFile(git, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		g := newGit(t)
		g.Path = git
		m := &Mirror{Git: g, Source: Place{URL: "file://" + source}, Mirror: Place{URL: "file://" + mirror}, Refs: Patterns{"refs/heads/*"}}
		refs, other, err := m.read(t.Context())
		if (err == nil) != ok || !ok && (verdict.Reason(err) != Source || verdict.ChecksOf(err)[0].Verdict != verdict.Unproven) {
			t.Errorf("%d changes: %v", times, err)
		}
		if now := forgetest.Git(t, source, "for-each-ref", "--format=%(refname)"); ok && (len(other) != 1 || refs["refs/heads/main"].ID == "" || len(refs) != lines(now)) {
			t.Errorf("%d changes: %v, and the forge has\n%s", times, refs, now)
		}
	}
}

func lines(s string) int {
	n := 1
	for _, r := range s {
		if r == '\n' {
			n++
		}
	}
	return n
}

func TestSameOrigin(t *testing.T) {
	for git, same := range map[string]bool{
		"https://forge.example.org/a/b.git":              true,
		"https://FORGE.example.org/a/b.git":              true,
		"https://forge.example.org:444/a/b.git":          false,
		"http://forge.example.org/a/b.git":               false,
		"ssh://forge.example.org/a/b.git":                false,
		"https://forge.example.org.evil.example/a":       false,
		"https://evil.example/https://forge.example.org": false,
		"": false,
	} {
		if sameOrigin(git, "https://forge.example.org/") != same {
			t.Errorf("%q: %v", git, !same)
		}
	}
}
