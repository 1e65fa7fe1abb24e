// Package handoff is the document with which the stack that made the machines
// tells the repository that runs them what they are: nodes, addresses, disks,
// and the state they were read from. It builds the document from OpenTofu's
// outputs, writes, signs and verifies it. It refuses a fact that is sensitive,
// unknown, missing, malformed or there twice, and lists all of them at once.
package handoff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

// SchemaName is the value of a document's field "schema". A field is added
// under the same name; a change of meaning gets a new one.
const SchemaName = "edge-actions/handoff/v1"

// MaxNodes is how many nodes one handoff can hold.
const MaxNodes = 10_000

// maxMatrix is the size from which a job's output is dropped: the Forgejo
// runner ignores one of more than 1 MiB with a line in its own log only.
const maxMatrix = 1 << 20

// Document is a handoff.
type Document struct {
	Schema  string  `json:"schema"` // always SchemaName
	Context Context `json:"context"`
	// Nodes is sorted by name and never empty.
	Nodes []Node `json:"nodes"`
}

// Context says which run read which state. Without it nobody could tell
// whether a handoff is older than the machines it describes.
type Context struct {
	Repository string `json:"repository"`            // owner/name; GITHUB_REPOSITORY
	Commit     string `json:"commit"`                // full hash in hex; GITHUB_SHA
	RunID      string `json:"run_id"`                // decimal; GITHUB_RUN_ID
	RunAttempt string `json:"run_attempt,omitempty"` // decimal; GITHUB_RUN_ATTEMPT, which not every runner sets
	// StateLineage and StateSerial name the state as OpenTofu does: the lineage
	// stays for the life of a state, the serial grows with every change.
	StateLineage string `json:"state_lineage"`
	StateSerial  int64  `json:"state_serial"`
	// Created is in UTC, to the second.
	Created time.Time `json:"created"`
}

// Node is one machine. Addresses are canonical, as net/netip prints them; a
// fact that is not known is left out.
type Node struct {
	Name               string `json:"name"`     // a lower-case DNS label
	Hostname           string `json:"hostname"` // a lower-case DNS name; the name unless the outputs say otherwise
	InstanceID         string `json:"instance_id"`
	PrivateIP          string `json:"private_ip,omitempty"` // one of the two addresses is always there
	PublicIP           string `json:"public_ip,omitempty"`
	Region             string `json:"region,omitempty"`
	AvailabilityDomain string `json:"availability_domain,omitempty"`
	SubnetID           string `json:"subnet_id,omitempty"`
	// VolumeAttachments is sorted by device.
	VolumeAttachments []VolumeAttachment `json:"volume_attachments"`
	Tags              map[string]string  `json:"tags"`
	// SSHHostKey is "type base64", without a comment.
	SSHHostKey string `json:"ssh_host_key,omitempty"`
}

// VolumeAttachment is one disk of a node. IQN, IPv4 and Port are the target of
// an iSCSI attachment and come together.
type VolumeAttachment struct {
	AttachmentType string `json:"attachment_type"` // "iscsi", "paravirtualized", …
	Device         string `json:"device"`          // "/dev/oracleoci/oraclevdb"
	VolumeID       string `json:"volume_id,omitempty"`
	IQN            string `json:"iqn,omitempty"`
	IPv4           string `json:"ipv4,omitempty"`
	Port           int64  `json:"port,omitempty"`
	IsReadOnly     *bool  `json:"is_read_only,omitempty"` // nil: not known
}

// Encode returns the document as indented JSON. Equal documents have equal
// bytes.
func (d *Document) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // it is read by people too
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return nil, fmt.Errorf("encoding the handoff: %w", err)
	}
	return b.Bytes(), nil
}

// Parse reads a document, which is to be held against the published schema
// (internal/handoff/schema) first, and returns an error named "schema" for one
// of another shape, or "duplicate" if two nodes claim the same fact. It proves
// nothing about who wrote it: see Verify.
func Parse(data []byte) (*Document, error) {
	var d Document
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return nil, verdict.Refuse("schema", "a document of "+SchemaName, cut(err.Error(), 1000), "make the handoff again with emit-handoff")
	}
	var b builder
	names := make([]string, len(d.Nodes))
	for i := range d.Nodes {
		names[i] = d.Nodes[i].Name
	}
	b.duplicates(d.Nodes, names)
	if err := b.err(); err != nil {
		return nil, err
	}
	return &d, nil
}

// Address is where a node is reached from outside its network: the public
// address, or the private one of a node that has no public one.
func (n *Node) Address() string {
	if n.PublicIP != "" {
		return n.PublicIP
	}
	return n.PrivateIP
}

// Matrix returns the value for a job's strategy.matrix, which fromJSON reads:
// {"include":[{"name":…,"hostname":…,"address":…}]}. Each node stands on a
// line of its own, because a runner loses lines of 64 KiB. A matrix that a
// runner would drop as a whole is refused as "matrix".
func (d *Document) Matrix() (string, error) {
	type entry struct {
		Name     string `json:"name"`
		Hostname string `json:"hostname"`
		Address  string `json:"address"`
	}
	var b strings.Builder
	b.WriteString(`{"include":[`)
	for i := range d.Nodes {
		n := &d.Nodes[i]
		line, err := json.Marshal(entry{n.Name, n.Hostname, n.Address()})
		if err != nil {
			return "", fmt.Errorf("encoding the matrix: %w", err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(line)
	}
	b.WriteString("\n]}")
	if b.Len() >= maxMatrix {
		return "", verdict.Refuse("matrix", fmt.Sprintf("a matrix under %d bytes", maxMatrix), fmt.Sprintf("%d bytes for %d nodes", b.Len(), len(d.Nodes)),
			"hand over fewer nodes at a time: one output and one step for each group")
	}
	return b.String(), nil
}

// Single returns the node of a document that has just one, or else an empty
// node.
func (d *Document) Single() Node {
	if len(d.Nodes) == 1 {
		return d.Nodes[0]
	}
	return Node{}
}

// sortNodes gives a document its one order.
func sortNodes(nodes []Node) {
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
}
