// Package fleet knows which nodes are meant and how each is reached, and takes
// them through a deployment, a validation or a reboot, several at a time. It
// composes the handoff, the checks of a node and the changes of a host, which
// know nothing of each other. It refuses a node whose host key nobody knows
// and a machine that is not the one that was meant, and it stops at the first
// node that is not well.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"edge-actions/internal/handoff"
	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"
)

// Spec says which nodes are meant and how they are reached. Inputs reads it.
type Spec struct {
	// Nodes are the names, in the order in which they are taken.
	Nodes []string
	// Hosts are addresses by name. A node without one is reached by the
	// address that the hive gives it, or else by its name.
	Hosts map[string]string
	// HostKeys and MachineIDs are by name.
	HostKeys   map[string][]string
	MachineIDs map[string]string
	// InstanceIDs are the cloud's, by name; a handoff's go before them.
	InstanceIDs map[string]string
	// Handoff is nil without one.
	Handoff *handoff.Document

	User, IdentityFile, SSHConfig string
	KnownHosts                    []string
	Env                           []string // where HOME, USER and the agent's socket are looked up
	// Connect bounds a login, with all jumps.
	Connect time.Duration
	// Parallel is how many nodes are taken at once.
	Parallel int

	// Tailnet is the command line on the runner; nil if the nodes are not
	// reached through a tailnet.
	Tailnet *tailnet.CLI
	// OffTailnet says why not, as the report shows it: "tailnet: off" if empty.
	OffTailnet string
	// KeyMargin is how much longer tailnet keys must be valid.
	KeyMargin time.Duration

	// Strangers says that the handoff need not know the nodes.
	Strangers bool
}

// Member is one node, with the way to it.
type Member struct {
	Name   string
	Target sshx.Target
	// Expect says which machine it is.
	Expect node.Expect
	// Facts are the handoff's; nil without one.
	Facts *handoff.Node
	// Peer is its place in the tailnet; nil if it is not reached through one.
	Peer *tailnet.Peer

	spec *Spec
}

// Member is one of the spec's nodes, by what the inputs and the handoff say of
// it; a hive may know more.
func (s *Spec) Member(name string) (*Member, error) {
	m, wrong := s.member(name, "", "", 0, nil)
	if m == nil {
		return nil, asError(wrong)
	}
	return m, nil
}

func asError(checks []verdict.Check) error {
	var errs []error
	for _, c := range checks {
		errs = append(errs, &verdict.Refusal{Check: c})
	}
	return errors.Join(errs...)
}

// Options are those of a connection to the node.
func (m *Member) Options() sshx.Options { return m.options() }

// Log is where a fleet's work is shown: our own words, and fences for foreign
// ones.
type Log struct {
	Logf  func(format string, args ...any)
	Fence func(prefix string) io.WriteCloser
}

// member makes a node of the spec. address and user are the hive's, "" if
// there is none.
func (s *Spec) member(name, address, user string, port int, status *tailnet.Status) (*Member, []verdict.Check) {
	m := &Member{Name: name, spec: s}
	if s.Handoff != nil {
		i := slices.IndexFunc(s.Handoff.Nodes, func(n handoff.Node) bool { return n.Name == name })
		if i < 0 && !s.Strangers {
			return nil, []verdict.Check{verdict.Refuse("handoff-node", "a node of the name "+name+" in the handoff", "none", "correct the input nodes, or make the handoff again").Check}
		}
		if i >= 0 {
			m.Facts = &s.Handoff.Nodes[i]
		}
	}
	m.Target = sshx.Target{
		Host: cmp.Or(s.Hosts[name], address, name), User: cmp.Or(s.User, user), Port: port, HostKeys: s.HostKeys[name], KnownHosts: s.KnownHosts,
		Config: s.SSHConfig, Env: s.Env,
	}
	if s.IdentityFile != "" {
		m.Target.IdentityFiles = []string{s.IdentityFile}
	}
	m.Expect = node.DefaultExpect()
	m.Expect.Hostname, m.Expect.MachineID, m.Expect.KeyMargin = name, s.MachineIDs[name], s.KeyMargin
	m.Expect.InstanceID = s.InstanceIDs[name]
	if m.Facts != nil {
		m.Expect.Hostname = m.Facts.Hostname
		if strings.HasPrefix(m.Facts.InstanceID, "ocid1.") { // another cloud's has nowhere to be asked for
			m.Expect.InstanceID = m.Facts.InstanceID
		}
		if len(m.Target.HostKeys) == 0 && m.Facts.SSHHostKey != "" {
			m.Target.HostKeys = []string{m.Facts.SSHHostKey}
		}
	}
	if status == nil {
		return m, nil
	}
	peer, err := status.Peer(m.Target.Host)
	if err != nil {
		return nil, verdict.ChecksOf(err)
	}
	m.Peer = peer
	if keys := peer.HostKeys(); len(m.Target.HostKeys) == 0 && len(keys) > 0 && len(s.KnownHosts) == 0 {
		m.Target.HostKeys = keys
	}
	return m, nil
}

