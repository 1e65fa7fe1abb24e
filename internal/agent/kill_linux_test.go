package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

// journey is what a runner of its own process is told.
type journey struct {
	Address, Key, Identity, Dir string
	Order                       order
	// Upload is after how many bytes no more is sent, 0 if all is; Deaf, after
	// how many lines nothing is read any more.
	Upload, Deaf   int
	Timeout, Grace time.Duration
}

// client is a runner, to be killed.
func client(argument string) int {
	var j journey
	if err := json.Unmarshal([]byte(argument), &j); err != nil {
		return 2
	}
	conn, err := dial(j.Address, j.Key, j.Identity)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	h := over(conn)
	run := h.Exec
	h.Exec = func(ctx context.Context, s Script) error {
		if j.Upload > 0 {
			s.Stdin = io.MultiReader(io.LimitReader(s.Stdin, int64(j.Upload)), forever{})
		}
		if j.Deaf > 0 {
			s.Stdout = &deaf{w: s.Stdout, lines: j.Deaf}
		}
		return run(ctx, s)
	}
	o := Options{Dir: j.Dir, Program: itself, Timeout: j.Timeout, Grace: j.Grace}
	_, err = Call[result](context.Background(), h, o, j.Order, nil)
	fmt.Println("ended:", err)
	return 0
}

// forever is a stdin of which nothing more comes.
type forever struct{}

func (forever) Read([]byte) (int, error) { select {} }

// deaf hears so many lines and blocks then.
type deaf struct {
	w     io.Writer
	lines int
}

func (d *deaf) Write(p []byte) (int, error) {
	if d.lines <= 0 {
		select {}
	}
	d.lines -= strings.Count(string(p), "\n")
	return d.w.Write(p)
}

// A runner that gets a SIGKILL with its whole process group, at one moment and
// another: what the handler deferred has run, and nothing is left.
func TestKilledRunner(t *testing.T) {
	t.Parallel()
	info, err := os.Stat("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	size := int(info.Size())
	for name, test := range map[string]struct {
		do     string
		change func(*journey)
		// reached is the moment.
		reached func(dir, base string) bool
		cleaned bool
	}{
		"before the program": {"wait", func(j *journey) { j.Upload = 1 }, func(dir, _ string) bool { return program(dir) >= 0 }, false},
		"in the header":      {"wait", func(j *journey) { j.Upload = 0; j.Upload = header / 2 }, func(dir, _ string) bool { return program(dir) >= 0 }, false},
		"during the upload":  {"wait", func(j *journey) { j.Upload = size / 2 }, func(dir, _ string) bool { return program(dir) > size/4 }, false},
		"right after it":     {"wait", func(j *journey) { j.Upload = header + size }, func(dir, _ string) bool { return agents(dir) }, false},
		"in the handler":     {"wait", func(j *journey) {}, func(_, base string) bool { return exists(base + ".started") }, true},
		"while it answers":   {"big", func(j *journey) { j.Deaf, j.Order.N = 2, maxLine-4096 }, func(_, base string) bool { return exists(base + ".answering") }, false},
		"with a stuck one":   {"stuck", func(j *journey) { j.Grace = time.Second }, func(_, base string) bool { return exists(base + ".started") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			dir, base := t.TempDir(), filepath.Join(t.TempDir(), "x")
			j := journey{Address: h.address, Key: h.key, Identity: h.identity, Dir: dir, Order: order{Do: test.do, Base: base}, Timeout: generous, Grace: 20 * time.Second}
			test.change(&j)
			cmd := exec.Command("/proc/self/exe", "client", marshal(j))
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out := &lockedBuffer{}
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the moment", func() bool { return test.reached(dir, base) || out.String() != "" })
			if out.String() != "" {
				t.Fatalf("it ended by itself: %s", out)
			}
			start := time.Now()
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			gone(t, dir, dir, base, h.word)
			t.Logf("gone after %s", time.Since(start).Round(10*time.Millisecond))
			if exists(base+".cleaned") != test.cleaned {
				t.Errorf("the handler's deferred work was done: %v, want %v", !test.cleaned, test.cleaned)
			}
		})
	}
}

// program is how much of the program is in dir, -1 if there is no file for it.
func program(dir string) int {
	found, _ := filepath.Glob(filepath.Join(dir, ".edge-agent-*", "program"))
	if len(found) != 1 {
		return -1
	}
	info, err := os.Stat(found[0])
	if err != nil {
		return -1
	}
	return int(info.Size())
}

// agents reports whether the agent of dir runs: the program, and not only what
// is above it.
func agents(dir string) bool {
	for _, p := range processes(dir) {
		pid, _, _ := strings.Cut(p, " ")
		exe, _ := os.Readlink("/proc/" + pid + "/exe")
		if strings.HasPrefix(exe, dir+"/") {
			return true
		}
	}
	return false
}

// pidOf is the process id of the agent of dir.
func pidOf(t *testing.T, dir string) int {
	t.Helper()
	for _, p := range processes(dir) {
		word, _, _ := strings.Cut(p, " ")
		if exe, _ := os.Readlink("/proc/" + word + "/exe"); strings.HasPrefix(exe, dir+"/") {
			pid, _ := strconv.Atoi(word)
			return pid
		}
	}
	t.Fatal("no agent")
	return 0
}

// A deadline, over a connection that works.
func TestTimeout(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	conn := h.dial(h.address)
	dir, base := t.TempDir(), filepath.Join(t.TempDir(), "x")
	o := options(dir)
	o.Timeout = 4 * time.Second
	_, err := Call[result](t.Context(), over(conn), o, order{Do: "wait", Base: base}, nil)
	if verdict.Reason(err) != Timeout || !exists(base+".cleaned") {
		t.Errorf("%v, cleaned %v", err, exists(base+".cleaned"))
	}
	gone(t, dir, dir, base)
	o.Grace = time.Second
	_, err = Call[result](t.Context(), over(conn), o, order{Do: "stuck", Base: base}, nil)
	refused(t, err, Timeout, "within 4s")
	gone(t, dir, dir, base)
	o.Program = func(ctx context.Context, _, _ string) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}
	_, err = Call[result](t.Context(), over(conn), o, order{}, nil)
	refused(t, err, Timeout)
	gone(t, dir, dir, base, h.word)
}

