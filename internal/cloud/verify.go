package cloud

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"edge-actions/internal/handoff"
	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

// The ids of the checks of Verify. What could not be seen has the id of
// package oci that says why.
const (
	// Match is all of them: every fact is as it is in the cloud.
	Match = "cloud-match"
	// InstanceID: the node has the OCID of an instance.
	InstanceID = "instance-id"
	// InstanceState: the instance is RUNNING.
	InstanceState = "instance-state"
	// InstancePlace: its region, availability domain and subnet.
	InstancePlace = "instance-place"
	// InstanceAddress: the addresses of its primary interface.
	InstanceAddress = "instance-address"
	// InstanceVolumes: what is attached to it, where and how.
	InstanceVolumes = "instance-volumes"
)

const (
	stale   = "refresh the stack and hand over again; if the cloud is wrong, apply the stack"
	notSeen = "see whether the policy lets the user inspect all of it, and run it again"
)

var instanceForm = regexp.MustCompile(`^ocid1\.instance\.[A-Za-z0-9._-]+$`)

// verification is one comparison of a handoff with the cloud.
type verification struct {
	*survey
	facts       int
	differences []error
}

// Verify holds each node of a handoff against the cloud: that its instance is
// RUNNING, where it is, the addresses of its primary interface, and its volumes
// with their devices and modes. It asks for lists of whole compartments, so
// that the calls grow with the pages of these and not with the nodes. It
// returns one proven check, or an error with a disproven check for each field
// that differs and an unproven one for whatever could not be seen.
//
// What a handoff leaves out it does not claim, with two exceptions: a node
// without public_ip has none, and has no other volumes than its own.
func Verify(ctx context.Context, client *oci.Client, doc *handoff.Document) (verdict.Check, error) {
	before := client.Calls()
	if len(doc.Nodes) == 0 {
		return verdict.Check{}, verdict.CannotTell(Match, "nodes to ask the cloud about", errors.New("none in the handoff"), "apply the stack first")
	}
	v := &verification{survey: newSurvey(client)}
	var nodes []*handoff.Node
	for i := range doc.Nodes {
		n := &doc.Nodes[i]
		if !instanceForm.MatchString(n.InstanceID) {
			v.differ(n, InstanceID, "the OCID of an instance, ocid1.instance.…", fmt.Sprintf("%q", n.InstanceID), "only nodes in Oracle Cloud can be verified: hand over others on their own, with verify: none")
			continue
		}
		nodes = append(nodes, n)
	}
	v.find(ctx, nodes)
	for _, n := range nodes {
		if in, ok := v.instances[n.InstanceID]; ok { // else find has said why not
			v.node(ctx, n, in)
		}
	}
	if err := errors.Join(append(v.differences, v.unseen()...)...); err != nil {
		return verdict.Check{}, err
	}
	return verdict.Check{
		ID: Match, Verdict: verdict.Proven, Wanted: "every node in the cloud as the handoff has it",
		Got: fmt.Sprintf("%s of %s, in %s", count(v.facts, "fact"), count(len(nodes), "node"), count(client.Calls()-before, "call")),
	}, nil
}

func (v *verification) node(ctx context.Context, n *handoff.Node, in oci.Instance) {
	v.fact(n, InstanceState, "state", "RUNNING", in.State, "start it, or apply the stack; a handoff of a machine that does not run is of no use")
	if gone(in) {
		return // its interfaces and volumes go with it; to list them would hide that
	}
	v.place(n, in)
	v.addresses(ctx, n, in)
	v.volumes(n, in)
}

// gone reports whether an instance is on its way out, from where none returns.
func gone(in oci.Instance) bool { return in.State == "TERMINATED" || in.State == "TERMINATING" }

func (v *verification) place(n *handoff.Node, in oci.Instance) {
	region := in.Region
	if !strings.Contains(region, "-") && n.Region == v.client.Region() {
		// The oldest regions call themselves by a key, like iad for us-ashburn-1.
		region = v.client.Region()
	}
	if n.Region != "" {
		v.fact(n, InstancePlace, "region", n.Region, region, stale)
	}
	if n.AvailabilityDomain != "" {
		v.fact(n, InstancePlace, "availability_domain", n.AvailabilityDomain, in.AvailabilityDomain, stale)
	}
}

// fact holds one field against the cloud.
func (v *verification) fact(n *handoff.Node, id, field, wanted, got, hint string) {
	v.facts++
	if wanted != got {
		v.differ(n, id, field+" "+text(wanted), text(got), hint)
	}
}

func (v *verification) differ(n *handoff.Node, id, wanted, got, hint string) {
	r := verdict.Refuse(id, wanted, got, hint)
	r.Subject = n.Name
	v.differences = append(v.differences, r)
}

// text shows a value of the cloud's or of the handoff's.
func text(s string) string {
	if s == "" {
		return "none"
	}
	return fmt.Sprintf("%.300q", s)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// gap is something that could not be seen, and the nodes of which something is
// not known for it.
type gap struct {
	what  string
	err   error
	nodes []string
	hint  string // besides the error's own
}

func (g *gap) of(n *handoff.Node) {
	if !slices.Contains(g.nodes, n.Name) {
		g.nodes = append(g.nodes, n.Name)
	}
}

// refusal is one unproven check, however many nodes it is of, and whatever the
// error says of itself: a request that was refused says nothing of a node.
func (g *gap) refusal() error {
	c := verdict.ChecksOf(g.err)[0]
	r := &verdict.Refusal{Check: c, Err: g.err}
	r.Verdict = verdict.Unproven
	if g.hint != "" {
		r.Hint = g.hint + "; " + r.Hint
	}
	if len(g.nodes) == 1 {
		r.Subject, r.Wanted = g.nodes[0], g.what
		return r
	}
	names := g.nodes
	if len(names) > 10 {
		names = append(slices.Clone(names[:10]), fmt.Sprintf("%d more", len(names)-10))
	}
	r.Wanted = fmt.Sprintf("%s, for %d nodes: %s", g.what, len(g.nodes), strings.Join(names, ", "))
	return r
}
