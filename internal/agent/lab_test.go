package agent

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/verdict"
)

// On a real host, from a login that is nobody there: itself, root through a real
// sudo, and another user through root.
func TestLabUsers(t *testing.T) {
	l := lab.New(t, 1)
	h := l.Hosts[0]
	conn, err := sshx.Dial(t.Context(), sshx.Target{Host: h.Address, User: "nixos", HostKeys: []string{h.HostKey}, IdentityFiles: []string{l.Key}, Config: "none"}, sshx.Options{DialTimeout: generous})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if _, err := h.Run("useradd --system --create-home backup-check"); err != nil {
		t.Fatal(err)
	}
	root, err := h.Root()
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string][]string{
		"":             {"USER=nixos", "HOME=/home/nixos"},
		"root":         {"USER=root", "HOME=/root"},
		"backup-check": {"USER=backup-check", "HOME=/home/backup-check", "LOGNAME=backup-check"},
	} {
		o := options("/var/lib/edge-actions-agent")
		if user == "" {
			o.Dir = "/home/nixos/agent"
		}
		o.User = user
		r := ask(t, over(conn), o, order{Do: "look", Secret: "x"})
		for _, kv := range want {
			if !slices.Contains(r.Env, kv) {
				t.Errorf("as %q: no %s in %q", user, kv, r.Env)
			}
		}
		if (r.UID == 0) != (user == "root") || slices.ContainsFunc(r.Env, func(kv string) bool { return strings.HasPrefix(kv, "SUDO_") }) {
			t.Errorf("as %q: %+v", user, r)
		}
		empty(t, filepath.Join(root, o.Dir))
	}

	// A connection that breaks ends it there, below a sudo too.
	for _, user := range []string{"root", "backup-check"} {
		// Where both may write; of a test of its own on this host.
		base := "/tmp/of-" + user
		conn, err := sshx.Dial(t.Context(), sshx.Target{Host: h.Address, User: "nixos", HostKeys: []string{h.HostKey}, IdentityFiles: []string{l.Key}, Config: "none"}, sshx.Options{DialTimeout: generous})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			eventually(t, "the handler", func() bool { return exists(filepath.Join(root, base+".started")) })
			conn.Close()
		}()
		o := options("/var/lib/edge-actions-agent")
		o.User = user
		_, err = Call[result](t.Context(), over(conn), o, order{Do: "wait", Base: base}, nil)
		if !verdict.Has(err, sshx.ConnectionLost) {
			t.Errorf("%v", err)
		}
		eventually(t, "the clean-up", func() bool { return exists(filepath.Join(root, base+".cleaned")) })
		gone(t, filepath.Join(root, o.Dir), o.Dir, base)
	}

	// What /run is on many hosts: noexec.
	if _, err := h.Run("mkdir -m 700 /srv/noexec && mount -t tmpfs -o noexec,mode=0700 none /srv/noexec"); err != nil {
		t.Fatal(err)
	}
	o := options("/srv/noexec")
	o.User = "root"
	_, err = Call[result](t.Context(), over(conn), o, order{}, nil)
	refused(t, err, DirUnusable, "noexec")
	if _, err := h.Run("rm /etc/sudoers.d/nixos"); err != nil {
		t.Fatal(err)
	}
	_, err = Call[result](t.Context(), over(conn), o, order{}, nil)
	if verdict.Reason(err) != sshx.SudoRefused {
		t.Errorf("%v", err)
	}
}
