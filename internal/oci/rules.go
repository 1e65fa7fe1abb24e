package oci

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/core"

	"edge-actions/internal/verdict"
)

// Ports is a range of destination ports, both ends included.
type Ports struct{ Min, Max int }

// Rule lets traffic in.
type Rule struct {
	// ID is the group's name for the rule, made by OCI; "" in a security list.
	ID          string
	Description string // at most 255 characters
	Protocol    string // "all", or IANA's number: "6" is TCP, "17" UDP, "1" ICMP, "58" ICMPv6
	Source      string // a CIDR block, the OCID of a group, or a service's label
	SourceType  string // CIDR_BLOCK, NETWORK_SECURITY_GROUP, SERVICE_CIDR_BLOCK
	// Ports is of TCP and UDP; nil is all of them.
	Ports     *Ports
	Stateless bool
	// Created is set by the server, by its own clock; zero in security lists.
	Created time.Time
}

// SecurityList is the rules that a subnet puts on all its interfaces.
type SecurityList struct {
	ID, Name string
	Ingress  []Rule
}

// SecurityList returns one list.
func (c *Client) SecurityList(ctx context.Context, id string) (out SecurityList, err error) {
	err = c.do(ctx, op{name: "GetSecurityList", id: id, need: "inspect security-lists", again: true}, func(ctx context.Context) error {
		l, err := c.network.GetSecurityList(ctx, core.GetSecurityListRequest{SecurityListId: &id})
		if err != nil {
			return err
		}
		if l.IngressSecurityRules == nil {
			return fmt.Errorf("an answer without ingressSecurityRules")
		}
		out = SecurityList{ID: or(l.Id), Name: or(l.DisplayName)}
		for _, r := range l.IngressSecurityRules {
			out.Ingress = append(out.Ingress, Rule{
				Description: or(r.Description), Protocol: or(r.Protocol), Source: or(r.Source), SourceType: sourceType(string(r.SourceType)),
				Ports: ports(or(r.Protocol), r.TcpOptions, r.UdpOptions), Stateless: or(r.IsStateless),
			})
		}
		return same(id, out.ID)
	})
	return out, err
}

// NSG is a network security group.
type NSG struct{ ID, Name, CompartmentID, VCNID, State string }

func nsg(g core.NetworkSecurityGroup) NSG {
	return NSG{ID: or(g.Id), Name: or(g.DisplayName), CompartmentID: or(g.CompartmentId), VCNID: or(g.VcnId), State: string(g.LifecycleState)}
}

// NSG returns one group.
func (c *Client) NSG(ctx context.Context, id string) (out NSG, err error) {
	err = c.do(ctx, op{name: "GetNetworkSecurityGroup", id: id, need: "read network-security-groups", again: true}, func(ctx context.Context) error {
		resp, err := c.network.GetNetworkSecurityGroup(ctx, core.GetNetworkSecurityGroupRequest{NetworkSecurityGroupId: &id})
		if err != nil {
			return err
		}
		out = nsg(resp.NetworkSecurityGroup)
		return same(id, out.ID)
	})
	return out, err
}

// NSGs returns the groups of one compartment.
func (c *Client) NSGs(ctx context.Context, compartmentID string) ([]NSG, error) {
	get := func(ctx context.Context, page *string) ([]core.NetworkSecurityGroup, *string, error) {
		resp, err := c.network.ListNetworkSecurityGroups(ctx, core.ListNetworkSecurityGroupsRequest{CompartmentId: &compartmentID, Limit: common.Int(pageSize), Page: page})
		return resp.Items, resp.OpcNextPage, err
	}
	return pages(ctx, c, op{name: "ListNetworkSecurityGroups", id: compartmentID, need: "read network-security-groups", again: true}, get, func(g core.NetworkSecurityGroup) (NSG, error) {
		return nsg(g), named(or(g.Id))
	})
}

// IngressRules returns the rules of a group that let traffic in.
func (c *Client) IngressRules(ctx context.Context, nsgID string) ([]Rule, error) {
	all, err := c.rules(ctx, nsgID, core.ListNetworkSecurityGroupSecurityRulesDirectionIngress)
	if err != nil {
		return nil, err
	}
	var out []Rule
	for _, r := range all {
		if r.Direction != core.SecurityRuleDirectionEgress {
			out = append(out, rule(r))
		}
	}
	return out, nil
}

// RuleCount is the number of a group's rules of both directions, of which OCI
// allows 120 together.
func (c *Client) RuleCount(ctx context.Context, nsgID string) (int, error) {
	all, err := c.rules(ctx, nsgID, "")
	return len(all), err
}

func (c *Client) rules(ctx context.Context, nsgID string, direction core.ListNetworkSecurityGroupSecurityRulesDirectionEnum) ([]core.SecurityRule, error) {
	get := func(ctx context.Context, page *string) ([]core.SecurityRule, *string, error) {
		resp, err := c.network.ListNetworkSecurityGroupSecurityRules(ctx, core.ListNetworkSecurityGroupSecurityRulesRequest{NetworkSecurityGroupId: &nsgID, Direction: direction, Limit: common.Int(pageSize), Page: page})
		return resp.Items, resp.OpcNextPage, err
	}
	return pages(ctx, c, op{name: "ListNetworkSecurityGroupSecurityRules", id: nsgID, need: "use network-security-groups", again: true}, get, func(r core.SecurityRule) (core.SecurityRule, error) {
		return r, named(or(r.Id))
	})
}

