package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/sshdtest"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// generous is a deadline that a passing test does not come near.
const generous = 60 * time.Second

func newKey(t testing.TB, dir, name string) (private, public string) {
	t.Helper()
	private = filepath.Join(dir, name)
	realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", private)
	b, err := os.ReadFile(private + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return private, strings.TrimSpace(string(b))
}

// sshd is a real one that lets in the owner of a key, but by PermitRootLogin.
// It returns the target that it is.
func sshd(t testing.TB, key, permitRoot string) sshx.Target {
	t.Helper()
	s := sshdtest.Start(t, "PermitRootLogin "+permitRoot, "AuthorizedKeysFile "+key+".pub")
	return sshx.Target{Host: "127.0.0.1", Port: s.Port, User: s.User, HostKeys: []string{s.HostKey}, IdentityFiles: []string{key}, Config: "none"}
}

// welcoming is a server that lets everybody in, as root too: a real sshd does
// so only if it is root's.
func welcoming(t testing.TB, key string) sshx.Target {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if conn, _, requests, err := ssh.NewServerConn(raw, config); err == nil {
					go ssh.DiscardRequests(requests)
					conn.Wait()
				}
			}()
		}
	}()
	return sshx.Target{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Config: "none", IdentityFiles: []string{key},
		HostKeys: []string{strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))}}
}

func TestRootLoginRefused(t *testing.T) {
	dir := t.TempDir()
	key, _ := newKey(t, dir, "identity")
	other, _ := newKey(t, dir, "other")
	_, stranger := newKey(t, dir, "stranger")
	refusing, open := sshd(t, key, "no"), welcoming(t, key)
	jump := sshd(t, key, "yes")
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the job was cancelled"))
	with := func(target sshx.Target, change func(*sshx.Target)) sshx.Target {
		change(&target)
		return target
	}
	for name, test := range map[string]struct {
		ctx    context.Context
		target sshx.Target
		want   verdict.Verdict
		got    string
	}{
		"refused":               {t.Context(), refusing, verdict.Proven, "refused by root@127.0.0.1"},
		"let in":                {t.Context(), open, verdict.Disproven, "a login on root@127.0.0.1"},
		"refused behind a jump": {t.Context(), with(refusing, func(to *sshx.Target) { to.Jump = []sshx.Target{jump} }), verdict.Proven, "refused by root@127.0.0.1"},
		// The jump doesn't know this key, and says so in the same words.
		"refused by the jump": {t.Context(), with(open, func(to *sshx.Target) {
			jump := jump
			jump.IdentityFiles = []string{other}
			to.Jump = []sshx.Target{jump}
		}), verdict.Unproven, "another on the way"},
		"another host key": {t.Context(), with(refusing, func(to *sshx.Target) { to.HostKeys = []string{stranger} }), verdict.Unproven, sshx.HostKeyChanged},
		"no host key":      {t.Context(), with(refusing, func(to *sshx.Target) { to.HostKeys = nil }), verdict.Unproven, sshx.HostKeyUnknown},
		"no key to offer":  {t.Context(), with(refusing, func(to *sshx.Target) { to.IdentityFiles = nil }), verdict.Unproven, "no key was offered"},
		"a key that is not there": {t.Context(), with(refusing, func(to *sshx.Target) { to.IdentityFiles = []string{filepath.Join(dir, "nowhere")} }),
			verdict.Unproven, "nowhere"},
		"unreachable": {t.Context(), with(refusing, func(to *sshx.Target) { to.Port = freePort(t) }), verdict.Unproven, sshx.Unreachable},
		"silent":      {t.Context(), with(refusing, func(to *sshx.Target) { to.Port = full(t) }), verdict.Unproven, "127.0.0.1"},
		"cancelled":   {cancelled, refusing, verdict.Unproven, "the job was cancelled"},
		"no host":     {t.Context(), sshx.Target{Config: "none"}, verdict.Unproven, "no host"},
	} {
		t.Run(name, func(t *testing.T) {
			limit := generous
			if name == "silent" {
				limit = time.Second
			}
			c := RootLoginRefused(test.ctx, test.target, sshx.Options{DialTimeout: limit})
			if strings.Contains(c.Got, "no key was offered") != (test.got == "no key was offered") {
				t.Errorf("for another reason than %q: %+v", test.got, c)
			}
			if c.ID != RootRefused || c.Verdict != test.want || !strings.Contains(c.Got, test.got) || strings.ContainsAny(c.Got, "\n\x1b") {
				t.Errorf("%+v, want %s, %q", c, test.want, test.got)
			}
		})
	}
}

// The probe through a real connection, on the machine that runs the tests.
func TestLabCollectOverSSH(t *testing.T) {
	key, _ := newKey(t, t.TempDir(), "identity")
	target := sshd(t, key, "yes")
	conn, err := sshx.Dial(t.Context(), target, sshx.Options{DialTimeout: generous})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e := DefaultExpect()
	e.Ports = []int{target.Port}
	f, err := Collect(t.Context(), conn, []string{"host", "ports"}, e, generous)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := f.BootID.Get(); err != nil || !bootIDForm.MatchString(id) {
		t.Errorf("%q, %v", id, err)
	}
	// The port answers on the address of SSH_CONNECTION.
	if c := ports(f, e); c.Verdict != verdict.Proven {
		t.Errorf("%+v", c)
	}
}
