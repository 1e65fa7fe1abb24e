package ocitest

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"strings"
	"time"
)

// World is what exists. Its parts have the names of the API's own JSON, so
// that a world file can be read beside OCI's documentation.
type World struct {
	Region  string `json:"region"`
	Tenancy string `json:"tenancy"`
	User    string `json:"user"`
	// Compartments are OCIDs; a list of another one is a 404.
	Compartments      []string           `json:"compartments"`
	Instances         []Instance         `json:"instances"`
	VNICAttachments   []VNICAttachment   `json:"vnicAttachments"`
	VNICs             []VNIC             `json:"vnics"`
	Subnets           []Subnet           `json:"subnets"`
	SecurityLists     []SecurityList     `json:"securityLists"`
	NSGs              []NSG              `json:"networkSecurityGroups"`
	VolumeAttachments []VolumeAttachment `json:"volumeAttachments"`
	PrivateIPs        []PrivateIP        `json:"privateIps"`
	PublicIPs         []PublicIP         `json:"publicIps"`
	Bastions          []Bastion          `json:"bastions"`
	Sessions          []Session          `json:"sessions"`
	// Forbidden are OCIDs that the user may not see.
	Forbidden []string `json:"forbidden"`
}

// Instance is a machine.
type Instance struct {
	ID                 string    `json:"id"`
	DisplayName        string    `json:"displayName"`
	CompartmentID      string    `json:"compartmentId"`
	Region             string    `json:"region"`
	AvailabilityDomain string    `json:"availabilityDomain"`
	FaultDomain        string    `json:"faultDomain"`
	Shape              string    `json:"shape"`
	LifecycleState     string    `json:"lifecycleState"`
	TimeCreated        time.Time `json:"timeCreated"`
}

// VNICAttachment ties an interface to a machine.
type VNICAttachment struct {
	ID                 string    `json:"id"`
	CompartmentID      string    `json:"compartmentId"`
	AvailabilityDomain string    `json:"availabilityDomain"`
	InstanceID         string    `json:"instanceId"`
	VNICID             string    `json:"vnicId,omitempty"`
	SubnetID           string    `json:"subnetId,omitempty"`
	LifecycleState     string    `json:"lifecycleState"`
	TimeCreated        time.Time `json:"timeCreated"`
}

// VNIC is an interface.
type VNIC struct {
	ID                 string    `json:"id"`
	CompartmentID      string    `json:"compartmentId"`
	AvailabilityDomain string    `json:"availabilityDomain"`
	SubnetID           string    `json:"subnetId"`
	PrivateIP          string    `json:"privateIp,omitempty"`
	PublicIP           string    `json:"publicIp,omitempty"`
	IPv6Addresses      []string  `json:"ipv6Addresses,omitempty"`
	NSGIDs             []string  `json:"nsgIds"`
	IsPrimary          bool      `json:"isPrimary"`
	LifecycleState     string    `json:"lifecycleState"`
	TimeCreated        time.Time `json:"timeCreated"`
}

// Subnet is a subnet.
type Subnet struct {
	ID              string   `json:"id"`
	CompartmentID   string   `json:"compartmentId"`
	DisplayName     string   `json:"displayName"`
	VCNID           string   `json:"vcnId"`
	CIDRBlock       string   `json:"cidrBlock"`
	SecurityListIDs []string `json:"securityListIds"`
	LifecycleState  string   `json:"lifecycleState"`
	RouteTableID    string   `json:"routeTableId"`
	VirtualRouter   string   `json:"virtualRouterMac"`
}

// SecurityList is the rules of a subnet.
type SecurityList struct {
	ID             string    `json:"id"`
	CompartmentID  string    `json:"compartmentId"`
	DisplayName    string    `json:"displayName"`
	VCNID          string    `json:"vcnId"`
	LifecycleState string    `json:"lifecycleState"`
	TimeCreated    time.Time `json:"timeCreated"`
	Ingress        []Rule    `json:"ingressSecurityRules"`
	Egress         []Rule    `json:"egressSecurityRules"`
}

// NSG is a network security group. Its rules have a path of their own.
type NSG struct {
	ID             string    `json:"id"`
	CompartmentID  string    `json:"compartmentId"`
	DisplayName    string    `json:"displayName"`
	VCNID          string    `json:"vcnId"`
	LifecycleState string    `json:"lifecycleState"`
	TimeCreated    time.Time `json:"timeCreated"`
	Rules          []Rule    `json:"-"`
}

// MarshalJSON writes a group with its rules, as a world file has it; the API
// shows them elsewhere.
func (w *World) MarshalJSON() ([]byte, error) {
	type plain World
	rules := map[string][]Rule{}
	for _, g := range w.NSGs {
		rules[g.ID] = g.Rules
	}
	return json.MarshalIndent(struct {
		*plain
		Rules map[string][]Rule `json:"securityRules"`
	}{(*plain)(w), rules}, "", "  ")
}