// The ids of the checks of the way to a node.
const (
	TailnetPath = "tailnet-path"
	TailnetPing = "tailnet-ping"
)

// reach connects anew, for at most limit.
func (m *Member) reach(ctx context.Context, limit time.Duration) (*sshx.Conn, error) {
	return sshx.Wait(ctx, m.Target, m.options(), max(limit, time.Second))
}

func (m *Member) dial(ctx context.Context) (*sshx.Conn, error) {
	return sshx.Dial(ctx, m.Target, m.options())
}

func (m *Member) options() sshx.Options {
	// A node that went away is to be noticed while there is time to say so.
	return sshx.Options{DialTimeout: m.spec.Connect, KeepAlive: 5 * time.Second, Missed: 3}
}

// connected are the checks that a login has answered.
func (m *Member) connected(c *sshx.Conn) []verdict.Check {
	checks := []verdict.Check{{ID: "ssh", Verdict: verdict.Proven, Wanted: "a login on the host with the known key", Got: c.Host()}}
	if m.Peer == nil { // the operator said so, and the report does too
		return append(checks, verdict.Check{
			ID: TailnetPath, Verdict: verdict.Unproven, Wanted: "a connection through the tailnet", Got: "one to " + c.RemoteAddr().String(), Waived: cmp.Or(m.spec.OffTailnet, "tailnet: off"),
		})
	}
	return append(checks, m.tailnetPath(c))
}

// tailnetPath says whether a connection went through the tailnet.
func (m *Member) tailnetPath(c *sshx.Conn) verdict.Check {
	const id = TailnetPath
	wanted := fmt.Sprintf("a connection to %s through the tailnet", m.Name)
	address := c.RemoteAddr().String()
	if ip, err := netip.ParseAddrPort(address); err == nil && slices.Contains(m.Peer.TailscaleIPs, ip.Addr().Unmap()) {
		return verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: address}
	}
	return verdict.Refuse(id, wanted, fmt.Sprintf("one to %s; its addresses in the tailnet are %s", address, m.Peer.TailscaleIPs),
		"give the node's name in the tailnet (MagicDNS) or its tailnet address in hosts, without a jump").Check
}

// tailnetStatus asks the runner's own tailscaled, once for all nodes.
func (s *Spec) tailnetStatus(ctx context.Context) (*tailnet.Status, []verdict.Check) {
	if s.Tailnet == nil {
		return nil, nil
	}
	status, err := s.Tailnet.Status(ctx)
	if err != nil {
		return nil, verdict.ChecksOf(err)
	}
	checks := verdict.About("runner", status.Check(time.Now(), s.KeyMargin))
	// The runner's own warnings are shown by its tailscaled; what counts here
	// is that it is on the tailnet.
	return status, slices.DeleteFunc(checks, func(c verdict.Check) bool { return c.ID == tailnet.Health })
}

// each runs do for all items, at most n at a time, and waits.
func each[T any](items []T, n int, do func(T)) {
	slots := make(chan struct{}, max(n, 1))
	var all sync.WaitGroup
	for _, item := range items {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			do(item)
		})
	}
	all.Wait()
}
