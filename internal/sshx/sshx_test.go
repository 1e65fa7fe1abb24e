package sshx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

func dialed(t testing.TB, target Target) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), target, quick())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// works proves that the connection carries a session.
func works(t testing.TB, c *Conn) {
	t.Helper()
	out, err := c.Output(t.Context(), Cmd{Script: "echo here", Timeout: generous}, 100)
	if err != nil || string(out) != "here\n" {
		t.Fatalf("%v, %q", err, out)
	}
}

func refused(t testing.TB, err error, id string, words ...string) {
	t.Helper()
	if verdict.Reason(err) != id {
		t.Fatalf("%q, want %s: %v", verdict.Reason(err), id, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in: %v", word, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("foreign text is not quoted: %q", err)
	}
}

// fails dials what must not be reached.
func fails(t testing.TB, target Target, id string, words ...string) {
	t.Helper()
	c, err := Dial(t.Context(), target, quick())
	if err == nil {
		c.Close()
		t.Fatalf("connected, want %s", id)
	}
	refused(t, err, id, words...)
}

func TestHostKeys(t *testing.T) {
	h := newHome(t)
	s := startServer(t, []string{h.key})
	other := public(t, newKey(t, s.Dir, "other", ""))
	realtools.Output(t, "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", filepath.Join(s.Dir, "rsa"))
	rsa := public(t, filepath.Join(s.Dir, "rsa"))
	file := func(name, text string) string { return write(t, filepath.Join(h.dir, name), text) }
	with := func(change func(*Target)) Target {
		target := h.target(s.Port)
		change(&target)
		return target
	}

	t.Run("pinned", func(t *testing.T) { works(t, dialed(t, h.target(s.Port, s.HostKey))) })
	t.Run("one of two pinned", func(t *testing.T) { works(t, dialed(t, h.target(s.Port, other, s.HostKey))) })
	t.Run("pinned, and another in known_hosts", func(t *testing.T) {
		works(t, dialed(t, with(func(target *Target) {
			target.HostKeys = []string{s.HostKey}
			target.KnownHosts = []string{file("other", fmt.Sprintf("[127.0.0.1]:%d %s\n", s.Port, other))}
		})))
	})
	t.Run("changed", func(t *testing.T) { fails(t, h.target(s.Port, other), HostKeyChanged, "SHA256:") })
	t.Run("another type", func(t *testing.T) { fails(t, h.target(s.Port, rsa), HostKeyChanged, "ssh-rsa", "ssh-ed25519") })
	t.Run("unknown", func(t *testing.T) {
		l := listen(t)
		fails(t, h.target(l.Addr().(*net.TCPAddr).Port), HostKeyUnknown, "pin that line")
		// A connection would be waiting there.
		l.(*net.TCPListener).SetDeadline(time.Now().Add(100 * time.Millisecond))
		if conn, err := l.Accept(); err == nil {
			conn.Close()
			t.Error("an unknown host was called")
		}
	})
	t.Run("a config that trusts everybody", func(t *testing.T) {
		config := file("trusting", "Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n")
		fails(t, with(func(target *Target) { target.Config = config }), HostKeyUnknown)
	})
	t.Run("known_hosts", func(t *testing.T) {
		works(t, dialed(t, with(func(target *Target) { target.KnownHosts = []string{file("plain", s.KnownHosts("127.0.0.1"))} })))
	})
	t.Run("the user's known_hosts", func(t *testing.T) {
		path := file(".ssh/known_hosts", s.KnownHosts("127.0.0.1"))
		defer os.Remove(path)
		works(t, dialed(t, h.target(s.Port)))
	})
	t.Run("known_hosts, changed", func(t *testing.T) {
		path := file("changed", fmt.Sprintf("[127.0.0.1]:%d %s\n", s.Port, other))
		fails(t, with(func(target *Target) { target.KnownHosts = []string{path} }), HostKeyChanged)
	})
	t.Run("known_hosts, another port", func(t *testing.T) {
		path := file("port", fmt.Sprintf("[127.0.0.1]:%d %s\n", s.Port+1, s.HostKey))
		fails(t, with(func(target *Target) { target.KnownHosts = []string{path} }), HostKeyUnknown)
	})
	t.Run("known_hosts, hashed", func(t *testing.T) {
		path := file("hashed", s.KnownHosts("127.0.0.1"))
		realtools.Output(t, "ssh-keygen", "-H", "-f", path)
		if strings.Contains(read(t, path), "127.0.0.1") {
			t.Fatal("not hashed")
		}
		works(t, dialed(t, with(func(target *Target) { target.KnownHosts = []string{path} })))
	})
	t.Run("known_hosts, revoked", func(t *testing.T) {
		path := file("revoked", s.KnownHosts("127.0.0.1")+"@revoked * "+s.HostKey+"\n")
		fails(t, with(func(target *Target) { target.KnownHosts = []string{path} }), HostKeyChanged, "revoked")
	})
	t.Run("known_hosts, missing", func(t *testing.T) {
		fails(t, with(func(target *Target) { target.KnownHosts = []string{filepath.Join(h.dir, "nowhere")} }), Config, "nowhere")
	})
	t.Run("known_hosts, broken", func(t *testing.T) {
		path := file("broken", "host ssh-ed25519 \x1b[2J\n")
		fails(t, with(func(target *Target) { target.KnownHosts = []string{path} }), Config, "broken:1")
	})
	for name, line := range map[string]string{
		"empty": "", "words": "not a key\x1b", "two lines": s.HostKey + "\n" + other, "options": `command="x" ` + s.HostKey, "a comment": "# x",
	} {
		t.Run("pin: "+name, func(t *testing.T) { fails(t, h.target(s.Port, line), Config) })
	}
}

func TestTheRightKeyIsAskedFor(t *testing.T) {
	h := newHome(t)
	s := newServer(t, []string{h.key})
	ecdsa := filepath.Join(s.Dir, "ecdsa")
	realtools.Output(t, "ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", ecdsa)
	s.Lines = []string{"HostKey " + ecdsa}
	s.Start()
	// Left to itself, the library would settle for the ECDSA key.
	works(t, dialed(t, h.target(s.Port, s.HostKey)))
	works(t, dialed(t, h.target(s.Port, public(t, ecdsa))))
}

func TestCertAuthority(t *testing.T) {
	h := newHome(t)
	s := newServer(t, []string{h.key})
	authority := filepath.Join(s.Dir, "authority")
	realtools.Output(t, "ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", authority) // not the type of the host's key
	other := newKey(t, s.Dir, "other", "")
	sign := func(args ...string) {
		realtools.Output(t, "ssh-keygen", append(append([]string{"-q", "-s", authority, "-I", "node", "-h"}, args...), filepath.Join(s.Dir, "host.pub"))...)
	}
	sign("-n", "127.0.0.1")
	s.Lines = []string{"HostCertificate " + filepath.Join(s.Dir, "host-cert.pub")}
	s.Start()
	target := func(ca string) Target {
		out := h.target(s.Port)
		out.KnownHosts = []string{write(t, filepath.Join(h.dir, "ca"), "@cert-authority *.0.0.1 "+public(t, ca)+"\n")}
		return out
	}
	works(t, dialed(t, target(authority)))
	fails(t, target(other), HostKeyChanged, "a certificate by")
	restart := func() {
		s.Stop()
		s.Start()
	}
	sign("-n", "elsewhere")
	restart()
	fails(t, target(authority), HostKeyChanged, "principal")
	sign("-n", "127.0.0.1", "-V", "20200101:20200102")
	restart()
	fails(t, target(authority), HostKeyChanged, "expired")
	s.Lines = nil
	restart()
	fails(t, target(authority), HostKeyChanged, "a certificate by")
}

func TestIdentities(t *testing.T) {
	h := newHome(t)
	locked := newKey(t, h.dir, "locked", "open sesame")
	byCertificate := newKey(t, h.dir, "certified", "")
	authority := newKey(t, h.dir, "user-authority", "")
	realtools.Output(t, "ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", me(), byCertificate+".pub")
	stranger := newKey(t, h.dir, "stranger", "")
	s := startServer(t, []string{h.key, locked}, "TrustedUserCAKeys "+authority+".pub")
	with := func(identity string, passphrase string) Target {
		target := h.target(s.Port, s.HostKey)
		target.IdentityFiles = []string{identity}
		if passphrase != "" {
			target.Passphrase = func(string) ([]byte, error) { return []byte(passphrase), nil }
		}
		return target
	}
	works(t, dialed(t, with(locked, "open sesame")))
	fails(t, with(locked, "wrong"), Config, "locked")
	fails(t, with(locked, ""), Config, "passphrase")
	fails(t, with(filepath.Join(h.dir, "nowhere"), ""), Config, "nowhere")
	works(t, dialed(t, with(byCertificate, "")))
	fails(t, with(stranger, ""), AuthRefused, "offered SHA256:")
	if err := os.Chmod(stranger, 0o644); err != nil {
		t.Fatal(err)
	}
	fails(t, with(stranger, ""), Config, "chmod 600")

	t.Run("default", func(t *testing.T) {
		target := h.target(s.Port, s.HostKey)
		target.IdentityFiles = nil
		fails(t, target, AuthRefused, "there was no key to offer")
		write(t, filepath.Join(h.dir, ".ssh", "id_ed25519"), read(t, h.key))
		works(t, dialed(t, target))
	})
}

func TestTooManyKeysAreARefusal(t *testing.T) {
	h := newHome(t)
	s := startServer(t, []string{h.key}, "MaxAuthTries 2")
	target := h.target(s.Port, s.HostKey)
	target.IdentityFiles = nil
	for i := range 4 {
		target.IdentityFiles = append(target.IdentityFiles, newKey(t, h.dir, fmt.Sprintf("k%d", i), ""))
	}
	fails(t, target, AuthRefused, "Too many authentication failures")
}

func TestAgent(t *testing.T) {
	h := newHome(t)
	locked := newKey(t, h.dir, "locked", "open sesame")
	s := startServer(t, []string{locked})
	dir, err := os.MkdirTemp("", "agent") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	agent := exec.Command(realtools.Path(t, "ssh-agent"), "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Process.Kill(); agent.Wait() })
	for end := time.Now().Add(generous); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
	}
	ask := write(t, filepath.Join(h.dir, "ask"), "#!/bin/sh\necho open sesame\n")
	os.Chmod(ask, 0o700)
	add := exec.Command(realtools.Path(t, "ssh-add"), "-q", locked)
	add.Env = realtools.Environ("SSH_AUTH_SOCK="+socket, "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force", "DISPLAY=none")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	target := h.target(s.Port, s.HostKey)
	target.IdentityFiles, target.Env = nil, h.env("SSH_AUTH_SOCK="+socket)
	works(t, dialed(t, target))
	for _, chosen := range []string{locked, locked + ".pub"} { // no passphrase is asked for
		target.IdentityFiles = []string{chosen}
		works(t, dialed(t, target))
	}
	target.IdentityFiles = []string{h.key}
	fails(t, target, AuthRefused) // the agent's key was not the one that is meant
	target.IdentityFiles = nil
	for config, ok := range map[string]bool{
		"IdentityAgent none\n":                              false,
		"IdentitiesOnly yes\n":                              false,
		"IdentitiesOnly yes\nIdentityFile " + locked + "\n": true,
	} {
		target.Config = write(t, filepath.Join(h.dir, "config"), config)
		if ok {
			works(t, dialed(t, target))
		} else {
			fails(t, target, AuthRefused)
		}
	}
	target.Env, target.Config = h.env("SSH_AUTH_SOCK="+filepath.Join(dir, "nobody")), "none"
	fails(t, target, AuthRefused, "did not answer")
	target.Env, target.Config = h.env(), write(t, filepath.Join(h.dir, "config"), "IdentityAgent "+socket+"\n")
	works(t, dialed(t, target))
}

func TestProxyJump(t *testing.T) {
	h := newHome(t)
	inner, outer := startServer(t, []string{h.key}), startServer(t, []string{h.key})
	counter := newProxy(t, outer.Address)
	known := write(t, filepath.Join(h.dir, "known"), fmt.Sprintf("[127.0.0.1]:%d %s\n", counter.port, outer.HostKey)+inner.KnownHosts("127.0.0.1"))
	config := fmt.Sprintf(`
Host node
  HostName 127.0.0.1
  Port %d
  User %s
  IdentityFile ~/identity
  ProxyJump door
  UserKnownHostsFile %s
Host door
  HostName 127.0.0.1
  Port %d
  IdentityFile %%d/identity
  UserKnownHostsFile "%s"
Host loop
  ProxyJump loop
Host command
  ProxyCommand nc %%h %%p
`, inner.Port, me(), known, counter.port, known)
	write(t, filepath.Join(h.dir, ".ssh", "config"), config)
	alias := func(name string) Target { return Target{Host: name, Env: h.env()} }

	c := dialed(t, alias("node"))
	works(t, c)
	if counter.count() != 1 {
		t.Errorf("%d connections went through the jump", counter.count())
	}
	if out, err := c.Output(t.Context(), Cmd{Script: `echo "$SSH_CONNECTION"`, Timeout: generous}, 200); err != nil || !strings.HasSuffix(string(out), fmt.Sprintf(" %d\n", inner.Port)) {
		t.Errorf("%v, %q", err, out)
	}

	// The pinned key is the host's; it opens no door on the way.
	pinned := alias("node")
	pinned.HostKeys = []string{inner.HostKey}
	works(t, dialed(t, pinned))
	pinned.HostKeys = []string{outer.HostKey}
	fails(t, pinned, HostKeyChanged, "node (")
	write(t, known, inner.KnownHosts("127.0.0.1"))
	fails(t, alias("node"), HostKeyUnknown, "door (")

	given := h.target(inner.Port, inner.HostKey)
	given.Jump = []Target{{Host: "127.0.0.1", Port: outer.Port, HostKeys: []string{outer.HostKey}}}
	works(t, dialed(t, given))
	given.Jump[0].HostKeys = []string{inner.HostKey}
	fails(t, given, HostKeyChanged)

	fails(t, alias("loop"), Config, "through itself")
	fails(t, alias("command"), Config, "ProxyCommand")
	write(t, filepath.Join(h.dir, ".ssh", "config"), "Match exec \"touch ran\"\n  User x\n")
	fails(t, alias("node"), Config)
}

func TestDialThroughTheHost(t *testing.T) {
	h := newHome(t)
	s := startServer(t, []string{h.key})
	c := dialed(t, h.target(s.Port, s.HostKey))
	conn, err := c.Dial(t.Context(), "tcp", s.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	greeting := make([]byte, 8)
	if _, err := conn.Read(greeting); err != nil || string(greeting) != "SSH-2.0-" {
		t.Errorf("%v, %q", err, greeting)
	}
	if _, err := c.Dial(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", freePort(t))); err == nil {
		t.Error("nothing listens there")
	}
}

func TestWait(t *testing.T) {
	h := newHome(t)
	t.Run("ends at once on another key", func(t *testing.T) {
		s := startServer(t, []string{h.key})
		_, err := Wait(t.Context(), h.target(s.Port, public(t, h.key)), quick(), generous)
		refused(t, err, HostKeyChanged)
	})
	t.Run("ends at once on a refused login", func(t *testing.T) {
		s := startServer(t, nil)
		_, err := Wait(t.Context(), h.target(s.Port, s.HostKey), quick(), generous)
		refused(t, err, AuthRefused)
	})
	t.Run("ends at once on an unknown host", func(t *testing.T) {
		_, err := Wait(t.Context(), h.target(freePort(t)), quick(), generous)
		refused(t, err, HostKeyUnknown)
	})
	t.Run("until sshd is there", func(t *testing.T) {
		s := newServer(t, []string{h.key})
		got := make(chan error, 1)
		var c *Conn
		go func() {
			var err error
			c, err = Wait(t.Context(), h.target(s.Port, s.HostKey), quick(), generous)
			got <- err
		}()
		select {
		case err := <-got:
			t.Fatalf("before sshd was there: %v", err)
		case <-time.After(200 * time.Millisecond):
		}
		s.Start()
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		works(t, c)
	})
	t.Run("nobody listens", func(t *testing.T) {
		_, err := Wait(t.Context(), h.target(freePort(t), public(t, h.key)), quick(), 300*time.Millisecond)
		refused(t, err, Timeout, "connection refused")
	})
	t.Run("a listener that says nothing", func(t *testing.T) {
		l := listen(t)
		_, err := Wait(t.Context(), h.target(l.Addr().(*net.TCPAddr).Port, public(t, h.key)), quick(), 300*time.Millisecond)
		refused(t, err, Timeout, "said nothing")
	})
	t.Run("a listener that only greets", func(t *testing.T) {
		port := says(t, "SSH-2.0-tarpit\r\n", false)
		_, err := Wait(t.Context(), h.target(port, public(t, h.key)), quick(), 300*time.Millisecond)
		refused(t, err, Timeout, "began to speak")
	})
	t.Run("a listener that speaks something else", func(t *testing.T) {
		port := says(t, "HTTP/1.0 400 \x1b[2J::error::\r\n\r\n", true)
		_, err := Wait(t.Context(), h.target(port, public(t, h.key)), quick(), 300*time.Millisecond)
		refused(t, err, Timeout)
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("the job was cancelled")
		time.AfterFunc(100*time.Millisecond, func() { cancel(gone) })
		if _, err := Wait(ctx, h.target(freePort(t), public(t, h.key)), quick(), generous); !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	})
	t.Run("no deadline", func(t *testing.T) {
		if _, err := Wait(t.Context(), h.target(1, public(t, h.key)), quick(), 0); err == nil || !strings.Contains(err.Error(), "limit is required") {
			t.Error("waited without a limit")
		}
		if _, err := Dial(t.Context(), h.target(1, public(t, h.key)), Options{}); err == nil || !strings.Contains(err.Error(), "timeout is required") {
			t.Error("dialed without a timeout")
		}
	})
}

// says is a listener that sends a text and then waits, or hangs up.
func says(t *testing.T, text string, hangUp bool) int {
	l := listen(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte(text))
			if hangUp {
				conn.Close()
			} else {
				t.Cleanup(func() { conn.Close() })
			}
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func TestABrokenConnection(t *testing.T) {
	h := newHome(t)
	s := startServer(t, []string{h.key})
	running := func(t *testing.T, o Options) (p *proxy, pid string, ended chan error) {
		p, ended = newProxy(t, s.Address), make(chan error, 1)
		o.DialTimeout = generous
		c, err := Dial(t.Context(), h.target(p.port, s.HostKey), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		out, err := c.Output(t.Context(), Cmd{Script: "echo $PPID", Timeout: generous}, 100)
		if err != nil {
			t.Fatal(err)
		}
		started := make(chan struct{}, 1)
		go func() {
			ended <- c.Run(t.Context(), Cmd{Script: "echo started; sleep 30", Stdout: signalled(started), Timeout: generous})
		}()
		<-started
		return p, strings.TrimSpace(string(out)), ended
	}
	t.Run("cut", func(t *testing.T) {
		p, _, ended := running(t, Options{})
		p.cut()
		refused(t, <-ended, ConnectionLost)
	})
	t.Run("stalled", func(t *testing.T) {
		p, _, ended := running(t, Options{KeepAlive: 100 * time.Millisecond, Missed: 3})
		p.stall()
		refused(t, <-ended, ConnectionLost, "no sign of life for 300ms")
	})
	t.Run("the server's process is killed", func(t *testing.T) {
		_, pid, ended := running(t, Options{})
		realtools.Output(t, "kill", "-9", pid) // the sshd of this connection
		refused(t, <-ended, ConnectionLost)
	})
	t.Run("quiet, but alive", func(t *testing.T) {
		c, err := Dial(t.Context(), h.target(s.Port, s.HostKey), Options{DialTimeout: generous, KeepAlive: 100 * time.Millisecond, Missed: 20})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Run(t.Context(), Cmd{Script: "sleep 3", Timeout: generous}); err != nil {
			t.Error(err)
		}
	})
	t.Run("closed by us", func(t *testing.T) {
		c := dialed(t, h.target(s.Port, s.HostKey))
		c.Close()
		refused(t, c.Run(t.Context(), Cmd{Script: "true", Timeout: generous}), ConnectionLost)
	})
}

// signalled is a writer that tells of its first write.
type signalled chan struct{}

func (s signalled) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}
