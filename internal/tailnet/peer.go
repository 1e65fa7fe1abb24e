package tailnet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"edge-actions/internal/verdict"
)

// Peer finds a node by its DNS name, with or without the tailnet's suffix and
// the last dot, or by one of its addresses; and by what it calls itself, if
// only one node does. The node that was asked counts as well. It refuses a
// name that several have, one that nobody has, and to look at all while
// tailscaled does not run: what it knows then is from before.
func (s *Status) Peer(name string) (*Peer, error) {
	wanted := fmt.Sprintf("a node of the tailnet named %.100q", name)
	if c := s.state(); c.Verdict != verdict.Proven {
		return nil, &verdict.Refusal{Check: verdict.Check{ID: State, Verdict: verdict.Unproven, Wanted: wanted, Got: "tailscaled in " + c.Got, Hint: c.Hint}}
	}
	all := s.Peers
	if s.Self != nil {
		all = append([]*Peer{s.Self}, all...)
	}
	// In this order: a DNS name is the control plane's word, a HostName is
	// anybody's.
	for _, is := range []func(*Peer) bool{s.addressed(name), s.named(name), calling(name)} {
		var found []*Peer
		for _, p := range all {
			if is(p) {
				found = append(found, p)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return nil, verdict.Refuse(NoPeer, wanted, fmt.Sprintf("%d: %s", len(found), list(found)), "name one of them by its DNS name or its address")
		}
	}
	return nil, verdict.Refuse(NoPeer, wanted, fmt.Sprintf("none among %d%s", len(all), near(name, all)),
		"correct the name; if it is right, see that the node is logged in and that the tailnet's policy lets this machine see it")
}

func (s *Status) addressed(name string) func(*Peer) bool {
	ip, err := netip.ParseAddr(name)
	return func(p *Peer) bool { return err == nil && slices.Contains(p.TailscaleIPs, ip) }
}

func (s *Status) named(name string) func(*Peer) bool {
	full := []string{plain(name)}
	if s.Suffix != "" {
		full = append(full, plain(name)+"."+plain(s.Suffix))
	}
	return func(p *Peer) bool {
		return name != "" && p.DNSName != "" && slices.Contains(full, plain(p.DNSName))
	}
}

func calling(name string) func(*Peer) bool {
	return func(p *Peer) bool { return name != "" && strings.EqualFold(p.HostName, name) }
}

// plain is a DNS name as it is compared.
func plain(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

const listed = 6

func list(peers []*Peer) string {
	var out []string
	for _, p := range peers[:min(len(peers), listed)] {
		text := fmt.Sprintf("%.100q", p.Name())
		if len(p.TailscaleIPs) > 0 {
			text += " " + p.TailscaleIPs[0].WithZone("").String()
		}
		out = append(out, text)
	}
	if more := len(peers) - listed; more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

// near lists the nodes that may have been meant.
func near(name string, all []*Peer) string {
	var out []*Peer
	want, _, _ := strings.Cut(plain(name), ".")
	if len(want) > 63 { // no label is longer, and the comparison is quadratic
		return ""
	}
	for _, p := range all {
		label, _, _ := strings.Cut(plain(p.Name()), ".")
		if want == "" || label == "" || len(label) > 63 {
			continue
		}
		if strings.Contains(label, want) || strings.Contains(want, label) || distance(want, label) <= 2 {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "; near: " + list(out)
}

// distance is the number of letters to add, drop or change from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
