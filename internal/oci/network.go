package oci

import (
	"context"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/core"
)

// VNIC is an interface.
type VNIC struct {
	ID, PrivateIP string
	// PublicIP is of the primary private address, or "" if that has none.
	PublicIP                       string
	IPv6                           []string
	SubnetID, CompartmentID, State string
	// NSGs are its network security groups, at most five.
	NSGs    []string
	Primary bool
}

// VNIC returns one interface.
func (c *Client) VNIC(ctx context.Context, id string) (out VNIC, err error) {
	err = c.do(ctx, op{name: "GetVnic", id: id, need: "inspect vnics", again: true}, func(ctx context.Context) error {
		v, err := c.network.GetVnic(ctx, core.GetVnicRequest{VnicId: &id})
		if err != nil {
			return err
		}
		out = VNIC{
			ID: or(v.Id), PrivateIP: or(v.PrivateIp), PublicIP: or(v.PublicIp), IPv6: v.Ipv6Addresses,
			SubnetID: or(v.SubnetId), CompartmentID: or(v.CompartmentId), State: string(v.LifecycleState), NSGs: v.NsgIds, Primary: or(v.IsPrimary),
		}
		return same(id, out.ID)
	})
	return out, err
}

// Subnet is a subnet with the lists that every interface in it obeys.
type Subnet struct {
	ID, Name, CompartmentID, VCNID string
	CIDR                           string // of IPv4
	SecurityLists                  []string
}

// Subnet returns one subnet.
func (c *Client) Subnet(ctx context.Context, id string) (out Subnet, err error) {
	err = c.do(ctx, op{name: "GetSubnet", id: id, need: "inspect subnets", again: true}, func(ctx context.Context) error {
		s, err := c.network.GetSubnet(ctx, core.GetSubnetRequest{SubnetId: &id})
		if err != nil {
			return err
		}
		out = Subnet{ID: or(s.Id), Name: or(s.DisplayName), CompartmentID: or(s.CompartmentId), VCNID: or(s.VcnId), CIDR: or(s.CidrBlock), SecurityLists: s.SecurityListIds}
		return same(id, out.ID)
	})
	return out, err
}

// PrivateIP is an address of an interface inside its subnet.
type PrivateIP struct {
	ID, Address, VNICID, SubnetID string
	Primary                       bool
}

// PrivateIPs returns all addresses that are in use in a subnet.
func (c *Client) PrivateIPs(ctx context.Context, subnetID string) ([]PrivateIP, error) {
	get := func(ctx context.Context, page *string) ([]core.PrivateIp, *string, error) {
		resp, err := c.network.ListPrivateIps(ctx, core.ListPrivateIpsRequest{SubnetId: &subnetID, Limit: common.Int(pageSize), Page: page})
		return resp.Items, resp.OpcNextPage, err
	}
	return pages(ctx, c, op{name: "ListPrivateIps", id: subnetID, need: "inspect private-ips", again: true}, get, func(p core.PrivateIp) (PrivateIP, error) {
		return PrivateIP{ID: or(p.Id), Address: or(p.IpAddress), VNICID: or(p.VnicId), SubnetID: or(p.SubnetId), Primary: or(p.IsPrimary)}, named(or(p.Id))
	})
}

// PublicIP is an address that the internet reaches.
type PublicIP struct {
	ID, Address string
	// PrivateIPID is what it leads to, or "" for a reserved address that leads
	// nowhere.
	PrivateIPID string
}

// PublicIPs returns the ephemeral addresses of an availability domain, or the
// reserved ones of the region if availabilityDomain is "": OCI keeps them in
// two scopes.
func (c *Client) PublicIPs(ctx context.Context, compartmentID, availabilityDomain string) ([]PublicIP, error) {
	scope, need := core.ListPublicIpsScopeRegion, "read public-ips"
	if availabilityDomain != "" {
		need = "inspect private-ips" // which the permission for ephemeral ones is part of
		scope = core.ListPublicIpsScopeAvailabilityDomain
	}
	get := func(ctx context.Context, page *string) ([]core.PublicIp, *string, error) {
		resp, err := c.network.ListPublicIps(ctx, core.ListPublicIpsRequest{CompartmentId: &compartmentID, Scope: scope, AvailabilityDomain: optional(availabilityDomain), Limit: common.Int(pageSize), Page: page})
		return resp.Items, resp.OpcNextPage, err
	}
	return pages(ctx, c, op{name: "ListPublicIps", id: compartmentID, need: need, again: true}, get, func(p core.PublicIp) (PublicIP, error) {
		return PublicIP{ID: or(p.Id), Address: or(p.IpAddress), PrivateIPID: or(p.PrivateIpId)}, named(or(p.Id))
	})
}
