package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"edge-actions/internal/handoff"
	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

// face is what a node shows: its primary interface.
type face struct {
	subnet, private, public string
	ipv6                    []string
}

// addresses holds the primary interface of a node against its handoff.
func (v *verification) addresses(ctx context.Context, n *handoff.Node, in oci.Instance) {
	a, f := v.primary(ctx, n, in)
	if a == nil && f == nil {
		return
	}
	subnet := ""
	if a != nil {
		subnet = a.SubnetID // known even if its addresses are not
		f = v.listed(ctx, n, in, a)
	}
	if f != nil {
		subnet = f.subnet
	}
	if n.SubnetID != "" {
		v.fact(n, InstancePlace, "subnet_id", n.SubnetID, subnet, stale)
	}
	if f == nil {
		return
	}
	if n.PrivateIP != "" {
		v.fact(n, InstanceAddress, "private_ip", n.PrivateIP, f.like(n.PrivateIP, f.private), stale)
	}
	public := f.like(n.PublicIP, f.public)
	if n.PublicIP == "" {
		v.facts++
		if public != "" {
			v.differ(n, InstanceAddress, "no public_ip", text(public), "add it to the output, or take it from the machine: the internet can reach it there")
		}
		return
	}
	v.fact(n, InstanceAddress, "public_ip", n.PublicIP, public, stale)
}

// primary finds the primary interface of a running instance. An attachment does
// not say whether it is the primary one. An instance with a single interface
// needs no question: its attachment is returned. Of several, each is asked, and
// what the primary one says of itself is returned. It is nil, nil if it can't
// be told which one it is; then that has been said.
func (v *verification) primary(ctx context.Context, n *handoff.Node, in oci.Instance) (*oci.VNICAttachment, *face) {
	c := v.compartments[in.CompartmentID]
	if c.noInterfaces != nil {
		c.noInterfaces.of(n)
		return nil, nil
	}
	all := c.interfaces[in.ID]
	live := slices.DeleteFunc(slices.Clone(all), func(a oci.VNICAttachment) bool { return a.State == "DETACHED" })
	switch {
	case len(all) > 0 && len(live) == 0:
		v.differ(n, InstanceAddress, "an interface that is ATTACHED", fmt.Sprintf("%d DETACHED", len(all)), "see the instance in the console")
		return nil, nil
	case len(live) == 1 && live[0].State == "ATTACHED" && live[0].VNICID != "":
		return &live[0], nil
	}
	var errs []error
	for _, a := range live {
		if a.VNICID == "" {
			continue // ATTACHING: the primary one is there from the beginning
		}
		vnic, err := v.client.VNIC(ctx, a.VNICID)
		if err == nil && vnic.Primary {
			return nil, faceOf(vnic)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		errs = append(errs, verdict.CannotTell(InstanceAddress, "", fmt.Errorf("none among the %d that are listed", len(live)), notSeen))
	}
	v.missing("its primary interface in the cloud", errors.Join(errs...)).of(n)
	return nil, nil
}

// listed is the interface of an attachment as the lists have it. If they differ
// from the handoff the interface is asked itself: the lists are of the node's
// compartments, without IPv6, and an address may be reserved elsewhere. It is
// nil if a list that is needed could not be read; then that has been said.
func (v *verification) listed(ctx context.Context, n *handoff.Node, in oci.Instance, a *oci.VNICAttachment) *face {
	private := v.privateAddresses(ctx, a.SubnetID)
	if private.unread != nil {
		private.unread.of(n)
		return nil
	}
	ip, ok := private.addresses[a.VNICID]
	f := &face{subnet: a.SubnetID, private: ip.Address, public: v.public[ip.ID]}
	agrees := ok && (n.PrivateIP == "" || same(n.PrivateIP, f.private)) && same(n.PublicIP, f.public)
	if agrees && f.public != "" {
		return f // a machine has one: no other list could add to it
	}
	unread := false
	for _, domain := range []string{"", in.AvailabilityDomain} {
		if g := v.publicAddresses(ctx, in.CompartmentID, domain); g != nil {
			g.of(n)
			unread = true
		}
	}
	if unread {
		return nil
	}
	if agrees {
		return f
	}
	vnic, err := v.client.VNIC(ctx, a.VNICID)
	if err != nil {
		v.missing("its primary interface in the cloud", err).of(n)
		return nil
	}
	if !vnic.Primary {
		v.missing("its primary interface in the cloud", verdict.CannotTell(InstanceAddress, "", fmt.Errorf("only %q is listed, which is not the primary one", a.VNICID), notSeen)).of(n)
		return nil
	}
	return faceOf(vnic)
}

func faceOf(v oci.VNIC) *face {
	return &face{subnet: v.SubnetID, private: v.PrivateIP, public: v.PublicIP, ipv6: v.IPv6}
}

// like is the address that the wanted one is to be held against: itself, in the
// handoff's form, if the interface has it.
func (f *face) like(wanted, got string) string {
	if same(wanted, got) || slices.ContainsFunc(f.ipv6, func(a string) bool { return same(wanted, a) }) {
		return wanted
	}
	return got
}

// same reports whether two texts are one address; an IPv6 one has many.
func same(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x == y
}
