// Package sshx reaches a host over SSH: one connection, many sessions. The
// host's key is known before the first packet (pinned, or in a known_hosts
// file) and nothing switches that off; ssh_config and the agent are honoured
// for everything else. It refuses to learn a key from the host itself, to
// build a command line out of values, and to wait without a deadline.
package sshx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// The ids of the refusals of this package.
const (
	// HostKeyChanged: the host answered, with another key than the known one,
	// with a revoked key, or with a certificate that does not hold.
	HostKeyChanged = "host-key-changed"
	// HostKeyUnknown: no key is known for the host, so nobody was called.
	HostKeyUnknown = "host-key-unknown"
	// AuthRefused: the host is the right one and does not let us in.
	AuthRefused = "auth-refused"
	// Unreachable: no connection, or no SSH on it.
	Unreachable = "unreachable"
	// Timeout: something was there and did not finish before the deadline.
	Timeout = "ssh-timeout"
	// ConnectionLost: an open connection broke, so how the script ended on the
	// host is not known.
	ConnectionLost = "connection-lost"
	// SudoRefused: the login user may not become root without being asked.
	SudoRefused = "sudo-refused"
	// Config: ssh_config, a known_hosts file, a pinned key or an identity file
	// could not be used.
	Config = "ssh-config"
)

// Options are the deadlines and bounds of a connection.
type Options struct {
	// DialTimeout is for everything until the login, with all jumps. It must
	// be set.
	DialTimeout time.Duration
	// KeepAlive is how often the host is asked for a sign of life: 15 s if
	// zero. After Missed of these times without one (3 if zero) the connection
	// is closed.
	KeepAlive time.Duration
	Missed    int
	// Sessions is how many scripts run at once, 8 if zero: sshd's MaxSessions
	// is 10, and one more is an error there. Others wait for their turn.
	Sessions int
	// Pause is the time between two attempts of Wait, 1 s if zero.
	Pause time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if o.DialTimeout <= 0 {
		return o, errors.New("connecting over ssh: a dial timeout is required")
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = 15 * time.Second
	}
	if o.Missed <= 0 {
		o.Missed = 3
	}
	if o.Sessions <= 0 {
		o.Sessions = 8
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	return o, nil
}

// Conn is an open connection. Its methods may be called concurrently.
type Conn struct {
	host    string
	hostKey ssh.PublicKey
	login   ssh.PublicKey
	clients []*ssh.Client // the jumps in their order, the host last
	slots   chan struct{}
	once    sync.Once
	done    chan struct{} // closed when the connection is
	cause   error         // why, once done is closed
}

// Dial connects and logs in, through the jumps if there are any. What fails is
// a *verdict.Refusal with one of the ids above, or says that ctx ended.
func Dial(ctx context.Context, t Target, o Options) (*Conn, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	hops, err := Resolve(t)
	if err != nil {
		return nil, err
	}
	return dial(ctx, hops, o)
}

func dial(ctx context.Context, hops []Hop, o Options) (*Conn, error) {
	limited, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	c := &Conn{slots: make(chan struct{}, o.Sessions), done: make(chan struct{})}
	through := (&net.Dialer{}).DialContext
	for _, hop := range hops {
		client, keys, err := hop.connect(limited, through)
		if err != nil {
			c.fail(errClosed)
			if ctx.Err() != nil {
				return nil, fmt.Errorf("connecting to %s: %w", hop, context.Cause(ctx))
			}
			return nil, err
		}
		c.host, c.hostKey, c.login = hop.String(), keys.host, keys.login
		c.clients, through = append(c.clients, client), client.DialContext
	}
	last := c.clients[len(c.clients)-1]
	go func() {
		err := last.Wait()
		if err == nil {
			err = errors.New("the other side closed it")
		}
		c.fail(err)
	}()
	go c.keepAlive(last, o)
	return c, nil
}

// Host names the host, for people.
func (c *Conn) Host() string { return c.host }

// HostKey is the key that the host showed and that was the known one; of a
// certificate the key that it certifies.
func (c *Conn) HostKey() ssh.PublicKey {
	if cert, ok := c.hostKey.(*ssh.Certificate); ok {
		return cert.Key
	}
	return c.hostKey
}

// LoginKey is the public key that the host let in, or nil if it asked for none
// (Tailscale SSH).
func (c *Conn) LoginKey() ssh.PublicKey { return c.login }

// RemoteAddr is where the first packet of the way goes: the host itself, or
// the first jump.
func (c *Conn) RemoteAddr() net.Addr { return c.clients[0].RemoteAddr() }

// Dial opens a connection from the host to an address, as a jump does.
func (c *Conn) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.clients[len(c.clients)-1].DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connecting from %s to %s: %w", c.host, address, foreign(err))
	}
	return conn, nil
}

// Done is closed when the connection is closed, by whomever.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Alive reports whether the connection is open, as far as that is known here.
func (c *Conn) Alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// Close ends the connection and the sessions on it.
func (c *Conn) Close() { c.fail(errClosed) }

var errClosed = errors.New("we closed it")

