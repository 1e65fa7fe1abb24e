package ingress

import (
	"testing"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

// Closed is a union: one rule of one list of one interface is enough.
func TestExposure(t *testing.T) {
	ssh, anyPort := &oci.Ports{Min: 22, Max: 22}, (*oci.Ports)(nil)
	rule := func(protocol, source string, ports *oci.Ports) oci.Rule {
		return oci.Rule{Protocol: protocol, Source: source, SourceType: "CIDR_BLOCK", Ports: ports}
	}
	stateless := rule("6", "0.0.0.0/0", ssh)
	stateless.Stateless = true
	group, service := rule("6", "ocid1.networksecuritygroup.oc1..x", ssh), rule("6", "all-fra-services-in-oracle-services-network", ssh)
	group.SourceType, service.SourceType = "NETWORK_SECURITY_GROUP", "SERVICE_CIDR_BLOCK"
	for name, tt := range map[string]struct {
		rule oci.Rule
		open bool
	}{
		"from anywhere":                 {rule("6", "0.0.0.0/0", ssh), true},
		"from anywhere, IPv6":           {rule("6", "::/0", ssh), true},
		"all ports of TCP":              {rule("6", "0.0.0.0/0", anyPort), true},
		"a range with it":               {rule("6", "0.0.0.0/0", &oci.Ports{Min: 1, Max: 1024}), true},
		"a range that ends with it":     {rule("6", "0.0.0.0/0", &oci.Ports{Min: 1, Max: 22}), true},
		"a range that begins after it":  {rule("6", "0.0.0.0/0", &oci.Ports{Min: 23, Max: 65535}), false},
		"a range that ends before it":   {rule("6", "0.0.0.0/0", &oci.Ports{Min: 1, Max: 21}), false},
		"all protocols":                 {rule("all", "0.0.0.0/0", anyPort), true},
		"no protocol that is known":     {rule("", "0.0.0.0/0", anyPort), true},
		"stateless":                     {stateless, true},
		"UDP":                           {rule("17", "0.0.0.0/0", anyPort), false},
		"ICMP":                          {rule("1", "0.0.0.0/0", anyPort), false},
		"one public address":            {rule("6", "198.51.100.7/32", ssh), true},
		"one public address, no length": {rule("6", "198.51.100.7", ssh), true},
		"half of the internet":          {rule("6", "128.0.0.0/1", ssh), true},
		"more than a private range":     {rule("6", "10.0.0.0/7", ssh), true},
		"a private range":               {rule("6", "10.0.0.0/8", ssh), false},
		"a part of one":                 {rule("6", "172.16.4.0/24", ssh), false},
		"another":                       {rule("6", "192.168.0.0/16", ssh), false},
		"the tailnet":                   {rule("6", "100.64.0.0/10", ssh), false},
		"unique local addresses":        {rule("6", "fd00:1::/32", ssh), false},
		"a source that can't be read":   {rule("6", "everybody", ssh), true},
		"no source":                     {rule("6", "", ssh), true},
		"a group of the same network":   {group, false},
		"the cloud's own services":      {service, false},
	} {
		if got := reaches(tt.rule, SSH); got != tt.open {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestLook(t *testing.T) {
	r := newRig(t, func(w *ocitest.World) { drop(w, &rig{}) })
	want(t, r.exposure().Check(), verdict.Proven, PublicSSH, "1 security list", "1 network security group", "1 interface")

	t.Run("the default list lets anybody in", func(t *testing.T) {
		r.server.Change(func(w *ocitest.World) { w.OpenDefaultList() })
		want(t, r.exposure().Check(), verdict.Disproven, PublicSSH, `security list "Default Security List for edge"`, "0.0.0.0/0", "in the stack")
	})
	t.Run("a group of another interface", func(t *testing.T) {
		r := newRig(t, func(w *ocitest.World) {
			drop(w, &rig{})
			second := w.AddNSG("forgotten", "", ocitest.SSHFrom("203.0.113.0/24", "old office"))
			w.AddVNIC(ocitest.Node{Name: "edge-1", InstanceID: w.Instances[0].ID, SubnetID: w.Subnets[0].ID}, "second", second)
		})
		want(t, r.exposure().Check(), verdict.Disproven, PublicSSH, `network security group "forgotten"`, "203.0.113.0/24", "old office")
	})
	t.Run("a lease is named as one", func(t *testing.T) {
		r := newRig(t, func(w *ocitest.World) { drop(w, &rig{}) })
		r.open()
		e := r.exposure()
		want(t, e.Check(), verdict.Disproven, PublicSSH, "owner/infra#12.1", "edge-1", "until", "ingress-sweep")
		want(t, Living(e, r.client.Now(), ""), verdict.Disproven, Busy, "owner/infra#12.1")
		if c := Living(e, e.Doors[0].Lease.Expires, ""); c.Verdict != verdict.Proven {
			t.Errorf("it has ended: %+v", c)
		}
	})
	// What may not be seen is not closed.
	for name, id := range map[string]func(*rig) string{
		"instance": func(r *rig) string { return r.node.InstanceID }, "interface": func(r *rig) string { return r.node.VNICID },
		"subnet": func(r *rig) string { return r.node.SubnetID }, "group": func(r *rig) string { return r.node.NSGID },
		"list": func(r *rig) string { return r.server.World().SecurityLists[0].ID },
	} {
		t.Run(name+" that may not be seen", func(t *testing.T) {
			r := newRig(t)
			r.server.Forbid(id(r))
			_, err := Look(t.Context(), r.client, r.node.InstanceID, SSH)
			refused(t, err, oci.MissingOrForbidden)
		})
	}
	t.Run("no interface", func(t *testing.T) {
		r := newRig(t)
		r.server.Change(func(w *ocitest.World) { w.VNICAttachments[0].LifecycleState = "DETACHED" })
		_, err := Look(t.Context(), r.client, r.node.InstanceID, SSH)
		refused(t, err, PublicSSH, "none")
	})
}

func TestChoose(t *testing.T) {
	r := newRig(t)
	if id, err := Choose(r.exposure(), ""); err != nil || id != r.node.NSGID {
		t.Errorf("%q, %v", id, err)
	}
	_, err := Choose(r.exposure(), "ocid1.networksecuritygroup.oc1..other")
	refused(t, err, Group, "attach it")
	var second string
	r.server.Change(func(w *ocitest.World) {
		second = w.AddNSG("second", "")
		w.VNICs[0].NSGIDs = append(w.VNICs[0].NSGIDs, second)
	})
	_, err = Choose(r.exposure(), "")
	refused(t, err, Group, "nsg_id")
	if id, err := Choose(r.exposure(), second); err != nil || id != second {
		t.Errorf("%q, %v", id, err)
	}
	r.server.Change(func(w *ocitest.World) { w.VNICs[0].NSGIDs = nil })
	_, err = Choose(r.exposure(), "")
	refused(t, err, Group, "attach an empty one")
}