// A connection that hangs, so that the host hears nothing of anybody's end.
func TestAHangingConnection(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do      string
		cleaned bool
		stop    bool // the agent, for good
	}{
		"it cleans up":        {"wait", true, false},
		"it is stuck":         {"stuck", false, false},
		"it can't do a thing": {"wait", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			p := newProxy(t, h.address)
			conn := h.dial(p.address)
			dir, base := t.TempDir(), filepath.Join(t.TempDir(), "x")
			o := options(dir)
			o.Timeout, o.Grace = 6*time.Second, 2*time.Second
			ended := make(chan error, 1)
			go func() {
				_, err := Call[result](t.Context(), over(conn), o, order{Do: test.do, Base: base}, nil)
				ended <- err
			}()
			eventually(t, "the handler", func() bool { return exists(base + ".started") })
			p.stall()
			if test.stop {
				syscall.Kill(pidOf(t, dir), syscall.SIGSTOP)
			}
			gone(t, dir, dir, base)
			if exists(base+".cleaned") != test.cleaned {
				t.Errorf("cleaned: %v", !test.cleaned)
			}
			refused(t, <-ended, Timeout)
		})
	}
}

// A host that tells the script to end, as at its shutdown.
func TestASignal(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	conn := h.dial(h.address)
	dir, base := t.TempDir(), filepath.Join(t.TempDir(), "x")
	go func() {
		eventually(t, "the handler", func() bool { return exists(base + ".started") })
		for _, p := range processes(h.word) { // sshd has it not, its shells do
			word, _, _ := strings.Cut(p, " ")
			pid, _ := strconv.Atoi(word)
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}()
	_, err := Call[result](t.Context(), over(conn), options(dir), order{Do: "wait", Base: base}, nil)
	refused(t, err, "run", "the host told the agent to end")
	if !exists(base + ".cleaned") {
		t.Error("it did not clean up")
	}
	gone(t, dir, dir, base, h.word)
}

// proxy stands between us and an sshd, until it stalls.
type proxy struct {
	address string
	once    sync.Once
	stalls  chan struct{}
	mu      sync.Mutex
	conns   []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: l.Addr().String(), stalls: make(chan struct{})}
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.conns {
			c.Close()
		}
	})
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
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			go p.copy(in, out)
			go p.copy(out, in)
		}
	}()
	return p
}

func (p *proxy) stall() { p.once.Do(func() { close(p.stalls) }) }

func (p *proxy) copy(to, from net.Conn) {
	r := bufio.NewReader(from)
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
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
