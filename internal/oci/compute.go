package oci

import (
	"context"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/core"
)

// Instance is a machine.
type Instance struct {
	ID, Name, CompartmentID, Region, AvailabilityDomain, FaultDomain, Shape string
	// State is OCI's lifecycleState, like RUNNING or TERMINATED. A machine is
	// listed for some time after it was terminated.
	State   string
	Created time.Time
}

// Instance returns one machine.
func (c *Client) Instance(ctx context.Context, id string) (out Instance, err error) {
	err = c.do(ctx, op{name: "GetInstance", id: id, need: "read instances", again: true}, func(ctx context.Context) error {
		resp, err := c.compute.GetInstance(ctx, core.GetInstanceRequest{InstanceId: &id})
		if err != nil {
			return err
		}
		out = instance(resp.Instance)
		return same(id, out.ID)
	})
	return out, err
}

// Instances returns the machines of one compartment, those below it not.
func (c *Client) Instances(ctx context.Context, compartmentID string) ([]Instance, error) {
	get := func(ctx context.Context, page *string) ([]core.Instance, *string, error) {
		resp, err := c.compute.ListInstances(ctx, core.ListInstancesRequest{CompartmentId: &compartmentID, Limit: common.Int(pageSize), Page: page})
		return resp.Items, resp.OpcNextPage, err
	}
	return pages(ctx, c, op{name: "ListInstances", id: compartmentID, need: "inspect instances", again: true}, get, func(i core.Instance) (Instance, error) {
		out := instance(i)
		return out, named(out.ID)
	})
}

func instance(i core.Instance) Instance {
	return Instance{
		ID: or(i.Id), Name: or(i.DisplayName), CompartmentID: or(i.CompartmentId), Region: or(i.Region),
		AvailabilityDomain: or(i.AvailabilityDomain), FaultDomain: or(i.FaultDomain), Shape: or(i.Shape),
		State: string(i.LifecycleState), Created: or(i.TimeCreated).Time,
	}
}

// VNICAttachment ties an interface to a machine.
type VNICAttachment struct {
	ID, InstanceID string
	// VNICID and SubnetID are empty while it is being attached.
	VNICID, SubnetID string
	State            string // ATTACHING, ATTACHED, DETACHING, DETACHED
}

// VNICAttachments returns those of one machine in its compartment, or of all
// if instanceID is "". One that was detached is listed for some time.
func (c *Client) VNICAttachments(ctx context.Context, compartmentID, instanceID string) ([]VNICAttachment, error) {
	get := func(ctx context.Context, page *string) ([]core.VnicAttachment, *string, error) {
		resp, err := c.compute.ListVnicAttachments(ctx, core.ListVnicAttachmentsRequest{CompartmentId: &compartmentID, InstanceId: optional(instanceID), Limit: common.Int(pageSize), Page: page})
		return resp.Items, resp.OpcNextPage, err
	}
	return pages(ctx, c, op{name: "ListVnicAttachments", id: compartmentID, need: "inspect vnic-attachments (and instances)", again: true}, get, func(a core.VnicAttachment) (VNICAttachment, error) {
		return VNICAttachment{ID: or(a.Id), InstanceID: or(a.InstanceId), VNICID: or(a.VnicId), SubnetID: or(a.SubnetId), State: string(a.LifecycleState)}, named(or(a.Id))
	})
}

// VolumeAttachment ties a block volume to a machine. The CHAP secret, which
// OCI's answer has in clear, is left out.
type VolumeAttachment struct {
	ID, InstanceID, VolumeID string
	Type                     string // iscsi, paravirtualized, emulated, nvme, or "" if it is none of them
	Device                   string // a consistent path like /dev/oracleoci/oraclevdb, or ""
	State                    string // ATTACHING, ATTACHED, DETACHING, DETACHED
	ReadOnly                 bool
	// IQN, IPv4 and Port are of iscsi only.
	IQN, IPv4 string
	Port      int
}

// VolumeAttachments returns those of one machine in its compartment, or of
// all if instanceID is "". The boot volume is not among them.
func (c *Client) VolumeAttachments(ctx context.Context, compartmentID, instanceID string) ([]VolumeAttachment, error) {
	get := func(ctx context.Context, page *string) ([]core.VolumeAttachment, *string, error) {
		resp, err := c.compute.ListVolumeAttachments(ctx, core.ListVolumeAttachmentsRequest{CompartmentId: &compartmentID, InstanceId: optional(instanceID), Limit: common.Int(pageSize), Page: page})
		return resp.Items, resp.OpcNextPage, err
	}
	return pages(ctx, c, op{name: "ListVolumeAttachments", id: compartmentID, need: "inspect volume-attachments", again: true}, get, volumeAttachment)
}

func volumeAttachment(a core.VolumeAttachment) (VolumeAttachment, error) {
	if a == nil {
		return VolumeAttachment{}, errNoID
	}
	out := VolumeAttachment{
		ID: or(a.GetId()), InstanceID: or(a.GetInstanceId()), VolumeID: or(a.GetVolumeId()), Device: or(a.GetDevice()),
		State: string(a.GetLifecycleState()), ReadOnly: or(a.GetIsReadOnly()),
	}
	switch a := a.(type) {
	case core.IScsiVolumeAttachment:
		out.Type, out.IQN, out.IPv4, out.Port = "iscsi", or(a.Iqn), or(a.Ipv4), or(a.Port)
	case core.ParavirtualizedVolumeAttachment:
		out.Type = "paravirtualized"
	case core.EmulatedVolumeAttachment:
		out.Type = "emulated"
	case core.NvmeVolumeAttachment:
		out.Type = "nvme"
	}
	return out, named(out.ID)
}

func named(id string) error {
	if id == "" {
		return errNoID
	}
	return nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
