package cloud

import (
	"testing"

	"edge-actions/internal/testing/ocitest"
)

// second gives the first node one more interface, before its primary one in all
// lists.
func second(r *rig) (id string) {
	r.cloud.Change(func(w *ocitest.World) {
		id = w.AddVNIC(r.nodes[0], "storage")
		last := len(w.VNICAttachments) - 1
		w.VNICAttachments = append([]ocitest.VNICAttachment{w.VNICAttachments[last]}, w.VNICAttachments[:last]...)
	})
	return id
}

func TestTwoInterfaces(t *testing.T) {
	r := newRig(t, 2)
	id := second(r)
	r.want("cloud-match proven: …, found 34 facts of 2 nodes, in 9 calls") // each of the two is asked
	r.doc.Nodes[0].PrivateIP = "10.0.0.104"                                // the other one's
	r.want(`edge-000 instance-address disproven: wanted private_ip "10.0.0.104", found "10.0.0.10"`)
	r.doc.Nodes[0].PrivateIP = "10.0.0.10"

	// The primary one is found all the same, or it is said that it is not.
	r.cloud.Forbid(id)
	r.want("cloud-match proven: …")
	r.cloud.Forbid(r.nodes[0].VNICID)
	r.want("edge-000 oci-missing-or-forbidden unproven: wanted its primary interface in the cloud, found GetVnic of …")
}

func TestNoneIsPrimary(t *testing.T) {
	r := newRig(t, 1)
	second(r)
	r.cloud.Change(func(w *ocitest.World) { w.VNICs[0].IsPrimary = false })
	r.want("edge-000 instance-address unproven: wanted its primary interface in the cloud, found none among the 2 that are listed")
}

// An interface that is still on its way is no reason to doubt the others, but
// none to take them for the primary one either.
func TestAttachingInterface(t *testing.T) {
	r := newRig(t, 1)
	second(r)
	r.cloud.Change(func(w *ocitest.World) {
		w.VNICAttachments[0].LifecycleState, w.VNICAttachments[0].VNICID, w.VNICAttachments[0].SubnetID = "ATTACHING", "", ""
	})
	r.want("cloud-match proven: …, in 7 calls")
	r.cloud.Change(func(w *ocitest.World) { w.VNICAttachments = w.VNICAttachments[:1] })
	r.want("edge-000 instance-address unproven: wanted its primary interface in the cloud, found none among the 1 that are listed")
}

// An instance without any interface in the list: the list does not show all.
func TestNoInterface(t *testing.T) {
	r := newRig(t, 2)
	r.cloud.Change(func(w *ocitest.World) { w.VNICAttachments = w.VNICAttachments[1:] })
	r.want("edge-000 instance-address unproven: wanted its primary interface in the cloud, found none among the 0 that are listed")
}

// Only another interface is listed: it is not taken for the primary one.
func TestOnlyTheSecondIsListed(t *testing.T) {
	r := newRig(t, 1)
	second(r)
	r.cloud.Change(func(w *ocitest.World) { w.VNICAttachments = w.VNICAttachments[:1] })
	r.want(`edge-000 instance-address unproven: wanted its primary interface in the cloud, found only "ocid1.vnic…" is listed, which is not the primary one`)
}

// An address may be reserved in a compartment where no node is: then the
// interface is asked, and only that one.
func TestReservedElsewhere(t *testing.T) {
	const reserved = "203.0.113.200"
	r := newRig(t, 3)
	reserve := func(compartment string) {
		r.cloud.Change(func(w *ocitest.World) {
			w.PublicIPs = w.PublicIPs[1:]
			w.ReservePublicIP(r.nodes[0], reserved)
			w.PublicIPs[len(w.PublicIPs)-1].CompartmentID = compartment
			w.VNICs[0].PublicIP = reserved
		})
	}
	reserve(r.cloud.World().Tenancy)
	r.want(`edge-000 instance-address disproven: wanted public_ip "198.18.0.10", found "` + reserved + `"`)
	r.doc.Nodes[0].PublicIP = reserved
	r.want("cloud-match proven: …, in 8 calls")
	r.cloud.Forbid(r.nodes[0].VNICID)
	r.want("edge-000 oci-missing-or-forbidden unproven: wanted its primary interface in the cloud, found GetVnic of …")

	// In the nodes' own compartment no question is needed.
	r = newRig(t, 3)
	reserve(r.cloud.World().Compartment())
	r.doc.Nodes[0].PublicIP = reserved
	r.want("cloud-match proven: …, in 7 calls")
}

// A node without a public address, and lists of them that can't be read: none
// was seen, which proves nothing.
func TestNoPublicAddress(t *testing.T) {
	r := newRig(t, 2)
	r.cloud.Change(func(w *ocitest.World) { w.PublicIPs, w.VNICs[0].PublicIP = w.PublicIPs[1:], "" })
	r.doc.Nodes[0].PublicIP = ""
	r.want("cloud-match proven: …, in 7 calls")
	r.cloud.Fail("GET", "scope=REGION", -1, 404, "NotAuthorizedOrNotFound")
	r.want("edge-000 oci-missing-or-forbidden unproven: wanted the public addresses in the cloud, found ListPublicIps …")
}

// The lists have no IPv6; the interface has, and in another form.
func TestIPv6(t *testing.T) {
	r := newRig(t, 1)
	r.cloud.Change(func(w *ocitest.World) {
		w.PublicIPs, w.VNICs[0].PublicIP = nil, ""
		w.VNICs[0].IPv6Addresses = []string{"2001:0db8:0:0:0:0:0:0010"}
	})
	r.doc.Nodes[0].PublicIP = "2001:db8::10"
	r.want("cloud-match proven: …, in 8 calls")
	r.doc.Nodes[0].PublicIP = "2001:db8::11"
	r.want(`edge-000 instance-address disproven: wanted public_ip "2001:db8::11", found none`)
}

// What is no address is not the same as none.
func TestStrangeAddress(t *testing.T) {
	r := newRig(t, 1)
	r.cloud.Change(func(w *ocitest.World) { w.PublicIPs[0].IPAddress, w.VNICs[0].PublicIP = "junk", "junk" })
	r.doc.Nodes[0].PublicIP = ""
	r.want(`edge-000 instance-address disproven: wanted no public_ip, found "junk"`)
}

// A secondary address of the interface is not the node's.
func TestSecondaryAddress(t *testing.T) {
	r := newRig(t, 1)
	r.cloud.Change(func(w *ocitest.World) {
		w.PrivateIPs = append(w.PrivateIPs, ocitest.PrivateIP{ID: ocitest.OCID("privateip", "", "more"), IPAddress: "10.0.0.77", VNICID: r.nodes[0].VNICID, SubnetID: r.nodes[0].SubnetID})
	})
	r.want("cloud-match proven: …, in 7 calls")
	r.doc.Nodes[0].PrivateIP = "10.0.0.77"
	r.want(`edge-000 instance-address disproven: wanted private_ip "10.0.0.77", found "10.0.0.10"`)
}
