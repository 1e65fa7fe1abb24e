package bootstrap

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/fleet"
	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// server is a double of sshd: it lets in who has one of the keys, and runs what
// it is asked to with a PATH of its own. It leaves out all channels but those of
// commands and jumps.
type server struct {
	key     ssh.Signer
	port    int
	path    string // in front of PATH
	refuses bool   // everybody
}

func newServer(t *testing.T) *server {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{path: t.TempDir()}
	if s.key, err = ssh.NewSignerFromKey(private); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.path, "id"), "#!/bin/sh\necho 0\n") // as root, without sudo
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		if s.refuses {
			return nil, fmt.Errorf("no")
		}
		return nil, nil
	}}
	config.AddHostKey(s.key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s.port = l.Addr().(*net.TCPAddr).Port
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c, config)
		}
	}()
	return s
}

func (s *server) hostKey() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.key.PublicKey())))
}

func (s *server) serve(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		if ch.ChannelType() != "session" {
			ch.Reject(ssh.Prohibited, "commands only")
			continue
		}
		channel, asked, err := ch.Accept()
		if err != nil {
			return
		}
		go func() {
			defer channel.Close()
			for r := range asked {
				var command struct{ Line string }
				if r.Type != "exec" || ssh.Unmarshal(r.Payload, &command) != nil {
					r.Reply(r.Type == "env", nil)
					continue
				}
				r.Reply(true, nil)
				cmd := exec.Command("sh", "-c", command.Line)
				cmd.Env = []string{"PATH=" + s.path + ":" + os.Getenv("PATH")}
				cmd.Stdin, cmd.Stdout, cmd.Stderr = channel, channel, channel.Stderr()
				cmd.WaitDelay = time.Second
				cmd.Run()
				channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(cmd.ProcessState.ExitCode())}))
				return
			}
		}()
	}
}

// at is a bootstrap of the machine behind s, and a home with a key for it.
func at(t *testing.T, s *server) (b *Bootstrap, home string) {
	t.Helper()
	home = t.TempDir()
	key := filepath.Join(home, "identity")
	realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	spec := &fleet.Spec{Nodes: []string{"edge-1"}, HostKeys: map[string][]string{"edge-1": {s.hostKey()}}, IdentityFile: key, Connect: 20 * time.Second}
	m, err := spec.Member("edge-1")
	if err != nil {
		t.Fatal(err)
	}
	m.Target.Host, m.Target.Port, m.Target.Env = "127.0.0.1", s.port, []string{"HOME=" + home, "USER=me"}
	m.Target.Config = write(t, filepath.Join(home, "config"), "")
	b = &Bootstrap{Users: []string{"ubuntu", "root"}, Clock: time.Now, Log: fleet.Log{Logf: t.Logf}, Deploy: &fleet.Deployment{Spec: spec}, member: m}
	return b, home
}

func (s *server) dial(t *testing.T, b *Bootstrap) *sshx.Conn {
	t.Helper()
	c, _, err := b.login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// facts are the probe's, of a machine on its way, with units as
// "name=ActiveState".
func facts(t *testing.T, way string, units ...string) *node.Facts {
	t.Helper()
	systemd := "state=running\n"
	for _, u := range units {
		name, active, _ := strings.Cut(u, "=")
		systemd += fmt.Sprintf("Id=%s\nNames=%s\nLoadState=loaded\nActiveState=%s\nSubState=x\n\n", name, name, active)
	}
	text := "now=1\nuptime=1.0 1.0\nboot_id=11111111-2222-3333-4444-555555555555\nmachine_id=0123456789abcdef0123456789abcdef\nos=debian\n"
	for w := range strings.FieldsSeq(way) {
		text += "way=" + w + "\n"
	}
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	f, err := node.Parse(fmt.Appendf(nil, `{"schema":"edge-actions/probe/v1","facts":{"text":{"exit":0,"out":%q},"systemd":{"exit":0,"out":%q}},"complete":true}`,
		encode(text+"way=\nend=\n"), encode(systemd+"failed:\nend:\n")))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// said are the checks as "id=verdict".
func said(checks []verdict.Check) string {
	var out []string
	for _, c := range checks {
		text := c.ID + "=" + string(c.Verdict)
		if c.Waived != "" {
			text += " (waived)"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func contains(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in %q", w, text)
		}
	}
}

// sink is a fence that keeps nothing.
type sink struct{ t *testing.T }

func (s sink) Write(p []byte) (int, error) { s.t.Logf("| %s", p); return len(p), nil }
func (s sink) Close() error                { return nil }
