package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestPortClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the job was cancelled"))
	short, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	silent := fmt.Sprintf("127.0.0.1:%d", full(t))
	for name, test := range map[string]struct {
		ctx     context.Context
		address string
		timeout time.Duration
		want    verdict.Verdict
		got     string
	}{
		"open":                      {t.Context(), l.Addr().String(), leastWait, verdict.Disproven, "a connection"},
		"nobody listens":            {t.Context(), fmt.Sprintf("127.0.0.1:%d", freePort(t)), leastWait, verdict.Disproven, "a reset"},
		"silent":                    {t.Context(), silent, leastWait, verdict.Proven, "no answer"},
		"no time for a second try":  {t.Context(), silent, leastWait - 1, verdict.Unproven, "too short"},
		"no timeout":                {t.Context(), silent, 0, verdict.Unproven, "too short"},
		"cancelled":                 {cancelled, silent, leastWait, verdict.Unproven, "the job was cancelled"},
		"a deadline of the job's":   {short, silent, leastWait, verdict.Unproven, "less time left"},
		"a name":                    {t.Context(), "localhost:22", leastWait, verdict.Unproven, "no IP address"},
		"no port":                   {t.Context(), "127.0.0.1", leastWait, verdict.Unproven, "no IP address"},
		"nothing":                   {t.Context(), "", leastWait, verdict.Unproven, "no IP address"},
		"an address without a way":  {t.Context(), "255.255.255.255:22", leastWait, verdict.Unproven, "connect"},
		"an address that isn't one": {t.Context(), "[::%nowhere]:22\x1b", leastWait, verdict.Unproven, "no IP address"},
	} {
		t.Run(name, func(t *testing.T) {
			c := PortClosed(test.ctx, test.address, test.timeout)
			if c.ID != SSHClosed || c.Verdict != test.want || !strings.Contains(c.Got, test.got) || strings.Contains(c.Wanted+c.Got, "\x1b") {
				t.Errorf("%+v, want %s, %q", c, test.want, test.got)
			}
		})
	}
}

// full returns a port that is silent: the queue of those who wait to be
// accepted is full, and Linux then drops what comes, as a firewall does.
func full(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*syscall.SockaddrInet4).Port
	for range 8 {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 500*time.Millisecond)
		if err != nil {
			return port
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("it accepts everything")
	return 0
}
