package cloud

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"edge-actions/internal/handoff"
	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

// volumes holds the volumes of a node against its handoff, both ways: a volume
// that nobody knows of is one that nobody backs up.
func (v *verification) volumes(n *handoff.Node, in oci.Instance) {
	c := v.compartments[in.CompartmentID]
	if c.noVolumes != nil {
		c.noVolumes.of(n)
		return
	}
	// The best first: the same volume stays listed as DETACHED when it is
	// attached again.
	cloud := slices.Clone(c.volumes[in.ID])
	slices.SortStableFunc(cloud, func(a, b oci.VolumeAttachment) int { return rank(a.State) - rank(b.State) })
	taken := map[string]bool{}
	take := func(fits func(oci.VolumeAttachment) bool) *oci.VolumeAttachment {
		for i := range cloud {
			if a := &cloud[i]; !taken[a.ID] && fits(*a) {
				taken[a.ID] = true
				return a
			}
		}
		return nil
	}
	found := make([]*oci.VolumeAttachment, len(n.VolumeAttachments))
	for i, a := range n.VolumeAttachments { // by what names them best, before anything else
		if a.VolumeID != "" {
			found[i] = take(func(got oci.VolumeAttachment) bool { return got.VolumeID == a.VolumeID })
		}
	}
	for i, a := range n.VolumeAttachments {
		if a.VolumeID == "" {
			found[i] = take(func(got oci.VolumeAttachment) bool { return got.Device == a.Device && rank(got.State) < detached })
		}
		v.volume(n, a, found[i])
	}
	v.facts++ // that there are no others
	for _, a := range cloud {
		if !taken[a.ID] && rank(a.State) < leaving {
			v.differ(n, InstanceVolumes, "the volumes of the handoff and no others", fmt.Sprintf("%s at %s, %s", text(a.VolumeID), text(a.Device), text(a.State)), "add it to the volume_attachments of the output, or detach it")
		}
	}
}

func (v *verification) volume(n *handoff.Node, a handoff.VolumeAttachment, got *oci.VolumeAttachment) {
	what := "volume at " + text(a.Device)
	if a.VolumeID != "" {
		what = "volume " + text(a.VolumeID)
	}
	fact := func(field, wanted, got string) { v.fact(n, InstanceVolumes, what+": "+field, wanted, got, stale) }
	if got == nil {
		if strings.HasPrefix(a.VolumeID, "ocid1.bootvolume.") {
			v.missing(what+" ATTACHED", verdict.CannotTell(InstanceVolumes, "", errors.New("no attachment; the volume that a machine booted from is not among them"), "leave the boot volume out of volume_attachments")).of(n)
			return
		}
		fact("state", "ATTACHED", "")
		return
	}
	fact("state", "ATTACHED", got.State)
	if rank(got.State) >= detached {
		return // what it was is of no use
	}
	fact("device", a.Device, got.Device)
	fact("attachment_type", a.AttachmentType, got.Type)
	if a.IsReadOnly != nil {
		fact("is_read_only", strconv.FormatBool(*a.IsReadOnly), strconv.FormatBool(got.ReadOnly))
	}
	if a.IQN != "" {
		fact("iqn", a.IQN, got.IQN)
		fact("ipv4", a.IPv4, got.IPv4)
		fact("port", strconv.FormatInt(a.Port, 10), strconv.Itoa(got.Port))
	}
}

// The ranks of attachments that are on their way out, or gone.
const (
	leaving  = 2
	detached = 3
)

// rank orders the states of attachments, the liveliest first. A state that is
// new to us is as good as ATTACHING: it is not ATTACHED, and not gone either.
func rank(state string) int {
	switch state {
	case "ATTACHED":
		return 0
	case "DETACHING":
		return leaving
	case "DETACHED":
		return detached
	}
	return 1
}
