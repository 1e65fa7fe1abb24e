package ingress

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

// Exposure is what the cloud's firewall lets through to one machine. Traffic
// passes if any list or group of any interface allows it, so it is a union.
type Exposure struct {
	Instance oci.Instance
	VNICs    []oci.VNIC
	// Lists and Groups say how many were read.
	Lists, Groups int
	// Doors are the rules that let a public address reach the port, sorted by
	// where they are.
	Doors []Door
}

// Door is one rule that lets a public address in.
type Door struct {
	// Kind is "security list" or "network security group"; ID and Name are its.
	Kind, ID, Name string
	Rule           oci.Rule
	// Lease is nil if the rule is not a lease's.
	Lease *Marker
}

// String names a door for a message.
func (d Door) String() string {
	s := fmt.Sprintf("the %s %s (%s) lets %s in", d.Kind, quote(d.Name), d.ID, quote(d.Rule.Source))
	if d.Lease != nil {
		end, _ := Ends(*d.Lease, d.Rule)
		return s + fmt.Sprintf(": the lease of run %s for node %s, since %s, until %s", quote(d.Lease.Run), quote(d.Lease.Node), stamp(d.Rule.Created), stamp(end))
	}
	if d.Rule.ID != "" {
		s += fmt.Sprintf(": the rule %s, made %s", quote(d.Rule.ID), stamp(d.Rule.Created))
	}
	if d.Rule.Description != "" {
		s += fmt.Sprintf(" (%s)", quote(d.Rule.Description))
	}
	return s
}

// detached reports whether an attachment carries no traffic any more.
func detached(state string) bool { return strings.EqualFold(state, "DETACHED") }

// Look reads every security list and network security group of every interface
// of an instance, and picks the rules by which a public address reaches TCP
// port. If any of them can't be read the answer is an error: what was not seen
// is not closed.
func Look(ctx context.Context, cloud Cloud, instanceID string, port int) (*Exposure, error) {
	e := &Exposure{}
	var err error
	if e.Instance, err = cloud.Instance(ctx, instanceID); err != nil {
		return nil, err
	}
	attachments, err := cloud.VNICAttachments(ctx, e.Instance.CompartmentID, instanceID)
	if err != nil {
		return nil, err
	}
	var lists, groups []string
	for _, a := range attachments {
		if detached(a.State) || a.InstanceID != instanceID {
			continue
		}
		if a.VNICID == "" {
			return nil, verdict.CannotTell(PublicSSH, "every interface of "+instanceID, fmt.Errorf("one that is %s and has no id yet", quote(a.State)), "wait until it is attached")
		}
		v, err := cloud.VNIC(ctx, a.VNICID)
		if err != nil {
			return nil, err
		}
		subnet, err := cloud.Subnet(ctx, v.SubnetID)
		if err != nil {
			return nil, err
		}
		e.VNICs = append(e.VNICs, v)
		lists = append(lists, subnet.SecurityLists...)
		groups = append(groups, v.NSGs...)
	}
	if len(e.VNICs) == 0 {
		return nil, verdict.CannotTell(PublicSSH, "the interfaces of "+instanceID, errors.New("none"), "see whether the instance still exists")
	}
	if len(lists)+len(groups) == 0 {
		return nil, verdict.CannotTell(PublicSSH, "the security lists and groups of "+instanceID, errors.New("none"), "see the subnet: the cloud gives it a default security list")
	}
	slices.Sort(lists)
	slices.Sort(groups)
	lists, groups = slices.Compact(lists), slices.Compact(groups)
	e.Lists, e.Groups = len(lists), len(groups)
	for _, id := range lists {
		l, err := cloud.SecurityList(ctx, id)
		if err != nil {
			return nil, err
		}
		e.add("security list", id, l.Name, l.Ingress, port)
	}
	for _, id := range groups {
		g, err := cloud.NSG(ctx, id)
		if err != nil {
			return nil, err
		}
		rules, err := cloud.IngressRules(ctx, id)
		if err != nil {
			return nil, err
		}
		e.add("network security group", id, g.Name, rules, port)
	}
	return e, nil
}

