package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/sshdtest"
	"edge-actions/internal/verdict"
)

// The test binary is the program that is sent, and the runner that is killed.
func TestMain(m *testing.M) {
	if Called(os.Args) {
		os.Exit(Serve(obey))
	}
	if len(os.Args) == 3 && os.Args[1] == "client" {
		os.Exit(client(os.Args[2]))
	}
	os.Exit(m.Run())
}

// generous is a deadline that a passing test does not come near.
const generous = 2 * time.Minute

// host is a real sshd of the current user's. Each of its sessions can be told by
// a word in its environment, and has things in it that are nobody's business.
type host struct {
	t             testing.TB
	address, word string
	identity, key string
}

func newHost(t testing.TB) *host {
	t.Helper()
	word := "word-of-" + filepath.Base(filepath.Dir(t.TempDir()))
	s := sshdtest.Start(t, "SetEnv WORD="+word+" RESTIC_PASSWORD=hunter2")
	return &host{t: t, address: s.Address, word: word, identity: s.Identity, key: s.HostKey}
}

// dial connects through an address: the host's, or that of a proxy.
func (h *host) dial(address string) *sshx.Conn {
	h.t.Helper()
	conn, err := dial(address, h.key, h.identity)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(conn.Close)
	return conn
}

func dial(address, key, identity string) (*sshx.Conn, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	host, service, _ := net.SplitHostPort(address)
	var port int
	fmt.Sscan(service, &port)
	return sshx.Dial(context.Background(), sshx.Target{
		Host: host, Port: port, HostKeys: []string{key}, IdentityFiles: []string{identity}, Config: "none", Env: []string{"HOME=" + filepath.Dir(identity), "USER=" + me.Username},
	}, sshx.Options{DialTimeout: generous})
}

// over is how an agent goes over a connection.
func over(conn *sshx.Conn) Host {
	return Host{Name: conn.Host(), Exec: func(ctx context.Context, s Script) error {
		return conn.Run(ctx, sshx.Cmd{Name: s.Name, Script: s.Text, Args: s.Args, Root: s.Root, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Timeout: s.Timeout})
	}}
}

// here is this machine, without a connection: its script is run by a shell, and
// may be changed for it.
func here(shell string, change func(string) string) Host {
	return Host{Name: "here", Exec: func(ctx context.Context, s Script) error {
		if change != nil {
			s.Text = change(s.Text)
		}
		cmd := exec.CommandContext(ctx, shell, append([]string{"-c", s.Text, "sh"}, s.Args...)...)
		cmd.Stdout, cmd.WaitDelay = s.Stdout, generous
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			io.Copy(in, s.Stdin)
			in.Close()
		}()
		err = cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return &command.ExitError{Name: s.Name, Code: exit.ExitCode(), Stderr: stderr.String()}
		}
		return err
	}}
}

// itself is the program: this test binary.
func itself(context.Context, string, string) (string, error) { return os.Executable() }

func options(dir string) Options {
	return Options{Dir: dir, Program: itself, Timeout: generous, Grace: 20 * time.Second}
}

// ask calls an agent that is to answer.
func ask(t testing.TB, h Host, o Options, what order) result {
	t.Helper()
	r, err := Call[result](t.Context(), h, o, what, func(line string) { t.Logf("agent: %s", line) })
	if err != nil {
		t.Fatalf("%+v: %v", what, err)
	}
	return r
}

// root is whether tests may become somebody else. CI is.
func root() bool { return os.Getuid() == 0 }

// refused fails the test unless err is the refusal id, with all of the words.
func refused(t testing.TB, err error, id string, words ...string) {
	t.Helper()
	if verdict.Reason(err) != id || len(verdict.ChecksOf(err)) != 1 || verdict.Of(verdict.ChecksOf(err)) != verdict.Unproven {
		t.Errorf("wanted %s, found %v", id, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("wanted %q in %v", word, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("foreign text that is not quoted: %q", err.Error())
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// turned changes one byte on the way.
type turned struct {
	r  io.Reader
	at int
}

func (t *turned) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if t.at >= 0 && t.at < n {
		p[t.at] ^= 1
	}
	t.at -= n
	return n, err
}

// patiently runs what has a deadline until it came as far as it is about,
// however slow the machine is.
func patiently(t testing.TB, run func(timeout time.Duration) (reached bool)) {
	t.Helper()
	for timeout := 4 * time.Second; timeout < generous; timeout *= 3 {
		if run(timeout) {
			return
		}
	}
	t.Fatal("it never came so far")
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