func rule(r core.SecurityRule) Rule {
	return Rule{
		ID: or(r.Id), Description: or(r.Description), Protocol: or(r.Protocol), Source: or(r.Source), SourceType: sourceType(string(r.SourceType)),
		Ports: ports(or(r.Protocol), r.TcpOptions, r.UdpOptions), Stateless: or(r.IsStateless), Created: or(r.TimeCreated).Time,
	}
}

func sourceType(s string) string {
	if s == "" {
		return "CIDR_BLOCK" // the documented default
	}
	return s
}

// ports reads the options of the rule's protocol. A rule for one source port
// only has options without a destination, which is any destination.
func ports(protocol string, tcp *core.TcpOptions, udp *core.UdpOptions) *Ports {
	var r *core.PortRange
	switch {
	case protocol == "6" && tcp != nil:
		r = tcp.DestinationPortRange
	case protocol == "17" && udp != nil:
		r = udp.DestinationPortRange
	}
	if r == nil || r.Min == nil || r.Max == nil {
		return nil
	}
	return &Ports{*r.Min, *r.Max}
}

// AddRule adds one rule to a group and returns it as OCI has made it. There is
// one attempt: the API has neither an etag nor a retry token here, so after an
// error that is Ambiguous only a list shows whether the rule is there.
func (c *Client) AddRule(ctx context.Context, nsgID string, r Rule) (out Rule, err error) {
	d := core.AddSecurityRuleDetails{
		Direction: core.AddSecurityRuleDetailsDirectionIngress, Protocol: &r.Protocol, Source: &r.Source,
		SourceType: core.AddSecurityRuleDetailsSourceTypeEnum(sourceType(r.SourceType)), Description: optional(r.Description), IsStateless: &r.Stateless,
	}
	if r.Ports != nil {
		dst := &core.PortRange{Min: &r.Ports.Min, Max: &r.Ports.Max}
		switch r.Protocol {
		case "6":
			d.TcpOptions = &core.TcpOptions{DestinationPortRange: dst}
		case "17":
			d.UdpOptions = &core.UdpOptions{DestinationPortRange: dst}
		default:
			return out, verdict.Refuse(Refused, "ports with the protocol 6 or 17", "the protocol "+quote(r.Protocol), "leave the ports out")
		}
	}
	o := op{name: "AddNetworkSecurityGroupSecurityRules", id: nsgID, need: "manage network-security-groups", change: true}
	err = c.do(ctx, o, func(ctx context.Context) error {
		req := core.AddNetworkSecurityGroupSecurityRulesRequest{NetworkSecurityGroupId: &nsgID}
		req.SecurityRules = []core.AddSecurityRuleDetails{d}
		resp, err := c.network.AddNetworkSecurityGroupSecurityRules(ctx, req)
		if err != nil {
			return err
		}
		if n := len(resp.SecurityRules); n != 1 {
			return fmt.Errorf("%d rules came back for one", n)
		}
		out = rule(resp.SecurityRules[0])
		if out.Description != r.Description {
			return fmt.Errorf("another rule came back: %s", quote(out.Description))
		}
		return named(out.ID)
	})
	if err != nil {
		return Rule{}, err
	}
	return out, nil
}

// maxRemoved is the most ids of one request; the documentation has it as the
// array's size.
const maxRemoved = 25

// RemoveRules takes rules out of a group. What the API says of a rule that is
// gone already is not documented, and after a lost answer all of them are: so
// if it refuses, the group's list decides, and no error means that the rules
// were removed or are not in the list.
func (c *Client) RemoveRules(ctx context.Context, nsgID string, ids ...string) error {
	for chunk := range slices.Chunk(ids, maxRemoved) {
		err := c.remove(ctx, nsgID, chunk)
		switch status(err) {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed:
		default:
			if err != nil {
				return err
			}
			continue
		}
		left, listErr := c.still(ctx, nsgID, chunk)
		switch {
		case listErr != nil || len(left) == len(chunk):
			return err
		case len(left) > 0:
			if err := c.remove(ctx, nsgID, left); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Client) remove(ctx context.Context, nsgID string, ids []string) error {
	for _, id := range ids {
		if !validID(id) {
			return verdict.Refuse(Refused, "the id of a rule", quote(id), "see where that id comes from")
		}
	}
	o := op{name: "RemoveNetworkSecurityGroupSecurityRules", id: nsgID, need: "manage network-security-groups", again: true, change: true}
	return c.do(ctx, o, func(ctx context.Context) error {
		req := core.RemoveNetworkSecurityGroupSecurityRulesRequest{NetworkSecurityGroupId: &nsgID}
		req.SecurityRuleIds = ids
		_, err := c.network.RemoveNetworkSecurityGroupSecurityRules(ctx, req)
		return err
	})
}

// still returns those of the ids that the group's list has.
func (c *Client) still(ctx context.Context, nsgID string, ids []string) ([]string, error) {
	all, err := c.rules(ctx, nsgID, "")
	if err != nil {
		return nil, err
	}
	var left []string
	for _, r := range all {
		if slices.Contains(ids, or(r.Id)) {
			left = append(left, or(r.Id))
		}
	}
	return left, nil
}
