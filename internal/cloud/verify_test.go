package cloud

import (
	"fmt"
	"strings"
	"testing"

	"edge-actions/internal/handoff"
	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
)

func TestRight(t *testing.T) {
	newRig(t, 1).want("cloud-match proven: wanted every node in the cloud as the handoff has it, found 17 facts of 1 node, in 7 calls")
	newRig(t, 3).want("cloud-match proven: wanted …, found 51 facts of 3 nodes, in 7 calls")
}

// Every fact is wrong once, in the cloud or in the handoff, and is named with
// what the cloud has.
func TestEachDifference(t *testing.T) {
	yes := true
	for name, tt := range map[string]struct {
		world func(*ocitest.World)
		doc   func(*handoff.Node)
		want  string
	}{
		"stopped":            {world: func(w *ocitest.World) { w.Instances[0].LifecycleState = "STOPPED" }, want: `instance-state disproven: wanted state "RUNNING", found "STOPPED"`},
		"terminated":         {world: func(w *ocitest.World) { w.Instances[0].LifecycleState = "TERMINATED" }, want: `instance-state disproven: wanted state "RUNNING", found "TERMINATED"`},
		"no state":           {world: func(w *ocitest.World) { w.Instances[0].LifecycleState = "" }, want: `instance-state disproven: wanted state "RUNNING", found none`},
		"region":             {doc: func(n *handoff.Node) { n.Region = "eu-zurich-1" }, want: `instance-place disproven: wanted region "eu-zurich-1", found "eu-frankfurt-1"`},
		"region of cloud":    {world: func(w *ocitest.World) { w.Instances[0].Region = "iad" }, doc: func(n *handoff.Node) { n.Region = "us-ashburn-1" }, want: `instance-place disproven: wanted region "us-ashburn-1", found "iad"`},
		"region of another":  {world: func(w *ocitest.World) { w.Instances[0].Region = "eu-zurich-1" }, want: `instance-place disproven: wanted region "eu-frankfurt-1", found "eu-zurich-1"`},
		"domain":             {world: func(w *ocitest.World) { w.Instances[0].AvailabilityDomain = "kIdk:EU-FRANKFURT-1-AD-2" }, want: `instance-place disproven: wanted availability_domain "` + domain + `", found "kIdk:EU-FRANKFURT-1-AD-2"`},
		"subnet":             {doc: func(n *handoff.Node) { n.SubnetID = "ocid1.subnet.oc1..other" }, want: `instance-place disproven: wanted subnet_id "ocid1.subnet.oc1..other", found "ocid1.subnet…"`},
		"private_ip":         {doc: func(n *handoff.Node) { n.PrivateIP = "10.0.0.99" }, want: `instance-address disproven: wanted private_ip "10.0.0.99", found "10.0.0.10"`},
		"public_ip":          {doc: func(n *handoff.Node) { n.PublicIP = "198.18.9.9" }, want: `instance-address disproven: wanted public_ip "198.18.9.9", found "198.18.0.10"`},
		"no public_ip":       {doc: func(n *handoff.Node) { n.PublicIP = "" }, want: `instance-address disproven: wanted no public_ip, found "198.18.0.10"`},
		"public_ip is gone":  {world: func(w *ocitest.World) { w.PublicIPs, w.VNICs[0].PublicIP = nil, "" }, want: `instance-address disproven: wanted public_ip "198.18.0.10", found none`},
		"interface is gone":  {world: func(w *ocitest.World) { w.VNICAttachments[0].LifecycleState = "DETACHED" }, want: `instance-address disproven: wanted an interface that is ATTACHED, found 1 DETACHED`},
		"volume detached":    {world: func(w *ocitest.World) { w.VolumeAttachments[0].LifecycleState = "DETACHED" }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": state "ATTACHED", found "DETACHED"`},
		"volume attaching":   {world: func(w *ocitest.World) { w.VolumeAttachments[0].LifecycleState = "ATTACHING" }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": state "ATTACHED", found "ATTACHING"`},
		"volume detaching":   {world: func(w *ocitest.World) { w.VolumeAttachments[0].LifecycleState = "DETACHING" }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": state "ATTACHED", found "DETACHING"`},
		"volume of a world":  {world: func(w *ocitest.World) { w.VolumeAttachments[0].LifecycleState = "FUTURE" }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": state "ATTACHED", found "FUTURE"`},
		"volume elsewhere":   {world: func(w *ocitest.World) { w.VolumeAttachments[0].InstanceID = "ocid1.instance.oc1..other" }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": state "ATTACHED", found none`},
		"device":             {world: func(w *ocitest.World) { w.VolumeAttachments[0].Device = "/dev/oracleoci/oraclevdx" }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": device "` + device + `", found "/dev/oracleoci/oraclevdx"`},
		"no device":          {world: func(w *ocitest.World) { w.VolumeAttachments[0].Device = "" }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": device "` + device + `", found none`},
		"kind":               {doc: func(n *handoff.Node) { n.VolumeAttachments[0].AttachmentType = "paravirtualized" }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": attachment_type "paravirtualized", found "iscsi"`},
		"read-only":          {world: func(w *ocitest.World) { w.VolumeAttachments[0].IsReadOnly = true }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": is_read_only "false", found "true"`},
		"writable":           {doc: func(n *handoff.Node) { n.VolumeAttachments[0].IsReadOnly = &yes }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": is_read_only "true", found "false"`},
		"iqn":                {world: func(w *ocitest.World) { w.VolumeAttachments[0].IQN = "iqn.2015-12.com.oracleiaas:other" }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": iqn "…-data", found "iqn.2015-12.com.oracleiaas:other"`},
		"ipv4":               {world: func(w *ocitest.World) { w.VolumeAttachments[0].IPv4 = "169.254.2.9" }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": ipv4 "169.254.2.2", found "169.254.2.9"`},
		"port":               {world: func(w *ocitest.World) { w.VolumeAttachments[0].Port = 3261 }, want: `instance-volumes disproven: wanted volume "ocid1.volume…": port "3260", found "3261"`},
		"another volume":     {doc: func(n *handoff.Node) { n.VolumeAttachments = n.VolumeAttachments[:1] }, want: `instance-volumes disproven: wanted the volumes of the handoff and no others, found "ocid1.volume…" at "` + device2 + `", "ATTACHED"`},
		"no OCID":            {doc: func(n *handoff.Node) { n.InstanceID = "i-0" }, want: `instance-id disproven: wanted the OCID of an instance, ocid1.instance.…, found "i-0"`},
		"a hostile instance": {world: func(w *ocitest.World) { w.Instances[0].LifecycleState = "\n::add-path::/evil" }, want: `instance-state disproven: wanted state "RUNNING", found "\n::add-path::/evil"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			if tt.world != nil {
				r.cloud.Change(tt.world)
			}
			if tt.doc != nil {
				tt.doc(&r.doc.Nodes[0])
			}
			r.t = t
			r.want("edge-000 " + tt.want)
		})
	}
}

// What a handoff leaves out it does not claim.
func TestLeftOut(t *testing.T) {
	r := newRig(t, 1)
	n := &r.doc.Nodes[0]
	n.Region, n.AvailabilityDomain, n.SubnetID, n.PrivateIP = "", "", "", ""
	for i := range n.VolumeAttachments {
		n.VolumeAttachments[i] = handoff.VolumeAttachment{AttachmentType: n.VolumeAttachments[i].AttachmentType, Device: n.VolumeAttachments[i].Device}
	}
	r.want("cloud-match proven: wanted …, found 9 facts of 1 node, in 7 calls")
}

func TestSeveralDifferences(t *testing.T) {
	r := newRig(t, 3)
	r.cloud.Change(func(w *ocitest.World) {
		w.Instances[2].LifecycleState = "STOPPING"
		w.VolumeAttachments[0].IsReadOnly = true
	})
	r.doc.Nodes[0].Region, r.doc.Nodes[0].PrivateIP, r.doc.Nodes[0].PublicIP = "eu-zurich-1", "10.0.0.99", "198.18.9.9"
	r.doc.Nodes[2].AvailabilityDomain = "other"
	r.want(
		`edge-000 instance-place disproven: wanted region "eu-zurich-1", found "eu-frankfurt-1"`,
		`edge-000 instance-address disproven: wanted private_ip "10.0.0.99", found "10.0.0.10"`,
		`edge-000 instance-address disproven: wanted public_ip "198.18.9.9", found "198.18.0.10"`,
		`edge-000 instance-volumes disproven: wanted volume "ocid1.volume…": is_read_only "false", found "true"`,
		`edge-002 instance-state disproven: wanted state "RUNNING", found "STOPPING"`,
		`edge-002 instance-place disproven: wanted availability_domain "other", found "`+domain+`"`,
	)
}

// A machine of the oldest regions calls its region by a key.
func TestRegionKey(t *testing.T) {
	r := newRig(t, 1)
	r.cloud.Change(func(w *ocitest.World) { w.Instances[0].Region = "fra" })
	r.want("cloud-match proven: …")
	r.doc.Nodes[0].Region = "fra"
	r.want("cloud-match proven: …")
}

// Of a machine that is gone its state is said, and not all that went with it.
func TestTerminated(t *testing.T) {
	for _, state := range []string{"TERMINATING", "TERMINATED"} {
		r := newRig(t, 2)
		r.cloud.Change(func(w *ocitest.World) {
			w.Instances[0].LifecycleState, w.VNICAttachments[0].LifecycleState = state, "DETACHED"
			w.VolumeAttachments[0].LifecycleState, w.VolumeAttachments[1].LifecycleState = "DETACHED", "DETACHED"
			w.PublicIPs, w.PrivateIPs = w.PublicIPs[1:], w.PrivateIPs[1:]
		})
		r.want(`edge-000 instance-state disproven: wanted state "RUNNING", found "` + state + `"`)
	}
}

// What was detached stays listed; it is not a second attachment.
func TestAttachedAgain(t *testing.T) {
	r := newRig(t, 1)
	r.cloud.Change(func(w *ocitest.World) {
		old := w.VolumeAttachments[0]
		old.ID, old.LifecycleState, old.Device = ocitest.OCID("volumeattachment", "", "old"), "DETACHED", "/dev/oracleoci/oraclevdz"
		other := old
		other.ID, other.VolumeID = ocitest.OCID("volumeattachment", "", "other"), ocitest.OCID("volume", "", "other")
		w.VolumeAttachments = append([]ocitest.VolumeAttachment{old, other}, w.VolumeAttachments...)
		gone := w.VNICAttachments[0]
		gone.ID, gone.VNICID, gone.LifecycleState = ocitest.OCID("vnicattachment", "", "gone"), ocitest.OCID("vnic", "", "gone"), "DETACHED"
		w.VNICAttachments = append([]ocitest.VNICAttachment{gone}, w.VNICAttachments...)
	})
	r.want("cloud-match proven: …, in 7 calls")
}

// One attachment stands for one volume of the handoff.
func TestOneAttachmentOnce(t *testing.T) {
	r := newRig(t, 1)
	n := &r.doc.Nodes[0]
	// Its first volume is at the second device, where the handoff has another.
	n.VolumeAttachments[1] = handoff.VolumeAttachment{AttachmentType: "iscsi", Device: device2}
	r.cloud.Change(func(w *ocitest.World) {
		w.VolumeAttachments[0].Device = device2
		w.VolumeAttachments[1].LifecycleState = "DETACHED"
	})
	r.want(
		`edge-000 instance-volumes disproven: wanted volume "ocid1.volume…": device "`+device+`", found "`+device2+`"`,
		`edge-000 instance-volumes disproven: wanted volume at "`+device2+`": state "ATTACHED", found none`,
	)
}

// The volume that a machine booted from is in another list, which is not read.
func TestBootVolume(t *testing.T) {
	r := newRig(t, 1)
	n := &r.doc.Nodes[0]
	n.VolumeAttachments = append(n.VolumeAttachments, handoff.VolumeAttachment{AttachmentType: "paravirtualized", Device: "/dev/sda", VolumeID: "ocid1.bootvolume.oc1..x"})
	r.want(`edge-000 instance-volumes unproven: wanted volume "ocid1.bootvolume.oc1..x" ATTACHED, found no attachment; …`)
}

func TestNoNodes(t *testing.T) {
	r := newRig(t, 1)
	r.doc.Nodes = nil
	r.want("cloud-match unproven: wanted nodes to ask the cloud about, found none in the handoff")
}

func TestTwoCompartments(t *testing.T) {
	r := newRig(t, 6, func(w *ocitest.World) {
		other := ocitest.OCID("compartment", "", "other")
		w.Compartments = append(w.Compartments, other)
		for i := range 3 {
			w.Instances[2*i].CompartmentID, w.VNICAttachments[2*i].CompartmentID, w.PublicIPs[2*i].CompartmentID = other, other, other
			w.VolumeAttachments[4*i].CompartmentID, w.VolumeAttachments[4*i+1].CompartmentID = other, other
		}
	})
	r.want("cloud-match proven: …, found 102 facts of 6 nodes, in 13 calls") // six of each, and the subnet that they share
}

// The calls grow with the pages and not with the nodes.
func TestCalls(t *testing.T) {
	const set = 5 // GetInstance, ListVnicAttachments, GetVnic, GetSubnet, ListVolumeAttachments
	for _, tt := range []struct{ nodes, page, calls int }{
		{20, 100, 7},
		{50, 100, 7}, // whose 100 volumes fit in a page
		{200, 100, 7 + 1 + 1 + 3 + 1 + 1},
		{20, 1000, 7},
		{10, 3, 1 + 4 + 4 + 7 + 4 + 1 + 4},
	} {
		r := newRig(t, tt.nodes)
		r.cloud.PageSize(tt.page)
		got, calls := r.verify()
		if calls != tt.calls || len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprintf("cloud-match proven: wanted every node in the cloud as the handoff has it, found %d facts of %d nodes, in %d calls", 17*tt.nodes, tt.nodes, calls)) {
			t.Errorf("%d nodes, %d on a page: %d calls, wanted %d: %q", tt.nodes, tt.page, calls, tt.calls, got)
		}
		if tt.page == 100 && tt.nodes == 200 {
			t.Logf("%d nodes: %d calls; one set of calls a node is %d, a %.0fth of that", tt.nodes, calls, set*tt.nodes, float64(set*tt.nodes)/float64(calls))
			if calls*10 > set*tt.nodes {
				t.Errorf("%d calls are more than a tenth of %d", calls, set*tt.nodes)
			}
		}
	}
}

func TestThrottled(t *testing.T) {
	r := newRig(t, 2)
	r.cloud.Throttle(3)
	r.want("cloud-match proven: …, in 10 calls")
	r.cloud.Inject(ocitest.Fault{Kind: ocitest.Throttle, Path: "volumeAttachments", Times: -1})
	r.want("oci-throttled unproven: wanted the volumes in the cloud, for 2 nodes: edge-000, edge-001, found ListVolumeAttachments …")
}

// Each list that can't be read leaves unproven what depends on it, and nothing
// else; the rest is still held against the cloud.
func TestUnreadable(t *testing.T) {
	for path, want := range map[string]string{
		"vnicAttachments":        "the primary interface in the cloud",
		"volumeAttachments":      "the volumes in the cloud",
		"privateIps":             "the addresses in the cloud",
		"scope=REGION":           "",
		"scope=AVAILABILITY":     "the public addresses in the cloud",
		"instances?compartment":  "the instance in the cloud",
		"no-such-path-is-called": "",
	} {
		t.Run(path, func(t *testing.T) {
			r := newRig(t, 3)
			r.doc.Nodes[0].Region = "eu-zurich-1"
			r.cloud.Fail("GET", path, -1, 404, "NotAuthorizedOrNotFound")
			wrong := `edge-000 instance-place disproven: wanted region "eu-zurich-1", found "eu-frankfurt-1"`
			switch {
			case want == "":
				r.want(wrong)
			case path == "instances?compartment": // the first one was asked by itself
				r.want(wrong, "oci-missing-or-forbidden unproven: wanted "+want+", for 2 nodes: edge-001, edge-002, found ListInstances …")
			default:
				r.want(wrong, "oci-missing-or-forbidden unproven: wanted "+want+", for 3 nodes: edge-000, edge-001, edge-002, found …")
			}
			if _, calls := r.verify(); calls > 7 {
				t.Errorf("%d calls: instead of a list each node was asked for", calls)
			}
		})
	}
}

// Credentials that are refused say nothing of a node, and are tried once.
func TestBadCredentials(t *testing.T) {
	r := newRig(t, 200)
	r.cloud.Fail("GET", "", -1, 401, "NotAuthenticated")
	got, calls := r.verify()
	if calls != 1 || len(got) != 1 || !strings.HasPrefix(got[0], "oci-credentials unproven: wanted its instance in the cloud, for 200 nodes: edge-000, ") || !strings.Contains(got[0], ", 190 more, found GetInstance of ") {
		t.Errorf("%d calls, %q", calls, got)
	}
}

// A 404 is never "gone".
func TestInstanceNotSeen(t *testing.T) {
	r := newRig(t, 3)
	r.cloud.Forbid(r.nodes[1].InstanceID)
	r.want("edge-001 oci-missing-or-forbidden unproven: wanted its instance in the cloud, found GetInstance of …")
	r.doc.Nodes[1].Region = "eu-zurich-1"
	_, err := Verify(t.Context(), r.cloud.Client(t), r.doc)
	if err == nil || !strings.Contains(err.Error(), `the handoff has it in "eu-zurich-1", and "eu-frankfurt-1" was asked: set oci_region`) {
		t.Errorf("nothing of the region: %v", err)
	}
}

// After twenty that may not be seen no more is asked.
func TestNoneSeen(t *testing.T) {
	r := newRig(t, 200)
	r.cloud.Fail("GET", "instances/", -1, 404, "NotAuthorizedOrNotFound")
	got, calls := r.verify()
	if calls != 20 || len(got) != 21 || !strings.HasPrefix(got[20], "oci-missing-or-forbidden unproven: wanted their instances in the cloud, for 180 nodes: edge-020, ") {
		t.Errorf("%d calls, %d checks: %q", calls, len(got), got[len(got)-1])
	}
}

// The hint of what could not be seen is OCI's: which permission is needed.
func TestHintOfTheUnseen(t *testing.T) {
	r := newRig(t, 1)
	r.cloud.Fail("GET", "privateIps", -1, 404, "NotAuthorizedOrNotFound")
	for _, c := range verify(t, r.cloud.Client(t), r.doc) {
		if c.ID != oci.MissingOrForbidden || !strings.Contains(c.Hint, "inspect private-ips") {
			t.Errorf("%+v", c)
		}
	}
}
