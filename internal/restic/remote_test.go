package restic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// host is a real sshd of the current user's, whose sessions have a variable
// that would hide snapshots.
type host struct {
	t                     testing.TB
	address, dir          string
	identity, hostKeyFile string
	cmd                   *exec.Cmd
	log                   *lockedBuffer
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{t: t, address: freeAddress(t), dir: t.TempDir(), log: &lockedBuffer{}}
	h.identity, h.hostKeyFile = filepath.Join(h.dir, "identity"), filepath.Join(h.dir, "host")
	for _, key := range []string{h.identity, h.hostKeyFile} {
		realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // as its unit does
			t.Fatal(err)
		}
	}
	config := write(t, filepath.Join(h.dir, "sshd_config"), strings.Join([]string{
		"ListenAddress " + h.address, "PidFile none", "StrictModes no", "UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"HostKey " + h.hostKeyFile, "AuthorizedKeysFile " + h.identity + ".pub", "Subsystem sftp internal-sftp", "SetEnv RESTIC_HOST=nobody RESTIC_PASSWORD=hunter2 STRANGER=hunter2",
	}, "\n")+"\n")
	sshd := "/usr/sbin/sshd" // not on the PATH of everybody
	if _, err := os.Stat(sshd); err != nil {
		sshd = realtools.Path(t, "sshd")
	}
	h.cmd = exec.Command(sshd, "-D", "-e", "-f", config)
	h.cmd.Stderr, h.cmd.WaitDelay = h.log, time.Second // children of sshd hold its stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.stop)
	listens(t, h.address)
	return h
}

func (h *host) stop() {
	if h.cmd.ProcessState == nil {
		h.cmd.Process.Kill()
		h.cmd.Wait()
	}
	if h.t.Failed() {
		h.t.Logf("sshd said:\n%s", h.log)
	}
}

func (h *host) port() string {
	_, port, _ := net.SplitHostPort(h.address)
	return port
}

