package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"edge-actions/internal/ingress"
	"edge-actions/internal/node"
	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

// Access is how the machine is reached while it is made.
type Access string

const (
	// ByLease is a rule in a network security group, for the runner's address.
	ByLease Access = "nsg"
	// ByBastion is a session of a bastion; nothing is opened to the public.
	ByBastion Access = "bastion"
	// Direct is a way that exists already, such as the private network.
	Direct Access = "direct"
)

// Door is the way in, and the proof that it is shut again.
type Door struct {
	Access Access
	// Cloud is nil for Direct without credentials; then nobody can prove what
	// the cloud lets in.
	Cloud      *oci.Client
	InstanceID string
	Node       string
	Keeper     *ingress.Keeper
	// NSG is the group for the lease; "" is the only one of the machine's.
	NSG string
	// Source is the runner's public address; the zero one is asked for.
	Source netip.Addr
	Echo   ingress.Echo
	TTL    time.Duration
	Run    string
	// Through is the bastion.
	Through *ingress.Through
	// Dir is for the files of a session.
	Dir string
	// SSHConfig is the user's own, "" for none.
	SSHConfig string
	// Probe is how long the runner waits for an answer of a door that should be
	// shut; 0 leaves it at the rules.
	Probe time.Duration
	// Waive are ids of checks that are shown and do not decide.
	Waive []string
	Logf  func(format string, args ...any)

	// Address and Private are the machine's, by the cloud.
	Address, Private string

	lease   *ingress.Lease
	passage *ingress.Passage
}

// The ids of the checks of this file.
const (
	// Running is the machine, by the cloud.
	Running = "instance-running"
	// PublicAddress is the machine's, by the cloud.
	PublicAddress = "public-address"
)

// Before looks at the machine from outside and sweeps what dead runs left. What
// it finds decides whether a door is opened at all: one that stands open
// already could not be proven shut afterwards.
func (d *Door) Before(ctx context.Context) []verdict.Check {
	if d.Cloud == nil {
		return nil
	}
	checks := d.Keeper.Orphans(ctx)
	e, err := ingress.Look(ctx, d.Cloud, d.InstanceID, ingress.SSH)
	if err == nil {
		e, checks, err = d.ended(ctx, e, checks)
	}
	if err != nil {
		return append(checks, verdict.ChecksOf(err)...)
	}
	wanted := fmt.Sprintf("the instance %q to be RUNNING", e.Instance.Name)
	if e.Instance.State != "RUNNING" {
		checks = append(checks, verdict.Refuse(Running, wanted, quote(e.Instance.State), "start it, or correct which instance is meant").Check)
	} else {
		checks = append(checks, verdict.Check{ID: Running, Verdict: verdict.Proven, Wanted: wanted, Got: e.Instance.State})
	}
	if primary, ok := e.Primary(); ok {
		d.Address, d.Private = primary.PublicIP, primary.PrivateIP
	}
	if d.Access != ByLease {
		return d.waived(append(checks, e.Check()))
	}
	if d.Address == "" {
		checks = append(checks, verdict.Refuse(PublicAddress, "a public address on the primary interface", "none", "use access: bastion, or give the instance one in the stack").Check)
	}
	if d.NSG, err = ingress.Choose(e, d.NSG); err != nil {
		checks = append(checks, verdict.ChecksOf(err)...)
	}
	return d.waived(append(checks, ingress.Living(e, d.Cloud.Now(), ""), e.Check()))
}

// ended closes leases of other runners that have ended, and looks again if
// there was one.
func (d *Door) ended(ctx context.Context, e *ingress.Exposure, checks []verdict.Check) (*ingress.Exposure, []verdict.Check, error) {
	var groups []string
	for _, door := range e.Doors {
		if door.Lease != nil && !slices.Contains(groups, door.ID) {
			groups = append(groups, door.ID)
		}
	}
	closed := false
	swept, more := d.Keeper.Ended(ctx, groups)
	for _, s := range swept {
		closed = closed || len(s.Closed) > 0
	}
	checks = append(checks, more...)
	if !closed {
		return e, checks, nil
	}
	e, err := ingress.Look(ctx, d.Cloud, d.InstanceID, ingress.SSH)
	return e, checks, err
}

// Open lets the runner in. Whatever it says, Close has to follow.
func (d *Door) Open(ctx context.Context) ([]verdict.Check, error) {
	switch d.Access {
	case ByLease:
		to, err := netip.ParseAddr(d.Address)
		if err != nil {
			return nil, err
		}
		source := d.Source
		if !source.IsValid() {
			if source, err = d.Echo.Address(ctx, to); err != nil {
				return nil, err
			}
		}
		d.Logf("opening port %d of %s for %s", ingress.SSH, d.Address, source)
		d.lease, err = d.Keeper.Open(ctx, ingress.Request{NSG: d.NSG, InstanceID: d.InstanceID, Node: d.Node, Source: source, TTL: d.TTL, Run: d.Run})
		if err != nil {
			return nil, err
		}
		return []verdict.Check{d.lease.Check()}, d.alone(ctx)
	case ByBastion:
		var err error
		if d.passage, err = d.Through.Open(ctx, d.Private, d.Dir, d.SSHConfig); err != nil {
			return nil, err
		}
		return []verdict.Check{d.passage.Check()}, nil
	}
	return nil, nil
}