func (c *Conn) fail(cause error) {
	c.once.Do(func() {
		c.cause = cause
		close(c.done)
		// From the outside in: a goodbye through a jump that hangs would hang.
		for _, client := range c.clients {
			client.Close()
		}
	})
}

// lost says why the connection is closed. Call it once done is closed.
func (c *Conn) lost() error {
	return verdict.CannotTell(ConnectionLost, fmt.Sprintf("a connection to %s that lasts", c.host), foreign(c.cause), "how the script ended there is not known: look at the host before it is run again")
}

// keepAlive asks for a sign of life. sshd does not know the request, and the
// refusal is the sign. TCP alone would take a quarter of an hour to notice.
func (c *Conn) keepAlive(client *ssh.Client, o Options) {
	tick := time.NewTicker(o.KeepAlive)
	defer tick.Stop()
	missed, answer := 0, make(chan error, 1)
	var asked bool
	for {
		select {
		case <-c.done:
			return
		case err := <-answer:
			if err != nil {
				return // client.Wait knows why
			}
			asked, missed = false, 0
		case <-tick.C:
			if asked {
				missed++
			}
			if missed >= o.Missed {
				c.fail(fmt.Errorf("no sign of life for %s", time.Duration(missed)*o.KeepAlive))
				return
			}
			if !asked { // requests are answered in order: one is enough
				asked = true
				go func() {
					_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
					answer <- err
				}()
			}
		}
	}
}

// keys are the two that a login was made with.
type keys struct{ host, login ssh.PublicKey }

// connect makes the connection to one hop and logs in.
func (h Hop) connect(ctx context.Context, through func(context.Context, string, string) (net.Conn, error)) (_ *ssh.Client, used keys, _ error) {
	if err := h.trust.known(h); err != nil {
		return nil, used, err
	}
	id, err := h.identities(ctx)
	if err != nil {
		return nil, used, err
	}
	defer id.close()
	raw, err := through(ctx, "tcp", h.address())
	if err != nil {
		// The dialer's own timer may fire a moment before the context's.
		if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			return nil, used, h.late("there was no answer to the connection")
		}
		return nil, used, h.unreachable(err)
	}
	// A deadline on the connection would do, but a connection through a jump
	// has none.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	conn := &counted{Conn: raw}
	var refused error
	trusted := false
	sshConn, channels, requests, err := ssh.NewClientConn(conn, h.address(), &ssh.ClientConfig{
		User: h.user,
		Auth: id.methods(),
		HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			refused = h.trust.check(h, remote, key)
			trusted, used.host = refused == nil, key
			return refused
		},
		HostKeyAlgorithms: h.trust.algorithms(),
	})
	inTime := stop()
	if err == nil && inTime {
		used.login = id.used
		return ssh.NewClient(sshConn, channels, requests), used, nil
	}
	raw.Close()
	negotiation := (*ssh.AlgorithmNegotiationError)(nil)
	switch {
	case refused != nil:
		return nil, used, refused
	case errors.As(err, &negotiation) && negotiation.What == "host key":
		return nil, used, h.changed(fmt.Sprintf("a host that has only %q", negotiation.RequestedAlgorithms))
	case !inTime && conn.read.Load() == 0:
		return nil, used, h.late("it accepted the connection and said nothing")
	case !inTime && !trusted:
		return nil, used, h.late("it began to speak and did not finish the key exchange")
	case !inTime:
		return nil, used, h.late("its key was right and the login did not finish")
	case trusted && isAuthRefusal(err):
		return nil, used, verdict.Refuse(AuthRefused, fmt.Sprintf("a login on %s", h), fmt.Sprintf("a refusal (%q); %s", err.Error(), id.text()),
			fmt.Sprintf("see that the public key is in the authorized_keys of %q there, and that it is the key that is meant", h.user))
	}
	return nil, used, h.unreachable(err)
}

// isAuthRefusal tells a refused login from a connection that broke in it. The
// library has no type for either.
func isAuthRefusal(err error) bool {
	s := err.Error()
	return strings.Contains(s, "ssh: unable to authenticate") ||
		// "Too many authentication failures" (sshd, PROTOCOL_ERROR), and
		// NO_MORE_AUTH_METHODS_AVAILABLE.
		strings.Contains(s, "ssh: disconnect, reason 2:") || strings.Contains(s, "ssh: disconnect, reason 14:")
}

func (h Hop) late(what string) error {
	return verdict.CannotTell(Timeout, fmt.Sprintf("a login on %s before the deadline", h), errors.New(what), "look at the host's sshd and at what is between")
}

func (h Hop) unreachable(err error) error {
	return verdict.CannotTell(Unreachable, fmt.Sprintf("SSH on %s", h), foreign(err), "look at the address, the port, the firewall, and whether the host is up")
}

func (h Hop) address() string { return net.JoinHostPort(h.hostname, strconv.Itoa(h.port)) }

// counted knows whether the other side ever said anything.
type counted struct {
	net.Conn
	read atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// foreignError quotes an error that may carry what the other side said.
type foreignError struct{ err error }

func foreign(err error) error        { return foreignError{err} }
func (e foreignError) Error() string { return strconv.Quote(e.err.Error()) }
func (e foreignError) Unwrap() error { return e.err }
