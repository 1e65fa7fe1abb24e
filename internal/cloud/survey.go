package cloud

import (
	"context"
	"fmt"

	"edge-actions/internal/handoff"
	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

// maxMissing is after how many instances that may not be seen no other is asked
// for: each is a call, and something is wrong with more than one of them.
const maxMissing = 20

// survey is what has been read of the cloud. Each list is read once, if it is
// needed; one that could not be read is a gap.
type survey struct {
	client       *oci.Client
	instances    map[string]oci.Instance
	compartments map[string]*compartment
	subnets      map[string]*subnet
	scopes       map[[2]string]*gap // of public addresses: compartment and availability domain, or ""
	public       map[string]string  // addresses by the private ones that they lead to
	gaps         []*gap
}

func newSurvey(client *oci.Client) *survey {
	return &survey{
		client: client, instances: map[string]oci.Instance{}, compartments: map[string]*compartment{},
		subnets: map[string]*subnet{}, scopes: map[[2]string]*gap{}, public: map[string]string{},
	}
}

// compartment is what is attached to the instances of one, by instance.
type compartment struct {
	interfaces              map[string][]oci.VNICAttachment
	volumes                 map[string][]oci.VolumeAttachment
	noInterfaces, noVolumes *gap
}

// subnet is the primary private addresses in one, by interface.
type subnet struct {
	addresses map[string]oci.PrivateIP
	unread    *gap
}

// missing notes that something could not be seen.
func (s *survey) missing(what string, err error) *gap {
	g := &gap{what: what, err: err}
	s.gaps = append(s.gaps, g)
	return g
}

// unseen is the gaps that some node depends on.
func (s *survey) unseen() []error {
	var out []error
	for _, g := range s.gaps {
		if len(g.nodes) > 0 {
			out = append(out, g.refusal())
		}
	}
	return out
}

// find finds the instances. An instance says in which compartment it is; most
// of the others are there too.
func (s *survey) find(ctx context.Context, nodes []*handoff.Node) {
	var end *gap // for which nothing else is asked for
	missing := 0
	for _, n := range nodes {
		if _, ok := s.instances[n.InstanceID]; ok {
			continue
		}
		if end != nil {
			end.of(n)
			continue
		}
		in, err := s.client.Instance(ctx, n.InstanceID)
		if err != nil {
			g := s.missing("its instance in the cloud", err)
			g.of(n)
			if n.Region != "" && n.Region != s.client.Region() {
				g.hint = fmt.Sprintf("the handoff has it in %q, and %q was asked: set oci_region, and hand over the nodes of each region on their own", n.Region, s.client.Region())
			}
			if missing++; !verdict.Has(err, oci.MissingOrForbidden) {
				end = g
			} else if missing == maxMissing {
				end = s.missing("their instances in the cloud", verdict.CannotTell(oci.MissingOrForbidden, "", fmt.Errorf("not asked for, after %d others that may not be seen", missing), "see those first"))
			}
			continue
		}
		s.instances[in.ID] = in
		if s.compartments[in.CompartmentID] == nil {
			end = s.open(ctx, in.CompartmentID)
		}
	}
	// All of these before any is compared: an address that is reserved in one
	// compartment may lead to a machine in another.
	for _, n := range nodes {
		if in, ok := s.instances[n.InstanceID]; ok && !gone(in) {
			s.publicAddresses(ctx, in.CompartmentID, "")
			s.publicAddresses(ctx, in.CompartmentID, in.AvailabilityDomain)
		}
	}
}

// open reads the lists of one compartment. It returns a gap if its instances
// could not be listed: to ask for each by itself would be a call a node.
func (s *survey) open(ctx context.Context, id string) *gap {
	c := &compartment{interfaces: map[string][]oci.VNICAttachment{}, volumes: map[string][]oci.VolumeAttachment{}}
	s.compartments[id] = c
	if list, err := s.client.VNICAttachments(ctx, id, ""); err != nil {
		c.noInterfaces = s.missing("the primary interface in the cloud", err)
	} else {
		for _, a := range list {
			c.interfaces[a.InstanceID] = append(c.interfaces[a.InstanceID], a)
		}
	}
	if list, err := s.client.VolumeAttachments(ctx, id, ""); err != nil {
		c.noVolumes = s.missing("the volumes in the cloud", err)
	} else {
		for _, a := range list {
			c.volumes[a.InstanceID] = append(c.volumes[a.InstanceID], a)
		}
	}
	list, err := s.client.Instances(ctx, id)
	if err != nil {
		return s.missing("the instance in the cloud", err)
	}
	for _, in := range list {
		in.CompartmentID = id // which is where its attachments were read
		s.instances[in.ID] = in
	}
	return nil
}

// privateAddresses reads those of a subnet.
func (s *survey) privateAddresses(ctx context.Context, id string) *subnet {
	if found, ok := s.subnets[id]; ok {
		return found
	}
	out := &subnet{addresses: map[string]oci.PrivateIP{}}
	s.subnets[id] = out
	list, err := s.client.PrivateIPs(ctx, id)
	if err != nil {
		out.unread = s.missing("the addresses in the cloud", err)
	}
	for _, ip := range list {
		if ip.Primary {
			out.addresses[ip.VNICID] = ip
		}
	}
	return out
}

// publicAddresses reads those of an availability domain in a compartment, or
// those that are reserved there if domain is "". It returns a gap if they
// could not be read.
func (s *survey) publicAddresses(ctx context.Context, compartmentID, domain string) *gap {
	scope := [2]string{compartmentID, domain}
	if g, ok := s.scopes[scope]; ok {
		return g
	}
	s.scopes[scope] = nil
	list, err := s.client.PublicIPs(ctx, compartmentID, domain)
	if err != nil {
		s.scopes[scope] = s.missing("the public addresses in the cloud", err)
	}
	for _, ip := range list {
		if ip.PrivateIPID != "" {
			s.public[ip.PrivateIPID] = ip.Address
		}
	}
	return s.scopes[scope]
}
