package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"
)

// RootLoginRefused tries to log in as root, with the identity of target. It is
// proven only if the host that was meant refused a key that was offered.
func RootLoginRefused(ctx context.Context, target sshx.Target, o sshx.Options) verdict.Check {
	q := question{id: RootRefused, wanted: "a login as root to be refused"}
	target.User = "root"
	hops, err := sshx.Resolve(target)
	if err != nil {
		q.errs = append(q.errs, err)
		return q.unproven("correct the way to the host")
	}
	host := hops[len(hops)-1].String()
	conn, err := sshx.Dial(ctx, target, o)
	if err == nil {
		conn.Close()
		return q.answer(false, "a login on "+host, `set services.openssh.settings.PermitRootLogin = "no", and take the keys from root's authorized_keys`)
	}
	refusal := (*verdict.Refusal)(nil)
	if !errors.As(err, &refusal) || refusal.ID != sshx.AuthRefused {
		q.errs = append(q.errs, err)
		return q.unproven("only a refusal by the right host proves it: see that the host can be reached")
	}
	// A jump on the way refuses in the same words, and so does a host to which
	// there was no key to offer.
	if !strings.HasSuffix(refusal.Wanted, " on "+host) {
		q.ask(false, "it was not the host that refused but another on the way: "+refusal.Error())
	}
	if !strings.Contains(refusal.Got, "offered SHA256:") {
		q.ask(false, "no key was offered: "+refusal.Error())
	}
	return q.answer(true, "refused by "+host, "")
}

// leastWait lets a second SYN through if the first one was lost.
const leastWait = 3 * time.Second

// PortClosed tries to connect to an address (IP:port) from here. Only silence
// until the timeout proves that nothing gets through: a reset comes from
// behind the door, and an error is none of both. That the runner itself has a
// network has to be known from elsewhere.
func PortClosed(ctx context.Context, address string, timeout time.Duration) verdict.Check {
	q := question{id: SSHClosed, wanted: fmt.Sprintf("no answer from %s within %s", quote(address), timeout)}
	// A name may have several addresses, each with a part of the timeout.
	if _, err := netip.ParseAddrPort(address); err != nil {
		q.ask(false, "it is no IP address with a port")
		return q.unproven("give the public address, not a name")
	}
	if timeout < leastWait {
		q.ask(false, fmt.Sprintf("less than %s are too short to tell", leastWait))
		return q.unproven("wait longer")
	}
	// A dial that the job's own deadline cut short ends in the same words as
	// one that had its time, and it may do so before the job says that it ended.
	if end, ok := ctx.Deadline(); ok && time.Until(end) < timeout {
		q.ask(false, "the job has less time left than that")
		return q.unproven("give the step more time")
	}
	conn, err := (&net.Dialer{Timeout: timeout, KeepAlive: -1}).DialContext(ctx, "tcp", address)
	const hint = "close the temporary ingress, and see every security list and every network security group: one that allows it is enough"
	var late net.Error
	switch {
	case err == nil:
		conn.Close()
		return q.answer(false, "a connection", hint)
	case ctx.Err() != nil:
		q.errs = append(q.errs, context.Cause(ctx))
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return q.answer(false, "a reset: nobody listens, and the way there is open", hint)
	case errors.As(err, &late) && late.Timeout():
		return q.answer(true, "no answer", "")
	default:
		q.errs = append(q.errs, err)
	}
	return q.unproven("see that the runner has a network")
}
