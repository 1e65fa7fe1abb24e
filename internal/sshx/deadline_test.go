package sshx

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
)

// A dialer counts down to the context's deadline with a timer of its own, which
// may be the first of the two: it is the same deadline.
func TestDeadlineOfTheDialer(t *testing.T) {
	h := newHome(t)
	hops, err := Resolve(h.target(1, public(t, h.key)))
	if err != nil {
		t.Fatal(err)
	}
	for _, late := range []error{os.ErrDeadlineExceeded, context.DeadlineExceeded} {
		_, _, err := hops[0].connect(t.Context(), func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("connect: %w", late)}
		})
		refused(t, err, Timeout, "no answer")
	}
	_, _, err = hops[0].connect(t.Context(), func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrPermission}
	})
	refused(t, err, Unreachable)
}