func (e *Exposure) add(kind, id, name string, rules []oci.Rule, port int) {
	e.Doors = append(e.Doors, doors(kind, id, name, rules, port)...)
}

func doors(kind, id, name string, rules []oci.Rule, port int) []Door {
	var out []Door
	for _, r := range rules {
		if !reaches(r, port) {
			continue
		}
		d := Door{Kind: kind, ID: id, Name: name, Rule: r}
		// A security list has no leases: whoever wrote it there wrote it by hand.
		if m, ok := ParseMarker(r.Description); ok && r.ID != "" {
			d.Lease = &m
		}
		out = append(out, d)
	}
	return out
}

// Primary is the interface that an instance was made with.
func (e *Exposure) Primary() (oci.VNIC, bool) {
	i := slices.IndexFunc(e.VNICs, func(v oci.VNIC) bool { return v.Primary })
	if i < 0 {
		return oci.VNIC{}, false
	}
	return e.VNICs[i], true
}

// PublicIPs are the public addresses of all interfaces.
func (e *Exposure) PublicIPs() (out []string) {
	for _, v := range e.VNICs {
		if v.PublicIP != "" && !slices.Contains(out, v.PublicIP) {
			out = append(out, v.PublicIP)
		}
	}
	return out
}

// Check says whether SSH is closed to the public, by the rules.
func (e *Exposure) Check() verdict.Check {
	wanted := fmt.Sprintf("no rule that lets a public address reach port %d of %s", SSH, quote(e.Instance.Name))
	if len(e.Doors) == 0 {
		return verdict.Check{ID: PublicSSH, Verdict: verdict.Proven, Wanted: wanted,
			Got: fmt.Sprintf("none in %s and %s of %s", count(e.Lists, "security list"), count(e.Groups, "network security group"), count(len(e.VNICs), "interface"))}
	}
	var found []string
	for _, d := range e.Doors {
		found = append(found, d.String())
	}
	return verdict.Refuse(PublicSSH, wanted, strings.Join(found, "\n"), e.hint()).Check
}

func (e *Exposure) hint() string {
	leases := slices.ContainsFunc(e.Doors, func(d Door) bool { return d.Lease != nil })
	foreign := slices.ContainsFunc(e.Doors, func(d Door) bool { return d.Lease == nil })
	switch {
	case leases && foreign:
		return "leases end by themselves with the next ingress-sweep; take the other rules out by hand, or in the stack that made them"
	case leases:
		return "wait for that run, or run ingress-sweep once the lease has ended"
	}
	return "take the rule out in the stack that made it; nothing here touches a rule that it did not make"
}

// reaches reports whether a rule lets a public address open a connection to a
// TCP port. What can't be read is taken for an opening.
func reaches(r oci.Rule, port int) bool {
	switch {
	case r.Protocol == "6": // TCP, by its number
		if r.Ports != nil && (port < r.Ports.Min || port > r.Ports.Max) {
			return false
		}
	case isNumber(r.Protocol): // another one
		return false
	} // "all", or nothing that is known
	switch r.SourceType {
	case "NETWORK_SECURITY_GROUP", "SERVICE_CIDR_BLOCK":
		return false // machines of the same network, and the cloud's own services
	}
	return public(r.Source)
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// inner are the ranges that no packet from the internet comes from.
var inner = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), // RFC 1918
	netip.MustParsePrefix("100.64.0.0/10"),                                        // RFC 6598, a tailnet's addresses
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), // RFC 1122, RFC 3927
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128"), // RFC 4193, RFC 4291
}

// public reports whether a source has an address that is not of an inner range.
func public(source string) bool {
	p, err := netip.ParsePrefix(source)
	if err != nil {
		a, err := netip.ParseAddr(source)
		if err != nil {
			return true
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	p = p.Masked()
	return !slices.ContainsFunc(inner, func(r netip.Prefix) bool { return r.Bits() <= p.Bits() && r.Contains(p.Addr()) })
}
