package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"
)

// Schema names the form of the probe's document.
const Schema = "edge-actions/probe/v1"

// MaxDocument bounds the probe's document. The largest fact is what K3s says,
// of at most 8 MiB, in base64.
const MaxDocument = 24 << 20

// Facts are what a node said about itself.
type Facts struct {
	Hostname, MachineID, BootID, Kernel, Arch, OS Value[string]
	// InstanceID is Oracle's OCID, by the instance's own metadata service.
	InstanceID Value[string]
	// Memory is in bytes.
	Memory Value[uint64]
	// Way is how far the machine is on its way to NixOS.
	Way Value[Way]
	// Disks are the file systems of its disks.
	Disks Value[[]Disk]
	// Now is the node's clock, and Boot when it was started by that clock.
	Now, Boot Value[time.Time]

	// Booted, Current and Profile are the store paths of the system that was
	// booted, the one that is active and the one that the profile leads to.
	Booted, Current, Profile Value[string]
	Generation               Value[int]
	// Modules are the kernel releases that the active system has modules for.
	Modules Value[[]string]
	// Loader is the system that the boot loader boots if nobody touches it.
	Loader Value[string]
	// BootSpace and StoreSpace are of the file systems of kernels and store.
	BootSpace, StoreSpace Value[Space]

	// State is what `systemctl is-system-running` says.
	State Value[string]
	Units Value[[]Unit]
	// Failed are the failed units, and Journals the last lines of the first
	// few of them.
	Failed   Value[[]string]
	Journals map[string]string

	Tailscale Value[*tailnet.Status]
	K3s       Value[*Cluster]
	// Ports says of each port whether a connection to it was accepted.
	Ports Value[map[int]bool]
	// Files are /run/secrets with what is in it, the age key and its directory.
	Files Value[[]File]
	// SSHD are sshd's settings for a login as root.
	SSHD Value[map[string]string]
}

// Space is what is free on a file system.
type Space struct {
	FreeBytes uint64
	// Inodes is 0 for a file system that has none, such as FAT and btrfs.
	Inodes, FreeInodes uint64
}

// fact is how one command of the probe ended.
type fact struct {
	Exit *int   `json:"exit"`
	Out  []byte `json:"out"`
	Err  []byte `json:"err"`
}

// Parse reads the probe's document. A document that is not whole is refused;
// a fact that is missing or failed is a Value with its reason.
func Parse(data []byte) (*Facts, error) {
	facts, err := decode(data)
	if err != nil {
		return nil, verdict.CannotTell("probe", "one whole document in the form "+Schema, err, "look at what the node's shell prints besides, and at the space in its /run")
	}
	f := &Facts{Journals: map[string]string{}}
	f.text(facts["text"], facts["grub"])
	f.systemd(facts)
	f.Tailscale = convert(facts["tailscale"], tailnet.ParseStatus)
	f.K3s = convert(facts["k3s"], parseCluster)
	f.Files = convert(facts["secrets"], parseFiles)
	f.SSHD = convert(facts["sshd"], parseSSHD)
	f.InstanceID = convert(facts["oci"], parseOCID)
	f.Disks = convert(facts["disk"], parseDisks)
	f.ports(facts["ports"])
	return f, nil
}

func decode(data []byte) (map[string]*fact, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("%d bytes, more than %d", len(data), MaxDocument)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("it is empty")
	}
	var doc struct {
		Schema   string           `json:"schema"`
		Facts    map[string]*fact `json:"facts"`
		Complete bool             `json:"complete"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("%s: %w", quote(string(data)), err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after it")
	}
	switch {
	case doc.Schema != Schema:
		return nil, fmt.Errorf("the schema is %s", quote(doc.Schema))
	case !doc.Complete:
		return nil, errors.New("it is not complete")
	}
	for name, x := range doc.Facts {
		if x == nil || x.Exit == nil {
			return nil, fmt.Errorf("the fact %s does not say how it ended", quote(name))
		}
	}
	return doc.Facts, nil
}

// failure says why a fact is not there or not to be trusted; nil if it is.
func (x *fact) failure() error {
	if x == nil {
		return errNotRead
	}
	reason := ""
	switch *x.Exit {
	case 0:
		return nil
	case -1, 153: // 128 + SIGXFSZ
		reason = "it wrote more than it may, and was ended"
	case 124, 137:
		reason = "it did not end in time"
	case 127:
		reason = "the command is not there"
	default:
		reason = fmt.Sprintf("exit code %d", *x.Exit)
	}
	if said := x.said(); said != "" {
		reason += ": " + said
	}
	return errors.New(reason)
}

// said is what a command wrote to stderr, quoted; "" if nothing.
func (x *fact) said() string {
	if text := bytes.TrimSpace(x.Err); len(text) > 0 {
		return quote(string(text))
	}
	return ""
}

// convert reads a fact whose command ended well.
func convert[T any](x *fact, parse func([]byte) (T, error)) Value[T] {
	if err := x.failure(); err != nil {
		return unread[T](err)
	}
	return readOr(parse(x.Out))
}
