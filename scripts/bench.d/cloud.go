package main

import (
	"context"
	"fmt"

	"edge-actions/internal/cloud"
	"edge-actions/internal/handoff"
	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
)

const (
	verifyNodes  = 200
	verifyTarget = 0.1
)

// verify counts the calls that it takes to hold a handoff against the cloud,
// against one set of calls a node, of the same facts in the same cloud.
func (b *bench) verify() error {
	w, doc := ocitest.Standard(), &handoff.Document{}
	for i := range verifyNodes {
		private, public := fmt.Sprintf("10.0.0.%d", 1+i), fmt.Sprintf("198.18.0.%d", 1+i)
		n := w.AddNode(fmt.Sprintf("edge-%d", i), ocitest.WithPrivateIP(private), ocitest.WithPublicIP(public), ocitest.WithNSG(""))
		volume := w.AddVolume(n, n.Name+"-data", "paravirtualized", "/dev/oracleoci/oraclevdb")
		doc.Nodes = append(doc.Nodes, handoff.Node{
			Name: n.Name, Hostname: n.Name, InstanceID: n.InstanceID, PrivateIP: private, PublicIP: public, Region: w.Region, SubnetID: n.SubnetID,
			VolumeAttachments: []handoff.VolumeAttachment{{AttachmentType: "paravirtualized", Device: "/dev/oracleoci/oraclevdb", VolumeID: volume}},
		})
	}
	compartment := w.Compartment()
	s, err := ocitest.Start(w)
	if err != nil {
		return err
	}
	defer s.Close()
	calls := func(ask func(*oci.Client) error) (float64, error) {
		client, err := oci.New(b.ctx, s.Options())
		if err != nil {
			return 0, err
		}
		err = ask(client)
		return float64(client.Calls()), err
	}
	ours, err := calls(func(c *oci.Client) error {
		_, err := cloud.Verify(b.ctx, c, doc)
		return err
	})
	if err != nil {
		return err
	}
	sets, err := calls(func(c *oci.Client) error {
		for _, n := range doc.Nodes {
			if err := oneByOne(b.ctx, c, compartment, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.add(row{fmt.Sprintf("calls to verify %d nodes", verifyNodes), fmt.Sprintf("%.0f", ours), fmt.Sprintf("%.0f (one set a node)", sets), fmt.Sprintf("%.3f", ours/sets), fmt.Sprintf("<= %.1f", verifyTarget), ours/sets <= verifyTarget})
	return nil
}

// oneByOne asks for what Verify looks at, of one node.
func oneByOne(ctx context.Context, c *oci.Client, compartment string, n handoff.Node) error {
	in, err := c.Instance(ctx, n.InstanceID)
	if err != nil {
		return err
	}
	interfaces, err := c.VNICAttachments(ctx, compartment, in.ID)
	if err != nil {
		return err
	}
	if len(interfaces) != 1 {
		return fmt.Errorf("%s has %d interfaces", n.Name, len(interfaces))
	}
	vnic, err := c.VNIC(ctx, interfaces[0].VNICID)
	if err != nil {
		return err
	}
	if vnic.PublicIP != n.PublicIP {
		return fmt.Errorf("%s is at %s", n.Name, vnic.PublicIP)
	}
	if _, err := c.Subnet(ctx, vnic.SubnetID); err != nil {
		return err
	}
	volumes, err := c.VolumeAttachments(ctx, compartment, in.ID)
	if err == nil && len(volumes) != 1 {
		err = fmt.Errorf("%s has %d volumes", n.Name, len(volumes))
	}
	return err
}
