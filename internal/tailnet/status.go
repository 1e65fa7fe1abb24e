package tailnet

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

// maxStatus is more than ten thousand peers take.
const maxStatus = 32 << 20

// Status is what a tailscaled says of itself and of its tailnet. All text in
// it is foreign: peers choose their own HostName.
type Status struct {
	Version      string // of tailscaled
	BackendState string // "Running" is the one that works
	Self         *Peer
	Health       []string // what tailscaled complains about, in its words
	// Suffix is the tailnet's MagicDNS suffix, without dots around it.
	Suffix string
	Peers  []*Peer // by their names, without Self
}

// Peer is a node of the tailnet.
type Peer struct {
	// HostName is what the node calls itself. It is not unique.
	HostName string
	// DNSName is unique: the control plane gives it. It ends with a dot.
	DNSName      string
	TailscaleIPs []netip.Addr
	// Online is whether the node is connected to the control plane, as far as
	// that has said so. It proves nothing about the path to the node, in either
	// direction: only Ping, and a connection, do.
	Online  bool
	Expired bool
	// KeyExpiry is nil for a key that does not expire.
	KeyExpiry *time.Time
	// SSHHostKeys are there only for a peer that runs Tailscale SSH.
	SSHHostKeys []string `json:"sshHostKeys"`
}

// Name is the name to show: the DNS name without its last dot, or, for a node
// that has none, what it calls itself.
func (p *Peer) Name() string {
	if p.DNSName == "" {
		return p.HostName
	}
	return strings.TrimSuffix(p.DNSName, ".")
}

// HostKeys are the SSH host keys that the tailnet knows for the peer, one
// line of the form "ssh-ed25519 AAAA…" each; none unless it runs Tailscale SSH,
// and none for the node that was asked. The control plane vouches for them.
// They are foreign text until they have been parsed.
func (p *Peer) HostKeys() []string {
	var keys []string
	for _, line := range p.SSHHostKeys {
		if line = strings.TrimSpace(line); line != "" {
			keys = append(keys, line)
		}
	}
	return keys
}

// ParseStatus reads the document that "tailscale status --json" prints, here
// or on a remote host. It refuses one in which something is missing that every
// tailscaled says: what is absent must not pass for what is well.
func ParseStatus(data []byte) (*Status, error) {
	var doc struct {
		Version      string
		BackendState string
		Health       json.RawMessage // null is well; absent is not
		Self         *struct {
			Peer
			Online *bool
		}
		CurrentTailnet *struct{ MagicDNSSuffix string }
		Peer           map[string]*Peer
	}
	if len(data) > maxStatus {
		return nil, unreadable(fmt.Errorf("more than %d bytes", maxStatus))
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, unreadable(errors.New("nothing"))
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		// The decoder's words carry some of the text that it could not read.
		return nil, unreadable(fmt.Errorf("%.300q, which is no such document: %.300q", data, err.Error()))
	}
	s := &Status{Version: doc.Version, BackendState: doc.BackendState}
	switch {
	case doc.BackendState == "":
		return nil, unreadable(errors.New("a document without BackendState"))
	case doc.Health == nil:
		return nil, unreadable(errors.New("a document without Health"))
	case doc.Self == nil || doc.Self.Online == nil:
		return nil, unreadable(errors.New("a document without Self.Online"))
	}
	if err := json.Unmarshal(doc.Health, &s.Health); err != nil {
		return nil, unreadable(fmt.Errorf("a document with the Health %.300q", doc.Health))
	}
	s.Self = &doc.Self.Peer
	s.Self.Online = *doc.Self.Online
	if doc.CurrentTailnet != nil {
		s.Suffix = strings.Trim(doc.CurrentTailnet.MagicDNSSuffix, ".")
	}
	for key, p := range doc.Peer {
		if p == nil {
			return nil, unreadable(fmt.Errorf("a document with nothing for the peer %.80q", key))
		}
		s.Peers = append(s.Peers, p)
	}
	slices.SortFunc(s.Peers, func(a, b *Peer) int {
		return cmp.Or(strings.Compare(a.DNSName, b.DNSName), strings.Compare(a.HostName, b.HostName), slices.CompareFunc(a.TailscaleIPs, b.TailscaleIPs, netip.Addr.Compare))
	})
	return s, nil
}

func unreadable(err error) error {
	return verdict.CannotTell(NoStatus, "the document of tailscale status --json", err, "run that command there and see what it prints")
}