func (h *host) hostKey() string {
	b, err := os.ReadFile(h.hostKeyFile + ".pub")
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (h *host) knownHosts() string { return fmt.Sprintf("[127.0.0.1]:%s %s\n", h.port(), h.hostKey()) }

func (h *host) dial() *sshx.Conn {
	h.t.Helper()
	me, err := user.Current()
	if err != nil {
		h.t.Fatal(err)
	}
	var port int
	fmt.Sscan(h.port(), &port)
	conn, err := sshx.Dial(context.Background(), sshx.Target{
		Host: "127.0.0.1", Port: port, HostKeys: []string{h.hostKey()}, IdentityFiles: []string{h.identity}, Config: "none", Env: []string{"HOME=" + h.dir, "USER=" + me.Username},
	}, sshx.Options{DialTimeout: generous})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(conn.Close)
	return conn
}

// over is how a Remote goes over a connection.
func over(conn *sshx.Conn, r Remote) Remote {
	r.Host = conn.Host()
	r.Exec = func(ctx context.Context, s Script) error {
		return conn.Run(ctx, sshx.Cmd{Name: s.Name, Script: s.Text, Args: s.Args, Root: s.Root, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Timeout: s.Timeout})
	}
	return r
}

// root is whether tests may become somebody else. CI is.
func root() bool { return os.Getuid() == 0 }

func TestRemote(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := newRepository(t)
	id := p.backup("data", map[string]string{"a": "abc"})
	conn := h.dial()
	for name, as := range map[string]bool{"the login": false, "root": true} {
		if as && !root() {
			continue
		}
		c := newClient(t, over(conn, Remote{Program: realtools.Path(t, "restic"), Root: as}), p.repository(), Options{Timeout: generous})
		everything(t, c, id, filepath.Join(p.dir, "out of "+name))
	}

	// A wrapper brings the repository along, as NixOS' restic-NAME does.
	wrap := func(name string, lines ...string) *Client {
		lines = append(lines, "export RESTIC_REPOSITORY='"+p.location+"' RESTIC_PASSWORD_FILE='"+p.password+"'")
		path, _ := recording(t, p.dir, name, lines...)
		return newClient(t, over(conn, Remote{Program: path}), Repository{}, Options{Timeout: generous})
	}
	c := wrap("restic-edge")
	everything(t, c, id, filepath.Join(p.dir, "out of the wrapper"))
	// What it may bring along too would hide all snapshots, with exit code 0.
	_, err := wrap("restic-other", "export RESTIC_HOST=other").Snapshots(t.Context())
	refused(t, err, Failed, "1 that restic does not show")

	refused(t, second(newClient(t, over(conn, Remote{Program: "restic-nowhere"}), Repository{}, Options{Timeout: generous}).Config(t.Context())), Missing, "restic-nowhere")
	repo := p.repository()
	repo.URL += "-not"
	refused(t, second(newClient(t, over(conn, Remote{Program: realtools.Path(t, "restic")}), repo, Options{Timeout: generous}).Config(t.Context())), NoRepository)
	for _, r := range []Remote{{Program: "restic; id"}, {Program: "../restic"}, {Program: "-x"}, {Program: "restic", User: "-x"}, {Program: "restic", User: "a b"}} {
		if _, err := newClient(t, over(conn, r), p.repository(), Options{Timeout: generous}).Config(t.Context()); err == nil || verdict.Reason(err) == Missing {
			t.Errorf("%+v: %v", r, err)
		}
	}
	conn.Close()
	_, err = c.Config(t.Context())
	refused(t, err, sshx.ConnectionLost)
}

func second(_ Config, err error) error { return err }

// What restic sees on the host, and what everybody sees of it there.
func TestWhatResticSeesOnAHost(t *testing.T) {
	conn := newHost(t).dial()
	dir := t.TempDir()
	os.Chmod(dir, 0o777)
	users := []string{""}
	if root() {
		users = append(users, "nobody")
	}
	for _, name := range users {
		log := filepath.Join(dir, "seen by "+name)
		text := "#!/bin/sh\nif [ $1 = version ]; then echo '{\"version\":\"0.18.1\"}'; exit; fi\n" +
			`{ env; id -un; ps -Aww -o args; printf 'stdin '; if [ /dev/fd/0 -ef /dev/null ]; then echo /dev/null; fi; } >'` + log + "'\necho '{\"version\":2,\"id\":\"" + anywhere + "\"}'\n"
		path := filepath.Join(dir, "restic")
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Dir(dir), 0o755)
		c := newClient(t, over(conn, Remote{Program: path, User: name}), Repository{URL: "rest:http://user:geheim@127.0.0.1:1/", PasswordFile: "/p"}, Options{Timeout: generous})
		if _, err := c.Config(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		seen := string(b)
		if strings.Contains(seen, "hunter2") || strings.Contains(seen, "RESTIC_HOST") {
			t.Errorf("restic saw what the login has:\n%s", seen)
		}
		if !strings.Contains(seen, path) || !strings.Contains(seen, "stdin /dev/null") {
			t.Errorf("it saw no processes, or a stdin:\n%s", seen)
		}
		if strings.Count(seen, "geheim") != 1 || !strings.Contains(seen, "RESTIC_REPOSITORY=rest:http://user:geheim@127.0.0.1:1/\n") {
			t.Errorf("the password is seen elsewhere, or not at all:\n%s", seen)
		}
		if name != "" && (!strings.Contains(seen, "\nnobody\n") || !strings.Contains(seen, "USER=nobody\n") || strings.Contains(seen, "HOME=/root\n")) {
			t.Errorf("it ran as somebody else:\n%s", seen)
		}
	}
}

// What a host's exit codes mean there: 137 is also how the kernel ends a
// process for want of memory.
func TestRemoteExits(t *testing.T) {
	for code, want := range map[int]string{exitTimeout: Timeout, exitKilled: Failed, exitNoProgram: Missing, exitNoRepository: NoRepository} {
		r := Remote{Host: "edge-1", Exec: func(context.Context, Script) error {
			return &command.ExitError{Name: "restic", Code: code, Stderr: "x"}
		}}
		c := newClient(t, r, Repository{URL: "/x", PasswordFile: "/p"}, Options{Timeout: generous})
		_, err := c.Version(t.Context())
		refused(t, err, want)
		c.options.Timeout = 1
		if _, err := c.Version(t.Context()); code == exitKilled {
			refused(t, err, Timeout)
		}
	}
}

// Whatever ends the waiting ends restic on the host too.
func TestRemoteThatIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p := newPlace(t)
	path, pid := recording(t, p.dir, "restic")
	repo := Repository{URL: "rest:http://" + silent(t).Addr().String() + "/", PasswordFile: p.password}
	as := Remote{Program: path, Root: root()}
	start := func() (*Client, *sshx.Conn) {
		conn := h.dial()
		c := newClient(t, over(conn, as), repo, Options{Timeout: generous})
		if _, err := c.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
		os.Remove(pid)
		return c, conn
	}
	c, _ := start()
	_, err := c.WithTimeout(3 * time.Second).Config(t.Context())
	refused(t, err, Timeout, "received, cleaning up")
	gone(t, pid)

	c, _ = start()
	why := errors.New("the runner said so")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		running(pid)
		cancel(why)
	}()
	if _, err := c.Config(ctx); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	gone(t, pid)

	c, conn := start()
	go func() {
		running(pid)
		conn.Close()
	}()
	_, err = c.Config(t.Context())
	refused(t, err, sshx.ConnectionLost)
	gone(t, pid)
}

// running waits until the process is written down.
func running(pid string) {
	for end := time.Now().Add(generous); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(pid); err == nil && len(b) > 0 {
			return
		}
	}
}
