// Package tailnetlab makes a real tailnet on this machine: Tailscale's own
// control, DERP and STUN servers for tests in this process, and tailscaled
// daemons in userspace mode, without root. It needs tailscale and tailscaled
// on PATH (scripts/tools/install tailscale).
//
// Nothing of it speaks to anybody else: the daemons know no other servers than
// these, and one that asks for another over HTTP fails the test. Nothing of it
// outlives the test either: a daemon ends when the test process does, however
// that ends.
package tailnetlab

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/tailnet"
	"edge-actions/internal/testing/realtools"

	"tailscale.com/tstest/integration"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/logger"
)

// Suffix is the MagicDNS suffix of the tailnet.
const Suffix = "lab.example"

// Tailnet is the servers that all its nodes share.
type Tailnet struct {
	t testing.TB
	// Control decides what the nodes are told. It calls every node online,
	// whatever becomes of it, as long as nobody changes that.
	Control *testcontrol.Server
	url     string
	strays  string // URL of a proxy that leads nowhere and fails the test
	logs    string // URL where the daemons' logs go
}

// New starts the servers. They end with the test.
func New(t testing.TB) *Tailnet {
	t.Helper()
	quiet := logger.Discard
	n := &Tailnet{t: t, Control: &testcontrol.Server{
		Logf:           quiet,
		DERPMap:        integration.RunDERPAndSTUN(t, quiet, "127.0.0.1"),
		MagicDNSDomain: Suffix,
		AllOnline:      true,
	}}
	n.Control.HTTPTestServer = n.serve(n.Control)
	n.url = n.Control.HTTPTestServer.URL
	n.logs = n.serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).URL
	n.strays = n.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a daemon asked for %s %q", r.Method, r.Host)
		http.Error(w, "nothing leads out of here", http.StatusForbidden)
	})).URL
	return n
}

func (n *Tailnet) serve(h http.Handler) *httptest.Server {
	s := httptest.NewServer(h)
	n.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// Node is a tailscaled with the command line that speaks to it.
type Node struct {
	*tailnet.CLI
	Name string // its host name, and the first label of its DNS name

	t      testing.TB
	net    *Tailnet
	dir    string
	daemon *exec.Cmd
	ended  chan struct{} // closed when the daemon has been waited for
	once   sync.Once
}

// Start starts the daemon of a node, which is not logged in yet.
func (n *Tailnet) Start(name string) *Node {
	n.t.Helper()
	// Short: a socket's path has about a hundred bytes.
	dir, err := os.MkdirTemp("", "tailnet-")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { os.RemoveAll(dir) })
	node := &Node{Name: name, t: n.t, net: n, dir: dir, ended: make(chan struct{}), CLI: &tailnet.CLI{
		Path:    realtools.Path(n.t, "tailscale"),
		Socket:  filepath.Join(dir, "sock"),
		Env:     tailnet.Environ(os.Environ()),
		Timeout: time.Minute,
	}}
	node.start()
	n.t.Cleanup(node.Kill)
	node.Await("tailscaled to answer", func(*tailnet.Status) bool { return true })
	return node
}

func (x *Node) start() {
	x.t.Helper()
	log, err := os.Create(filepath.Join(x.dir, "log"))
	if err != nil {
		x.t.Fatal(err)
	}
	defer log.Close()
	alive, ours, err := os.Pipe()
	if err != nil {
		x.t.Fatal(err)
	}
	defer alive.Close()
	d := exec.Command(realtools.Path(x.t, "tailscaled"), "--statedir="+x.dir, "--socket="+x.Socket,
		"--tun=userspace-networking", "--socks5-server=127.0.0.1:0", "--port=0")
	d.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + x.dir, "TMPDIR=" + x.dir, "TS_LOGS_DIR=" + x.dir,
		"TS_PANIC_IF_HIT_MAIN_CONTROL=1",
		"TS_LOG_TARGET=" + x.net.logs,
		"TS_ASSUME_NETWORK_UP_FOR_TEST=1", // a machine without a network has one: loopback
		"TS_DISABLE_PORTMAPPER=1",
		"TS_DEBUG_OMIT_LOCAL_ADDRS=1", // a peer is offered loopback only, which STUN sees
		"TS_NETCHECK_GENERATE_204_URL=" + x.net.url + "/generate_204",
		"HTTP_PROXY=" + x.net.strays, "HTTPS_PROXY=" + x.net.strays, // not for loopback
		"TS_PARENT_DEATH_FD=3", // it ends when the other end of the pipe is closed
	}
	d.ExtraFiles = []*os.File{alive}
	// On stdout it says nothing; but go test waits for whoever still holds it.
	d.Stdout, d.Stderr = os.Stdout, log //nolint:forbidigo // nothing is printed; who holds it shows
	if err := d.Start(); err != nil {
		ours.Close()
		x.t.Fatal(err)
	}
	x.daemon = d
	go func() {
		defer close(x.ended)
		_ = d.Wait()
		ours.Close()
	}()
}

// Up logs the node in and waits until it runs.
func (x *Node) Up(args ...string) {
	x.t.Helper()
	x.Run(append([]string{"up", "--login-server=" + x.net.url, "--hostname=" + x.Name, "--accept-dns=false"}, args...)...)
	x.Await("the node to run", func(s *tailnet.Status) bool { return s.BackendState == "Running" && s.Self.Online })
}

// Join starts a node, logs it in and waits until it runs.
func (n *Tailnet) Join(name string) *Node {
	n.t.Helper()
	node := n.Start(name)
	node.Up()
	return node
}

// Command is a command of the node's command line, to be started by the caller.
func (x *Node) Command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(x.t.Context(), x.Path, append([]string{"--socket=" + x.Socket}, args...)...)
	cmd.Env = x.Env
	return cmd
}

// Run runs a command of the node's command line and returns what it says.
func (x *Node) Run(args ...string) string {
	x.t.Helper()
	out, err := x.Command(args...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("%s: tailscale %q: %v\n%s", x.Name, args, err, out)
	}
	return string(out)
}

// Kill ends the daemon as a power cut would. To kill it twice does no harm.
func (x *Node) Kill() {
	x.once.Do(func() {
		_ = x.daemon.Process.Signal(syscall.SIGKILL)
		<-x.ended
	})
}

// IP is the node's address in the tailnet.
func (x *Node) IP() netip.Addr {
	x.t.Helper()
	s, err := x.Status(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	if len(s.Self.TailscaleIPs) == 0 {
		x.t.Fatalf("%s has no address", x.Name)
	}
	return s.Self.TailscaleIPs[0]
}

// Await waits until the node's status is as wanted, and returns it.
func (x *Node) Await(what string, is func(*tailnet.Status) bool) *tailnet.Status {
	x.t.Helper()
	ctx, cancel := context.WithTimeoutCause(x.t.Context(), time.Minute, fmt.Errorf("waited a minute for %s", what))
	defer cancel()
	for {
		s, err := x.Status(ctx)
		if err == nil && is(s) {
			return s
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-x.ended:
			x.fatal("tailscaled ended while waiting for " + what)
		case <-ctx.Done():
			x.fatal(fmt.Sprintf("%v; at last: %+v, %v", context.Cause(ctx), s, err))
		}
	}
}

func (x *Node) fatal(what string) {
	x.t.Helper()
	log, _ := os.ReadFile(filepath.Join(x.dir, "log"))
	x.t.Fatalf("%s: %s\n%s", x.Name, what, log[max(0, len(log)-8<<10):])
}
