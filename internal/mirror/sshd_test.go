package mirror

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/testing/realtools"
)

// Over ssh with a known key, and with nothing else: not with another one, and
// not at first sight, whatever the user's own configuration says.
func TestSSH(t *testing.T) {
	dir, bare, work := t.TempDir(), forgetest.BareRemote(t), t.TempDir()
	forgetest.Git(t, work, "init", "--quiet", "--initial-branch=main")
	commit := forgetest.CommitIn(t, work, "a", "1")
	forgetest.Git(t, work, "push", "--quiet", bare, "main")
	keys := map[string]string{}
	for _, name := range []string{"identity", "host", "other"} {
		path := filepath.Join(dir, name)
		realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path)
		public, err := os.ReadFile(path + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = strings.TrimSpace(string(public))
	}
	address := sshd(t, dir)
	_, port, _ := net.SplitHostPort(address)
	known := filepath.Join(dir, "known hosts")
	g := newGit(t)
	g.Identity, g.KnownHosts = filepath.Join(dir, "identity"), known
	me := strings.TrimSpace(realtools.Output(t, "id", "-un"))
	place, err := ParsePlace("ssh://" + me + "@" + address + bare)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, known string
		ok          bool
	}{
		{"a known key", fmt.Sprintf("[127.0.0.1]:%s %s\n", port, keys["host"]), true},
		{"another key", fmt.Sprintf("[127.0.0.1]:%s %s\n", port, keys["other"]), false},
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

// sshd is a real one of the current user's, on a free port.
func sshd(t *testing.T, dir string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // as its unit does
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "sshd_config")
	text := strings.Join([]string{
		"ListenAddress " + address, "PidFile none", "StrictModes no", "UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"HostKey " + filepath.Join(dir, "host"), "AuthorizedKeysFile " + filepath.Join(dir, "identity.pub"),
	}, "\n") + "\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	path := "/usr/sbin/sshd" // not on the PATH of everybody
	if _, err := os.Stat(path); err != nil {
		path = realtools.Path(t, "sshd")
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-D", "-e", "-f", config)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("sshd said:\n%s", text)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("sshd does not listen: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