// UnmarshalJSON reads what MarshalJSON has written.
func (w *World) UnmarshalJSON(data []byte) error {
	type plain World
	in := struct {
		*plain
		Rules map[string][]Rule `json:"securityRules"`
	}{plain: (*plain)(w)}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	for i, g := range w.NSGs {
		w.NSGs[i].Rules = in.Rules[g.ID]
	}
	return nil
}

// Rule is a rule of a group or a list.
type Rule struct {
	ID              string     `json:"id,omitempty"`
	Direction       string     `json:"direction,omitempty"` // INGRESS, EGRESS; "" in a list
	Description     string     `json:"description,omitempty"`
	Protocol        string     `json:"protocol"`
	Source          string     `json:"source,omitempty"`
	SourceType      string     `json:"sourceType,omitempty"`
	Destination     string     `json:"destination,omitempty"`
	DestinationType string     `json:"destinationType,omitempty"`
	IsStateless     bool       `json:"isStateless"`
	TCPOptions      *Options   `json:"tcpOptions,omitempty"`
	UDPOptions      *Options   `json:"udpOptions,omitempty"`
	TimeCreated     *time.Time `json:"timeCreated,omitempty"`
}

// Options are the ports of a rule.
type Options struct {
	DestinationPortRange *Range `json:"destinationPortRange,omitempty"`
	SourcePortRange      *Range `json:"sourcePortRange,omitempty"`
}

// Range is a range of ports.
type Range struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// SSHFrom is a rule that lets a source reach TCP port 22.
func SSHFrom(source, description string) Rule {
	return Rule{Protocol: "6", Source: source, SourceType: "CIDR_BLOCK", Description: description, TCPOptions: &Options{DestinationPortRange: &Range{22, 22}}}
}

// VolumeAttachment ties a volume to a machine.
type VolumeAttachment struct {
	AttachmentType     string    `json:"attachmentType"`
	ID                 string    `json:"id"`
	CompartmentID      string    `json:"compartmentId"`
	AvailabilityDomain string    `json:"availabilityDomain"`
	InstanceID         string    `json:"instanceId"`
	VolumeID           string    `json:"volumeId"`
	Device             string    `json:"device,omitempty"`
	IsReadOnly         bool      `json:"isReadOnly"`
	LifecycleState     string    `json:"lifecycleState"`
	TimeCreated        time.Time `json:"timeCreated"`
	IQN                string    `json:"iqn,omitempty"`
	IPv4               string    `json:"ipv4,omitempty"`
	Port               int       `json:"port,omitempty"`
	ChapUsername       string    `json:"chapUsername,omitempty"`
	ChapSecret         string    `json:"chapSecret,omitempty"`
}

// PrivateIP is an address inside a subnet.
type PrivateIP struct {
	ID        string `json:"id"`
	IPAddress string `json:"ipAddress"`
	VNICID    string `json:"vnicId,omitempty"`
	SubnetID  string `json:"subnetId"`
	IsPrimary bool   `json:"isPrimary"`
}

// PublicIP is an address that the internet reaches.
type PublicIP struct {
	ID                 string `json:"id"`
	CompartmentID      string `json:"compartmentId"`
	IPAddress          string `json:"ipAddress"`
	PrivateIPID        string `json:"privateIpId,omitempty"`
	Scope              string `json:"scope"` // REGION, AVAILABILITY_DOMAIN
	AvailabilityDomain string `json:"availabilityDomain,omitempty"`
	Lifetime           string `json:"lifetime"` // RESERVED, EPHEMERAL
}

// Bastion is a bastion.
type Bastion struct {
	ID                     string `json:"id"`
	Name                   string `json:"name"`
	CompartmentID          string `json:"compartmentId"`
	LifecycleState         string `json:"lifecycleState"`
	MaxSessionTTLInSeconds int    `json:"maxSessionTtlInSeconds"`
}

// Session is a session of a bastion.
type Session struct {
	ID                  string            `json:"id"`
	BastionID           string            `json:"bastionId"`
	BastionName         string            `json:"bastionName"`
	DisplayName         string            `json:"displayName"`
	LifecycleState      string            `json:"lifecycleState"`
	TimeCreated         time.Time         `json:"timeCreated"`
	SessionTTLInSeconds int               `json:"sessionTtlInSeconds"`
	BastionUserName     string            `json:"bastionUserName,omitempty"`
	SSHMetadata         map[string]string `json:"sshMetadata,omitempty"`
	HostKey             string            `json:"bastionPublicHostKeyInfo,omitempty"`
	KeyType             string            `json:"keyType,omitempty"`
	KeyDetails          map[string]string `json:"keyDetails,omitempty"`
	Target              Target            `json:"targetResourceDetails"`
	// Token is the opc-retry-token that it was made with, Looks how often it
	// was shown.
	Token string `json:"token,omitempty"`
	Looks int    `json:"looks,omitempty"`
}

// Target is where a session leads.
type Target struct {
	SessionType string `json:"sessionType"`
	PrivateIP   string `json:"targetResourcePrivateIpAddress"`
	Port        int    `json:"targetResourcePort"`
}

// OCID makes the id of a thing: the same for the same name.
func OCID(kind, region, name string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + name))
	return "ocid1." + kind + ".oc1." + region + ".a" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}
