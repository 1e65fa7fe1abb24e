package sshx

import (
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/sshdtest"
)

// generous is a deadline that a passing test does not come near.
const generous = 60 * time.Second

func quick() Options { return Options{DialTimeout: generous, Pause: 20 * time.Millisecond} }

// home is a user with a key, and with nothing of the machine's.
type home struct{ dir, key string }

func newHome(t *testing.T) home {
	t.Helper()
	h := home{dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(h.dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.key = newKey(t, h.dir, "identity", "")
	return h
}

func (h home) env(set ...string) []string {
	return append([]string{"HOME=" + h.dir, "USER=" + me()}, set...)
}

// target is the host at a port, logged in with the user's key.
func (h home) target(port int, hostKeys ...string) Target {
	return Target{Host: "127.0.0.1", Port: port, HostKeys: hostKeys, IdentityFiles: []string{h.key}, Env: h.env()}
}

func me() string {
	u, err := user.Current()
	if err != nil {
		panic(err)
	}
	return u.Username
}

func newKey(t testing.TB, dir, name, passphrase string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", path)
	return path
}

func public(t testing.TB, key string) string { return strings.TrimSpace(read(t, key+".pub")) }

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type server = sshdtest.Server

// newServer prepares an sshd that lets in the owner of the given private keys.
func newServer(t testing.TB, keys []string, lines ...string) *server {
	t.Helper()
	s := sshdtest.New(t, lines...)
	var authorized []string
	for _, key := range keys {
		authorized = append(authorized, public(t, key))
	}
	write(t, s.Authorized, strings.Join(authorized, "\n")+"\n")
	return s
}

func startServer(t testing.TB, keys []string, lines ...string) *server {
	t.Helper()
	s := newServer(t, keys, lines...)
	s.Start()
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// proxy stands between us and an sshd: it counts connections, cuts them, or
// lets them hang.
type proxy struct {
	port   int
	mu     sync.Mutex
	conns  []net.Conn
	total  int
	stalls chan struct{} // closed to stall
}

func newProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l := listen(t)
	p := &proxy{port: l.Addr().(*net.TCPAddr).Port, stalls: make(chan struct{})}
	t.Cleanup(p.cut)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns, p.total = append(p.conns, in, out), p.total+1
			p.mu.Unlock()
			go p.copy(in, out)
			go p.copy(out, in)
		}
	}()
	return p
}

func (p *proxy) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-p.stalls:
			return // both ends stay open
		default:
		}
		if n > 0 {
			to.Write(buf[:n])
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

func (p *proxy) stall() { close(p.stalls) }

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}
