package ocitest

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
)

// Snapshot is a world at one moment, with what its rules let through.
type Snapshot struct{ *World }

// OnChange sets what is told when the rules of any interface have changed,
// before the request that did it is answered. It is told at once, too, of how
// things are.
func (s *Server) OnChange(f func(Snapshot)) {
	s.mu.Lock()
	s.onChange, s.seen = f, ""
	s.mu.Unlock()
	s.changed()
}

// changed tells of new rules.
func (s *Server) changed() {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.mu.Lock()
	f := s.onChange
	if f == nil {
		s.mu.Unlock()
		return
	}
	snap := Snapshot{s.world.clone()}
	s.mu.Unlock()
	if now := snap.ingress(); now != s.seen {
		s.seen = now
		f(snap)
	}
}

// ingress is all rules that decide on traffic into the interfaces.
func (s Snapshot) ingress() string {
	all := map[string][]Rule{}
	for _, v := range s.VNICs {
		all[v.ID] = append(s.rules(v), Rule{Description: v.PublicIP + " " + v.PrivateIP})
	}
	data, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// Allowed reports whether the rules let source reach a TCP port of an
// interface: by any list of its subnet, or any of its groups.
func (s *Server) Allowed(vnicID string, source netip.Addr, port int) bool {
	return Snapshot{s.World()}.Allowed(vnicID, source, port)
}

// Allowed is the same at the moment of the snapshot.
func (s Snapshot) Allowed(vnicID string, source netip.Addr, port int) bool {
	i := slices.IndexFunc(s.VNICs, func(v VNIC) bool { return v.ID == vnicID })
	if i < 0 {
		return false
	}
	return slices.ContainsFunc(s.rules(s.VNICs[i]), func(r Rule) bool { return s.passes(r, source, port) })
}

// rules are all ingress rules that hold for an interface.
func (s Snapshot) rules(v VNIC) []Rule {
	var out []Rule
	for _, subnet := range s.Subnets {
		if subnet.ID != v.SubnetID {
			continue
		}
		for _, l := range s.SecurityLists {
			if slices.Contains(subnet.SecurityListIDs, l.ID) {
				out = append(out, l.Ingress...)
			}
		}
	}
	for _, g := range s.NSGs {
		if !slices.Contains(v.NSGIDs, g.ID) {
			continue
		}
		for _, r := range g.Rules {
			if r.Direction == "INGRESS" {
				out = append(out, r)
			}
		}
	}
	return out
}

func (s Snapshot) passes(r Rule, source netip.Addr, port int) bool {
	switch r.Protocol {
	case "all":
	case "6":
		if o := r.TCPOptions; o != nil && o.DestinationPortRange != nil && (port < o.DestinationPortRange.Min || port > o.DestinationPortRange.Max) {
			return false
		}
	default:
		return false
	}
	switch r.SourceType {
	case "", "CIDR_BLOCK":
		p, err := netip.ParsePrefix(r.Source)
		return err == nil && p.Contains(source.Unmap())
	case "NETWORK_SECURITY_GROUP":
		return slices.ContainsFunc(s.VNICs, func(v VNIC) bool {
			return slices.Contains(v.NSGIDs, r.Source) && v.PrivateIP == source.String()
		})
	}
	return false // a service of the cloud's own is nobody here
}

// NameOf is the name of the machine that an interface is attached to, or "".
func (s Snapshot) NameOf(vnicID string) string {
	for _, a := range s.VNICAttachments {
		for _, i := range s.Instances {
			if a.VNICID == vnicID && a.InstanceID == i.ID {
				return i.DisplayName
			}
		}
	}
	return ""
}

// check returns what is impossible in a world, or "".
func (w *World) check() string {
	var wrong []string
	for _, v := range w.VNICs {
		if len(v.NSGIDs) > maxGroups {
			wrong = append(wrong, "interface "+v.ID+" has more than five groups")
		}
	}
	for _, g := range w.NSGs {
		if len(g.Rules) > maxRules {
			wrong = append(wrong, "group "+g.ID+" has more than 120 rules")
		}
	}
	return strings.Join(wrong, "; ")
}
