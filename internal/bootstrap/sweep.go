package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/cloud"
	"edge-actions/internal/fleet"
	"edge-actions/internal/ingress"
	"edge-actions/internal/node"
	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

// Sweep is the work of a scheduled sweep.
type Sweep struct {
	Cloud                           *oci.Client
	Keeper                          *ingress.Keeper
	Groups, Compartments, Instances []string
	// Probe is 0 if the runner is not to try for itself.
	Probe time.Duration
	Waive []string
	Logf  func(format string, args ...any)
}

// Strangers is the check that no rule which is not a lease lets the public in.
const Strangers = "foreign-doors"

// DoorState is one door, as the output "doors" lists it.
type DoorState struct {
	State   string `json:"state"` // closed, open, foreign
	Where   string `json:"where"`
	ID      string `json:"id"`
	Rule    string `json:"rule,omitempty"`
	Source  string `json:"source"`
	Run     string `json:"run,omitempty"`
	Node    string `json:"node,omitempty"`
	Opened  string `json:"opened,omitempty"`
	Expires string `json:"expires,omitempty"`
}

// ReadSweep reads the inputs of a sweep. What is wrong with them is recorded in
// in.
func ReadSweep(ctx context.Context, in *action.Inputs, a *action.Action) *Sweep {
	s := &Sweep{Keeper: ReadKeeper(in, a), Waive: words(in.Text("waive")), Logf: a.Logf}
	for _, list := range []struct {
		name, prefix, what string
		to                 *[]string
	}{
		{"nsg_ids", "ocid1.networksecuritygroup.", "OCIDs of network security groups", &s.Groups},
		{"compartment_ids", "ocid1.", "OCIDs of compartments", &s.Compartments},
		{"instance_ids", "ocid1.instance.", "OCIDs of instances", &s.Instances},
	} {
		*list.to = words(in.Text(list.name))
		for _, id := range *list.to {
			if !strings.HasPrefix(id, list.prefix) || list.name == "compartment_ids" && !strings.HasPrefix(id, "ocid1.compartment.") && !strings.HasPrefix(id, "ocid1.tenancy.") {
				in.Wrong(list.name, list.what, fmt.Sprintf("%q", id), "correct the input "+list.name)
			}
		}
	}
	for _, id := range s.Waive {
		if !slices.Contains([]string{Strangers, ingress.PublicSSH, node.SSHClosed}, id) {
			in.Wrong("waive", "some of "+strings.Join([]string{Strangers, ingress.PublicSSH, node.SSHClosed}, ", "), fmt.Sprintf("%q", id), "correct the input waive")
		}
	}
	if doc := fleet.ReadHandoff(in); doc != nil {
		for _, n := range doc.Nodes {
			if instanceForm.MatchString(n.InstanceID) && !slices.Contains(s.Instances, n.InstanceID) {
				s.Instances = append(s.Instances, n.InstanceID)
			}
		}
	}
	if timeout := in.Duration("probe_timeout", 3*time.Second, time.Minute); in.Bool("probe") {
		s.Probe = timeout
	}
	if len(s.Groups)+len(s.Compartments)+len(s.Instances) == 0 && in.Err() == nil {
		in.Wrong("nsg_ids", "groups, compartments, instances or a handoff to sweep", "none", "set one of nsg_ids, compartment_ids, instance_ids and handoff_path")
	}
	if c := cloud.Connect(ctx, in, cloud.ReadOptions(in, a)); c != nil {
		s.Cloud, s.Keeper.Cloud = c, c
	}
	return s
}

// Run sweeps and looks. closed is true if it is proven of every instance that
// the public can't reach SSH there.
func (s *Sweep) Run(ctx context.Context) (doors []DoorState, checks []verdict.Check, closed bool) {
	groups := slices.Clone(s.Groups)
	for _, id := range s.Compartments {
		list, err := s.Cloud.NSGs(ctx, id)
		if err != nil {
			checks = append(checks, verdict.ChecksOf(err)...)
			continue
		}
		for _, g := range list {
			groups = append(groups, g.ID)
		}
	}
	exposures := map[string]*ingress.Exposure{}
	for _, id := range s.Instances {
		e, err := ingress.Look(ctx, s.Cloud, id, ingress.SSH)
		if err != nil {
			checks = append(checks, verdict.ChecksOf(err)...)
			continue
		}
		exposures[id] = e
		for _, v := range e.VNICs {
			groups = append(groups, v.NSGs...)
		}
	}
	slices.Sort(groups)
	swept, more := s.Keeper.Sweep(ctx, slices.Compact(groups))
	checks = append(checks, more...)
	var strangers []string
	for _, g := range swept {
		for _, d := range g.Closed {
			doors = append(doors, s.state("closed", d))
		}
		for _, d := range g.Open {
			doors = append(doors, s.state("open", d))
		}
		for _, d := range g.Foreign {
			doors, strangers = append(doors, s.state("foreign", d)), append(strangers, d.String())
		}
	}
	wanted := fmt.Sprintf("no rule in %d groups that lets the public in and is not a lease", len(swept))
	switch {
	case len(strangers) > 0:
		checks = append(checks, verdict.Refuse(Strangers, wanted, strings.Join(strangers, "\n"), "take them out in the stack that made them; nothing here touches a rule that it did not make").Check)
	case len(swept) > 0:
		checks = append(checks, verdict.Check{ID: Strangers, Verdict: verdict.Proven, Wanted: wanted, Got: "none"})
	}
	closed = len(s.Instances) > 0
	for _, id := range s.Instances {
		e := exposures[id]
		if e == nil { // why not is said above
			closed = false
			continue
		}
		door := Door{Cloud: s.Cloud, Keeper: s.Keeper, InstanceID: id, Probe: s.Probe, Waive: s.Waive, Logf: s.Logf}
		own := door.Closed(ctx)
		closed = closed && verdict.Of(own) == verdict.Proven
		checks = append(checks, verdict.About(e.Instance.Name, own)...)
	}
	for i := range checks {
		if checks[i].Verdict != verdict.Proven && slices.Contains(s.Waive, checks[i].ID) {
			checks[i].Waived = "waive"
		}
	}
	return doors, checks, closed
}

func (s *Sweep) state(state string, d ingress.Door) DoorState {
	s.Logf("%-7s  %s", state, d)
	out := DoorState{State: state, Where: d.Name, ID: d.ID, Rule: d.Rule.ID, Source: d.Rule.Source}
	if !d.Rule.Created.IsZero() {
		out.Opened = d.Rule.Created.UTC().Format(time.RFC3339)
	}
	if d.Lease != nil {
		out.Run, out.Node = d.Lease.Run, d.Lease.Node
		if end, ok := ingress.Ends(*d.Lease, d.Rule); ok {
			out.Expires = end.UTC().Format(time.RFC3339)
		}
	}
	return out
}
