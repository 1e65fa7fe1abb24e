package ocitest

import (
	"fmt"
	"slices"
	"time"
)

const (
	region = "eu-frankfurt-1"
	domain = "kIdk:EU-FRANKFURT-1-AD-1"
)

// epoch is when everything in a standard world was made.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Standard returns a world with one compartment, one subnet whose only list
// lets no SSH in from outside, one bastion, and no machine.
func Standard() *World {
	id := func(kind, name string) string { return OCID(kind, region, name) }
	w := &World{Region: region, Tenancy: OCID("tenancy", "", "tenancy"), User: OCID("user", "", "user")}
	w.Compartments = []string{w.Tenancy, OCID("compartment", "", "edge")}
	w.SecurityLists = []SecurityList{{
		ID: id("securitylist", "default"), CompartmentID: w.Compartment(), DisplayName: "Default Security List for edge", VCNID: id("vcn", "edge"), LifecycleState: "AVAILABLE", TimeCreated: epoch,
		Ingress: []Rule{
			{Protocol: "1", Source: "0.0.0.0/0", SourceType: "CIDR_BLOCK"},
			{Protocol: "6", Source: "10.0.0.0/16", SourceType: "CIDR_BLOCK"},
		},
		Egress: []Rule{{Protocol: "all", Destination: "0.0.0.0/0", DestinationType: "CIDR_BLOCK"}},
	}}
	w.Subnets = []Subnet{{
		ID: id("subnet", "edge"), CompartmentID: w.Compartment(), DisplayName: "edge", VCNID: id("vcn", "edge"), CIDRBlock: "10.0.0.0/24", LifecycleState: "AVAILABLE",
		SecurityListIDs: []string{w.SecurityLists[0].ID}, RouteTableID: id("routetable", "edge"), VirtualRouter: "00:00:17:00:00:01",
	}}
	w.Bastions = []Bastion{{ID: id("bastion", "edge"), Name: "edge", CompartmentID: w.Compartment(), LifecycleState: "ACTIVE", MaxSessionTTLInSeconds: 10800}}
	return w
}

// Compartment is the compartment of all that Standard and AddNode make.
func (w *World) Compartment() string { return w.Compartments[1] }

// Node is what a test needs to know of a machine.
type Node struct {
	Name, InstanceID, VNICID, PrivateIP, PublicIP, NSGID, SubnetID string
}

// NodeOption changes what AddNode makes.
type NodeOption func(*World, *Node)

// WithPublicIP gives the node this public address.
func WithPublicIP(addr string) NodeOption { return func(_ *World, n *Node) { n.PublicIP = addr } }

// WithPrivateIP gives the node this private address.
func WithPrivateIP(addr string) NodeOption { return func(_ *World, n *Node) { n.PrivateIP = addr } }

// WithNSG puts the node in this group instead of one of its own; "" is none.
func WithNSG(id string) NodeOption { return func(_ *World, n *Node) { n.NSGID = id } }

// AddNode adds a running machine with one interface in the standard subnet, a
// private and a public address, and a group of its own without rules.
func (w *World) AddNode(name string, options ...NodeOption) Node {
	number := 10 + len(w.Instances)
	n := Node{
		Name: name, InstanceID: OCID("instance", region, name), VNICID: OCID("vnic", region, name), SubnetID: w.Subnets[0].ID,
		PrivateIP: fmt.Sprintf("10.0.0.%d", number), PublicIP: fmt.Sprintf("203.0.113.%d", number), NSGID: OCID("networksecuritygroup", region, name),
	}
	for _, o := range options {
		o(w, &n)
	}
	w.Instances = append(w.Instances, Instance{
		ID: n.InstanceID, DisplayName: name, CompartmentID: w.Compartment(), Region: region, AvailabilityDomain: domain, FaultDomain: "FAULT-DOMAIN-1",
		Shape: "VM.Standard.A1.Flex", LifecycleState: "RUNNING", TimeCreated: epoch,
	})
	var groups []string
	if n.NSGID != "" {
		groups = []string{n.NSGID}
		if w.nsg(n.NSGID) == nil {
			w.AddNSG(name+"-ssh", n.NSGID)
		}
	}
	w.addVNIC(n, n.VNICID, n.PrivateIP, n.PublicIP, true, groups)
	return n
}

// AddNSG adds a group. Its id is made from its name if it is "".
func (w *World) AddNSG(name, id string, rules ...Rule) string {
	if id == "" {
		id = OCID("networksecuritygroup", region, name)
	}
	w.NSGs = append(w.NSGs, NSG{ID: id, CompartmentID: w.Compartment(), DisplayName: name, VCNID: w.Subnets[0].VCNID, LifecycleState: "AVAILABLE", TimeCreated: epoch})
	for _, r := range rules {
		w.AddRule(id, r)
	}
	return id
}

