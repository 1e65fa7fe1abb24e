// Package ingress opens one door in a cloud's firewall for one run and sees
// that it closes: a lease is a rule for one source address and one port whose
// description says whose it is and when it ends, so that anybody who finds it
// later can close it, whatever became of the run. It refuses to take away a
// rule that is not a lease that has ended, to open a door that nobody could
// find again, and to call a machine closed of which any list was not read.
package ingress

import (
	"context"
	"time"

	"edge-actions/internal/oci"
)

// The ids of the checks and refusals of this package.
const (
	// Opened is the lease's rule, seen in the cloud's own list.
	Opened = "ingress-lease"
	// Closed is the lease's rule, seen to be absent from that list.
	Closed = "ingress-lease-closed"
	// PublicSSH is the union of all security lists and network security groups
	// of all the machine's interfaces: none lets a public address reach SSH.
	PublicSSH = "public-ssh-rules"
	// Busy is a lease of a run that is under way.
	Busy = "ingress-busy"
	// Full is a network security group without room for one rule more.
	Full = "ingress-nsg-full"
	// Group is which network security group the rule goes to.
	Group = "ingress-nsg"
	// OwnAddress is the runner's public address.
	OwnAddress = "runner-address"
	// Expired is a lease that ended before the work did.
	Expired = "ingress-expired"
	// Record is the file on the runner that remembers a lease.
	Record = "ingress-record"
)

// Most is the longest that a lease can be open, by the cloud's own time of its
// rule: whatever else its description says.
const Most = 4 * time.Hour

// SSH is the port of the door.
const SSH = 22

// Limits of OCI: rules of both directions in one network security group, and
// characters of a rule's description.
const (
	maxRules       = 120
	maxDescription = 255
)

// Cloud is what a lease asks of the cloud; *oci.Client answers.
type Cloud interface {
	// Now is the cloud's clock, by its last answer; zero before the first one.
	Now() time.Time
	Instance(ctx context.Context, id string) (oci.Instance, error)
	VNICAttachments(ctx context.Context, compartmentID, instanceID string) ([]oci.VNICAttachment, error)
	VNIC(ctx context.Context, id string) (oci.VNIC, error)
	Subnet(ctx context.Context, id string) (oci.Subnet, error)
	SecurityList(ctx context.Context, id string) (oci.SecurityList, error)
	NSG(ctx context.Context, id string) (oci.NSG, error)
	IngressRules(ctx context.Context, nsgID string) ([]oci.Rule, error)
	RuleCount(ctx context.Context, nsgID string) (int, error)
	AddRule(ctx context.Context, nsgID string, r oci.Rule) (oci.Rule, error)
	RemoveRules(ctx context.Context, nsgID string, ids ...string) error
}
