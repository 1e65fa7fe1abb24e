package restic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// silent is a server that takes connections and says nothing.
func silent(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
		}
	}()
	t.Cleanup(func() { l.Close() })
	return l
}

// recording is a program that writes down its process id and becomes restic.
func recording(t testing.TB, dir, name string, more ...string) (path, pid string) {
	t.Helper()
	path, pid = filepath.Join(dir, name), filepath.Join(dir, name+".pid")
	text := fmt.Sprintf("#!/bin/sh\n%s\nif [ \"$1\" != version ]; then echo $$ >'%s'; fi\nexec '%s' \"$@\"\n", strings.Join(more, "\n"), pid, realtools.Path(t, "restic"))
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, pid
}

// gone waits until the process that was written down is no more.
func gone(t testing.TB, file string) {
	t.Helper()
	for end := time.Now().Add(generous); ; time.Sleep(5 * time.Millisecond) {
		if text, err := os.ReadFile(file); err == nil {
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatal("restic is still there")
		}
	}
}

func TestServerThatSaysNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	path, pid := recording(t, p.dir, "restic")
	c := newClient(t, Local{Path: path, Env: Environ(p.env)}, Repository{URL: "rest:http://user:hunter2@" + silent(t).Addr().String() + "/", PasswordFile: p.password}, Options{Timeout: generous})
	if _, err := c.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.WithTimeout(3 * time.Second).Snapshots(t.Context())
	// It was told to end, and did so by itself.
	refused(t, err, Timeout, "no end after 3s", "received, cleaning up")
	if strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	gone(t, pid)

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = c.Config(ctx)
	refused(t, err, Timeout)

	why := errors.New("the runner said so")
	ctx, stop := context.WithCancelCause(t.Context())
	os.Remove(pid)
	go func() {
		running(pid)
		stop(why)
	}()
	// Nobody found anything out, so it is no verdict of restic's.
	if _, err := c.Config(ctx); !errors.Is(err, why) || verdict.Reason(err) != "run" {
		t.Errorf("%v", err)
	}
	gone(t, pid)
}

// restic tries again for a quarter of an hour; what it said tells why.
func TestServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	l := silent(t)
	l.Close()
	c := newClient(t, Local{Env: Environ(p.env)}, Repository{URL: "rest:http://" + l.Addr().String() + "/", PasswordFile: p.password}, Options{Timeout: 5 * time.Second})
	_, err := c.Snapshots(t.Context())
	refused(t, err, Unreachable, "connection refused")
}

func TestResticThatDoesNotEnd(t *testing.T) {
	c := double(t, "0.18.1", `trap '' INT TERM; while :; do sleep 0.05; done`)
	if _, err := c.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.options.Grace = 200 * time.Millisecond
	_, err := c.WithTimeout(200 * time.Millisecond).Snapshots(t.Context())
	refused(t, err, Timeout)
	// An exit code of 0 after the deadline is no success.
	c = double(t, "0.18.1", `trap 'echo "{\"version\":2,\"id\":\"`+anywhere+`\"}"; exit 0' INT TERM; while :; do sleep 0.05; done`)
	if _, err := c.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = c.WithTimeout(200 * time.Millisecond).Config(t.Context())
	refused(t, err, Timeout)
}

// running waits until the process is written down.
func running(pid string) {
	for end := time.Now().Add(generous); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(pid); err == nil && len(b) > 0 {
			return
		}
	}
}