// AddRule adds an ingress rule to a group, as somebody at the console would.
// It returns its id.
func (w *World) AddRule(nsgID string, r Rule) string {
	g := w.nsg(nsgID)
	if r.Direction == "" {
		r.Direction = "INGRESS"
	}
	if r.ID == "" {
		r.ID = ruleID()
	}
	if r.TimeCreated == nil {
		r.TimeCreated = &epoch
	}
	g.Rules = append(g.Rules, r)
	return r.ID
}

// AddVNIC gives a machine one more interface, without a public address. It
// returns its id.
func (w *World) AddVNIC(n Node, name string, groups ...string) string {
	id := OCID("vnic", region, n.Name+"/"+name)
	w.addVNIC(n, id, fmt.Sprintf("10.0.0.%d", 100+len(w.VNICs)), "", false, groups)
	return id
}

func (w *World) addVNIC(n Node, id, private, public string, primary bool, groups []string) {
	w.VNICs = append(w.VNICs, VNIC{
		ID: id, CompartmentID: w.Compartment(), AvailabilityDomain: domain, SubnetID: n.SubnetID, PrivateIP: private, PublicIP: public,
		NSGIDs: groups, IsPrimary: primary, LifecycleState: "AVAILABLE", TimeCreated: epoch,
	})
	w.VNICAttachments = append(w.VNICAttachments, VNICAttachment{
		ID: OCID("vnicattachment", region, id), CompartmentID: w.Compartment(), AvailabilityDomain: domain, InstanceID: n.InstanceID, VNICID: id, SubnetID: n.SubnetID,
		LifecycleState: "ATTACHED", TimeCreated: epoch,
	})
	ip := PrivateIP{ID: OCID("privateip", region, id), IPAddress: private, VNICID: id, SubnetID: n.SubnetID, IsPrimary: true}
	w.PrivateIPs = append(w.PrivateIPs, ip)
	if public != "" {
		w.PublicIPs = append(w.PublicIPs, PublicIP{
			ID: OCID("publicip", region, id), CompartmentID: w.Compartment(), IPAddress: public, PrivateIPID: ip.ID,
			Scope: "AVAILABILITY_DOMAIN", AvailabilityDomain: domain, Lifetime: "EPHEMERAL",
		})
	}
}

// ReservePublicIP adds a reserved address that leads to the node's.
func (w *World) ReservePublicIP(n Node, addr string) {
	w.PublicIPs = append(w.PublicIPs, PublicIP{
		ID: OCID("publicip", region, addr), CompartmentID: w.Compartment(), IPAddress: addr, PrivateIPID: OCID("privateip", region, n.VNICID), Scope: "REGION", Lifetime: "RESERVED",
	})
}

// AddVolume attaches a volume: kind is iscsi, paravirtualized or emulated. An
// iscsi one has a CHAP secret. It returns the volume's id.
func (w *World) AddVolume(n Node, name, kind, device string) string {
	a := VolumeAttachment{
		AttachmentType: kind, ID: OCID("volumeattachment", region, n.Name+"/"+name), CompartmentID: w.Compartment(), AvailabilityDomain: domain,
		InstanceID: n.InstanceID, VolumeID: OCID("volume", region, name), Device: device, LifecycleState: "ATTACHED", TimeCreated: epoch,
	}
	if kind == "iscsi" {
		a.IQN, a.IPv4, a.Port = "iqn.2015-12.com.oracleiaas:"+name, "169.254.2.2", 3260
		a.ChapUsername, a.ChapSecret = "chap-user", "chap-secret-that-nobody-may-see"
	}
	w.VolumeAttachments = append(w.VolumeAttachments, a)
	return a.VolumeID
}

// OpenDefaultList makes the default list what a new network's is: TCP 22 from
// anywhere.
func (w *World) OpenDefaultList() {
	w.SecurityLists[0].Ingress = append(w.SecurityLists[0].Ingress, SSHFrom("0.0.0.0/0", ""))
}

func (w *World) nsg(id string) *NSG {
	if i := slices.IndexFunc(w.NSGs, func(g NSG) bool { return g.ID == id }); i >= 0 {
		return &w.NSGs[i]
	}
	return nil
}

// NSG returns a group of the world, or a panic if there is none.
func (w *World) NSG(id string) NSG {
	g := w.nsg(id)
	if g == nil {
		panic("no network security group " + id)
	}
	return *g
}
