package tailnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
)

// Pong is the answer of a peer.
type Pong struct {
	Name string // the node's, as Peer.Name
	IP   netip.Addr
	// Via is the path: "ADDRESS:PORT" for a direct one, "DERP(CODE)" or
	// "peer-relay(…)" for a relayed one, and "itself" for the node that was
	// asked, which is not pinged.
	Via     string
	Latency time.Duration
}

// Ping proves that a peer's tailscaled answers, at any time within timeout, to
// this one. It ends with the first answer, over whatever path. It says nothing
// of what runs on the peer: a port is proven by a connection.
//
// Its refusals are NoStatus if the tailscaled here does not answer, State if
// it is not on the tailnet, NoPeer for a name that is not one node's, and
// NoReply for a peer that did not answer.
func (c *CLI) Ping(ctx context.Context, name string, timeout time.Duration) (*Pong, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	// The command line would ask the machine's DNS for a name that it does not
	// know, and ping whatever that answers.
	peer, err := s.Peer(name)
	if err != nil {
		return nil, err
	}
	wanted := fmt.Sprintf("an answer of %.100q within %s", peer.Name(), timeout)
	if len(peer.TailscaleIPs) == 0 {
		return nil, verdict.CannotTell(NoReply, wanted, errors.New("a node without an address"), "see that the node is logged in")
	}
	ip := peer.TailscaleIPs[0]
	if peer == s.Self {
		return &Pong{Name: peer.Name(), IP: ip, Via: "itself"}, nil
	}
	pong, err := c.ping(ctx, ip, timeout)
	switch {
	case pong != nil:
		pong.Name = peer.Name()
		return pong, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("pinging %.100q: %w", peer.Name(), context.Cause(ctx))
	}
	return nil, verdict.CannotTell(NoReply, wanted, err, "look at the node's console: whether it is up, and tailscaled on it; it may be shown as online all the same")
}

// ping runs one tailscale ping, which goes on until it is ended.
func (c *CLI) ping(ctx context.Context, ip netip.Addr, timeout time.Duration) (*Pong, error) {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	var pong *Pong
	out := &output{max: 64 << 10}
	out.seen = func(all []byte) {
		if pong = findPong(all, ip); pong != nil {
			enough()
		}
	}
	// Not --until-direct: a relayed answer is an answer, and to wait for a
	// direct one ends in exit code 1 on a node behind a strict firewall.
	err := command.Run(ctx, c.cmd(timeout, out, "ping", "--c=0", "--timeout=2s", "--until-direct=false", ip.String()))
	out.mu.Lock()
	defer out.mu.Unlock()
	switch {
	case pong != nil:
		return pong, nil
	case err == nil: // it ends with 0 on what it calls a local address
		return nil, fmt.Errorf("no pong: %.300q", bytes.TrimSpace(out.b))
	case command.Code(err) < 0:
		return nil, fmt.Errorf("no pong (%w)", err)
	}
	return nil, fmt.Errorf("no pong: %w", err)
}

var pongLine = regexp.MustCompile(`(?m)^pong from .* \(([0-9A-Fa-f.:]+)(?:, [0-9]+)?\) via ([][A-Za-z0-9().:_-]+) in ([0-9.a-zµ]+)$`)

// findPong looks for an answer of ip in whole lines: the last one may still be
// on its way.
func findPong(said []byte, ip netip.Addr) *Pong {
	said = said[:bytes.LastIndexByte(said, '\n')+1]
	for _, m := range pongLine.FindAllSubmatch(said, -1) {
		from, err := netip.ParseAddr(string(m[1]))
		if err != nil || from != ip {
			continue
		}
		latency, err := time.ParseDuration(string(m[3]))
		if err != nil {
			continue
		}
		return &Pong{IP: from, Via: string(m[2]), Latency: latency}
	}
	return nil
}
