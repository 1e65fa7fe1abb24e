package agent

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

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
	patiently(t, func(timeout time.Duration) bool {
		o.Timeout = timeout
		_, err := Call[result](t.Context(), over(conn), o, order{Do: "wait", Base: base}, nil)
		// Both ends may say it, and it is said once. The handler's own words come
		// after it, if it did not fail for that reason itself.
		if text := fmt.Sprint(err); verdict.Reason(err) != Timeout || strings.Count(text, Timeout) != 1 || exists(base+".started") && !exists(base+".cleaned") {
			t.Errorf("%s, cleaned %v", text, exists(base+".cleaned"))
		}
		gone(t, dir, dir, base)
		return exists(base + ".started")
	})
	os.Remove(base + ".started")
	o.Grace = time.Second
	patiently(t, func(timeout time.Duration) bool {
		o.Timeout = timeout
		_, err := Call[result](t.Context(), over(conn), o, order{Do: "stuck", Base: base}, nil)
		refused(t, err, Timeout, "within "+timeout.String())
		gone(t, dir, dir, base)
		return exists(base + ".started")
	})
	o.Timeout = time.Second
	o.Program = func(ctx context.Context, _, _ string) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}
	_, err := Call[result](t.Context(), over(conn), o, order{}, nil)
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
			dir, base := t.TempDir(), filepath.Join(t.TempDir(), "x")
			patiently(t, func(timeout time.Duration) bool {
				p := newProxy(t, h.address)
				conn := h.dial(p.address)
				o := options(dir)
				o.Timeout, o.Grace = timeout, 2*time.Second
				ended := make(chan error, 1)
				go func() {
					_, err := Call[result](t.Context(), over(conn), o, order{Do: test.do, Base: base}, nil)
					ended <- err
				}()
				eventually(t, "the handler", func() bool { return exists(base+".started") || len(ended) > 0 })
				if len(ended) > 0 {
					return false
				}
				p.stall()
				if test.stop {
					syscall.Kill(pidOf(t, dir), syscall.SIGSTOP)
				}
				gone(t, dir, dir, base)
				if exists(base+".cleaned") != test.cleaned {
					t.Errorf("cleaned: %v", !test.cleaned)
				}
				refused(t, <-ended, Timeout)
				return true
			})
		})
	}
}

// The same before the program runs: the script waits for nothing without a
// deadline.
func TestAHangingUpload(t *testing.T) {
	t.Parallel()
	for name, upload := range map[string]int{"in the header": header / 2, "in the program": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			dir := t.TempDir()
			patiently(t, func(timeout time.Duration) bool {
				p := newProxy(t, h.address)
				exec := over(h.dial(p.address)).Exec
				half := Host{Name: "edge-1", Exec: func(ctx context.Context, s Script) error {
					s.Stdin = io.MultiReader(io.LimitReader(s.Stdin, int64(upload)), forever{})
					return exec(ctx, s)
				}}
				o := options(dir)
				o.Timeout, o.Grace = timeout, time.Second
				ended := make(chan error, 1)
				go func() {
					_, err := Call[result](t.Context(), half, o, order{}, nil)
					ended <- err
				}()
				eventually(t, "the program's file", func() bool { return program(dir) >= max(0, upload-header-1<<16) || len(ended) > 0 })
				if len(ended) > 0 {
					return false
				}
				p.stall()
				gone(t, dir, dir, h.word)
				refused(t, <-ended, Timeout)
				return true
			})
		})
	}
}

// The script's shell, killed during the upload: the next one sweeps.
func TestAKilledShell(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	dir := t.TempDir()
	exec := over(h.dial(h.address)).Exec
	size := 0
	half := Host{Name: "edge-1", Exec: func(ctx context.Context, s Script) error {
		s.Stdin = io.MultiReader(io.LimitReader(s.Stdin, 1<<20), forever{})
		return exec(ctx, s)
	}}
	go func() {
		eventually(t, "half the program", func() bool { size = program(dir); return size > 1<<19 })
		for _, p := range processes(h.word) {
			word, _, _ := strings.Cut(p, " ")
			pid, _ := strconv.Atoi(word)
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
	_, err := Call[result](t.Context(), half, options(dir), order{}, nil)
	refused(t, err, BadAnswer, "signal 9")
	if program(dir) < 0 {
		t.Error("there is nothing to sweep")
	}
	ask(t, Host{Name: "edge-1", Exec: exec}, options(dir), order{Do: "look"})
	gone(t, dir, dir)
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