// alone looks whether another runner's run came in at the same moment: neither
// was there when the other looked. Who sees the other now does not go on.
func (d *Door) alone(ctx context.Context) error {
	e, err := ingress.Look(ctx, d.Cloud, d.InstanceID, ingress.SSH)
	if err != nil {
		return err
	}
	if c := ingress.Living(e, d.Cloud.Now(), d.lease.Marker.Nonce); c.Verdict != verdict.Proven {
		return &verdict.Refusal{Check: c}
	}
	return nil
}

// Limit bounds ctx by the time for which the door is open, less what shutting
// it may take. A way that exists already has no end.
func (d *Door) Limit(ctx context.Context, closing time.Duration) (context.Context, context.CancelFunc) {
	if d.Access == Direct {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d.TTL-closing, verdict.CannotTell(ingress.Expired, fmt.Sprintf("the work to be done within lease_ttl, %s, less %s for shutting the door", d.TTL, closing), errors.New("it was still under way"), "run it again: it goes on from what the machine shows; or give it a longer lease_ttl"))
}

// Close shuts the door and proves it: by the list that the lease was in, by the
// union of all lists of all interfaces, and by a silence that the runner hears.
// closed is true only if all of it is proven, whatever was waived.
func (d *Door) Close(ctx context.Context) (checks []verdict.Check, closed bool) {
	if d.lease != nil {
		checks = append(checks, d.lease.Close(ctx))
	}
	if d.passage != nil {
		checks = append(checks, d.passage.Close(ctx))
	}
	checks = append(checks, d.Closed(ctx)...)
	closed = verdict.Of(checks) == verdict.Proven // before a waiver hides what it is of
	return d.waived(checks), closed
}

// Closed proves that the public can't reach SSH on the machine.
func (d *Door) Closed(ctx context.Context) []verdict.Check {
	if d.Cloud == nil {
		return []verdict.Check{verdict.CannotTell(ingress.PublicSSH, "no rule that lets a public address reach SSH", errors.New("nobody to ask: there are no credentials for the cloud"), "set the oci inputs and the instance, or waive "+ingress.PublicSSH).Check}
	}
	e, err := ingress.Look(ctx, d.Cloud, d.InstanceID, ingress.SSH)
	if err != nil {
		return verdict.ChecksOf(err)
	}
	checks := []verdict.Check{e.Check()}
	if d.Probe == 0 {
		return checks
	}
	addresses := e.PublicIPs()
	if len(addresses) == 0 {
		return append(checks, verdict.Check{ID: node.SSHClosed, Verdict: verdict.Proven, Wanted: "no answer from a public address", Got: "the machine has none"})
	}
	for _, address := range addresses {
		checks = append(checks, d.silence(ctx, address))
	}
	return checks
}

// silence probes from the runner. Rules take a moment until they hold: an
// answer that comes right after is asked for again.
func (d *Door) silence(ctx context.Context, address string) verdict.Check {
	port := netip.AddrPort{}
	if a, err := netip.ParseAddr(address); err == nil {
		port = netip.AddrPortFrom(a, ingress.SSH)
	}
	var c verdict.Check
	for look := range 3 {
		if look > 0 {
			select {
			case <-time.After(cmp.Or(d.Keeper.Pace.Pause, 2*time.Second)):
			case <-ctx.Done():
				return c
			}
		}
		if c = node.PortClosed(ctx, port.String(), d.Probe); c.Verdict != verdict.Disproven {
			return c
		}
	}
	return c
}

func (d *Door) waived(checks []verdict.Check) []verdict.Check {
	for i := range checks {
		if checks[i].Verdict != verdict.Proven && slices.Contains(d.Waive, checks[i].ID) && (checks[i].ID == ingress.PublicSSH || checks[i].ID == node.SSHClosed) {
			checks[i].Waived = "waive"
		}
	}
	return checks
}

// Reach has the deployment go through the door that was opened.
func (j *Job) Reach() {
	spec, d := j.Deploy.Spec, j.Door
	if spec.Hosts == nil {
		spec.Hosts = map[string]string{}
	}
	spec.OffTailnet = "access: " + string(d.Access)
	if m, err := spec.Member(d.Node); err == nil && m.Facts != nil && d.Address != "" && m.Facts.PublicIP != "" && m.Facts.PublicIP != d.Address {
		d.Logf("the handoff has the public address %q, the cloud says %q: the cloud's is taken, and the instance and the host key say whose it is; make the handoff again", m.Facts.PublicIP, d.Address)
	}
	switch d.Access {
	case ByLease:
		spec.Hosts[d.Node] = d.Address
	case ByBastion:
		spec.Hosts[d.Node], spec.SSHConfig = d.Private, d.passage.Config
	}
}
