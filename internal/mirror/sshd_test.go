package mirror

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/testing/sshdtest"
)

// Over ssh with a known key, and with nothing else: not with another one, and
// not at first sight, whatever the user's own configuration says.
func TestSSH(t *testing.T) {
	dir, bare, work := t.TempDir(), forgetest.BareRemote(t), t.TempDir()
	forgetest.Git(t, work, "init", "--quiet", "--initial-branch=main")
	commit := forgetest.CommitIn(t, work, "a", "1")
	forgetest.Git(t, work, "push", "--quiet", bare, "main")
	server, other := sshdtest.Start(t), sshdtest.Start(t)
	known := filepath.Join(dir, "known hosts")
	g := newGit(t)
	g.Identity, g.KnownHosts = server.Identity, known
	place, err := ParsePlace("ssh://" + server.User + "@" + server.Address + bare)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, known string
		ok          bool
	}{
		{"a known key", server.KnownHosts("127.0.0.1"), true},
		{"another key", fmt.Sprintf("[127.0.0.1]:%d %s\n", server.Port, other.HostKey), false},
		{"at first sight", "", false},
	} {
		if err := os.WriteFile(known, []byte(test.known), 0o600); err != nil {
			t.Fatal(err)
		}
		refs, err := g.Refs(t.Context(), place, Patterns{"refs/*"})
		if (err == nil) != test.ok || test.ok && refs["refs/heads/main"].ID != commit {
			t.Errorf("%s: %v %v", test.name, refs, err)
		}
		if left, err := os.ReadFile(known); err != nil || string(left) != test.known {
			t.Errorf("%s: known_hosts is now %q, %v", test.name, left, err)
		}
	}
	// Said before ssh is asked, which has words of its own for it.
	for what, set := range map[string]func(g *Git){
		"no identity":    func(g *Git) { g.Identity = "" },
		"no known_hosts": func(g *Git) { g.KnownHosts = "" },
		"a path for ssh": func(g *Git) { g.Identity = `/a"b` },
	} {
		other := *g
		set(&other)
		if _, err := other.Refs(t.Context(), place, Patterns{"refs/*"}); err == nil || !strings.Contains(err.Error(), "ssh needs") && !strings.Contains(err.Error(), "in its own way") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
