// Package sshdtest runs a real sshd of the current user's on loopback. It lets
// that user in with one key; root as well, where the tests are root's. What a
// host on the other end has is this machine: a host of its own is lab's.
package sshdtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
)

// generous is a deadline that a passing test does not come near.
const generous = time.Minute

// Server is an sshd.
type Server struct {
	// Address is host:port, Port its second half.
	Address string
	Port    int
	// User may log in with the private key in the file Identity. Authorized is
	// the file with the keys that do.
	User, Identity, Authorized string
	// HostKey is the server's public key, HostKeyFile the file with the private
	// one.
	HostKey, HostKeyFile string
	// Lines go before those of its configuration when it starts, and sshd
	// believes the first that it reads.
	Lines []string
	// Dir is for its files.
	Dir string
	// Log is what it says.
	Log *Log

	t   testing.TB
	cmd *exec.Cmd
}

// Start starts a new server.
func Start(t testing.TB, lines ...string) *Server {
	t.Helper()
	s := New(t, lines...)
	s.Start()
	return s
}

// New makes a server that is yet to be started.
func New(t testing.TB, lines ...string) *Server {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &Server{User: me.Username, Identity: filepath.Join(dir, "identity"), HostKeyFile: filepath.Join(dir, "host"), Lines: lines, Dir: dir, Log: &Log{}, t: t}
	s.Authorized = s.Identity + ".pub"
	for _, key := range []string{s.Identity, s.HostKeyFile} {
		realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", filepath.Base(key), "-f", key)
	}
	public, err := os.ReadFile(s.HostKeyFile + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	s.HostKey = strings.TrimSpace(string(public))
	s.Address = free(t)
	_, port, _ := net.SplitHostPort(s.Address)
	if s.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	return s
}

// Start starts a server that is new, or was stopped. It ends with the test.
func (s *Server) Start() {
	s.t.Helper()
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // as its unit does
			s.t.Fatal(err)
		}
	}
	config := filepath.Join(s.Dir, "sshd_config")
	text := strings.Join(append(slices.Clone(s.Lines),
		"ListenAddress "+s.Address, "PidFile none", "StrictModes no", "UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"LogLevel VERBOSE", "MaxStartups 100", "HostKey "+s.HostKeyFile, "AuthorizedKeysFile "+s.Authorized,
	), "\n") + "\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	// It wants to be called by its full path, which is not on everybody's PATH.
	path := "/usr/sbin/sshd"
	if _, err := os.Stat(path); err != nil {
		path = realtools.Path(s.t, "sshd")
	}
	s.cmd = exec.Command(path, "-D", "-e", "-f", config)
	s.cmd.Stderr, s.cmd.WaitDelay = s.Log, time.Second // children of sshd hold its stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		s.Stop()
		if s.t.Failed() {
			s.t.Logf("sshd said:\n%s", s.Log)
		}
	})
	for end := time.Now().Add(generous); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", s.Address); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("sshd does not listen: %s", s.Log)
		}
	}
}

// Stop ends the server; the sessions that it has go on.
func (s *Server) Stop() {
	if s.cmd.ProcessState == nil {
		s.cmd.Process.Kill()
		s.cmd.Wait() //nolint:errcheck // it was killed
	}
}

// KnownHosts is the server's line of a known_hosts file, under a host's name.
func (s *Server) KnownHosts(name string) string {
	return fmt.Sprintf("[%s]:%d %s\n", name, s.Port, s.HostKey)
}

func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Log can be read while it grows.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write adds to the log.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
