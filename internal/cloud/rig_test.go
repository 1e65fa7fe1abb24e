package cloud

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/handoff"
	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

const (
	domain  = "kIdk:EU-FRANKFURT-1-AD-1"
	device  = "/dev/oracleoci/oraclevdb"
	device2 = "/dev/oracleoci/oraclevdc"
)

// rig is a cloud and a handoff that is right about it.
type rig struct {
	t     *testing.T
	cloud *ocitest.Server
	nodes []ocitest.Node
	doc   *handoff.Document
}

// newRig makes n nodes with two volumes each.
func newRig(t *testing.T, n int, build ...func(*ocitest.World)) *rig {
	t.Helper()
	r := &rig{t: t, doc: &handoff.Document{}}
	r.cloud = ocitest.New(t, append([]func(*ocitest.World){func(w *ocitest.World) {
		for i := range n {
			r.add(w, fmt.Sprintf("edge-%03d", i), i)
		}
	}}, build...)...)
	return r
}

// add adds a node to the cloud and to the handoff.
func (r *rig) add(w *ocitest.World, name string, i int) {
	private, public := fmt.Sprintf("10.0.%d.%d", i/200, 10+i%200), fmt.Sprintf("198.18.%d.%d", i/200, 10+i%200)
	n := w.AddNode(name, ocitest.WithPrivateIP(private), ocitest.WithPublicIP(public), ocitest.WithNSG(""))
	data, logs, writable := w.AddVolume(n, name+"-data", "iscsi", device), w.AddVolume(n, name+"-logs", "paravirtualized", device2), false
	r.nodes = append(r.nodes, n)
	r.doc.Nodes = append(r.doc.Nodes, handoff.Node{
		Name: name, Hostname: name, InstanceID: n.InstanceID, PrivateIP: private, PublicIP: public,
		Region: "eu-frankfurt-1", AvailabilityDomain: domain, SubnetID: n.SubnetID,
		VolumeAttachments: []handoff.VolumeAttachment{
			{AttachmentType: "iscsi", Device: device, VolumeID: data, IQN: "iqn.2015-12.com.oracleiaas:" + name + "-data", IPv4: "169.254.2.2", Port: 3260, IsReadOnly: &writable},
			{AttachmentType: "paravirtualized", Device: device2, VolumeID: logs},
		},
	})
}

// verify returns the checks as lines, and the calls that it took.
func (r *rig) verify() ([]string, int) {
	r.t.Helper()
	client := r.cloud.Client(r.t)
	return lines(verify(r.t, client, r.doc)), client.Calls()
}

func verify(t *testing.T, client *oci.Client, doc *handoff.Document) []verdict.Check {
	t.Helper()
	found, err := Verify(t.Context(), client, doc)
	if err != nil {
		return verdict.ChecksOf(err)
	}
	return []verdict.Check{found}
}

func lines(checks []verdict.Check) []string {
	var out []string
	for _, c := range checks {
		if c.Verdict != verdict.Proven && c.Hint == "" {
			out = append(out, "no hint")
		}
		line := fmt.Sprintf("%s %s %s: wanted %s, found %s", c.Subject, c.ID, c.Verdict, c.Wanted, c.Got)
		out = append(out, strings.TrimSpace(line))
	}
	return out
}

// want holds the checks against lines, of which each "…" is anything.
func (r *rig) want(lines ...string) {
	r.t.Helper()
	got, _ := r.verify()
	if !slices.EqualFunc(lines, got, fits) {
		r.t.Errorf("checks (-want +got):\n%s", cmp.Diff(lines, got))
	}
}

func fits(pattern, line string) bool {
	parts := strings.Split(pattern, "…")
	if !strings.HasPrefix(line, parts[0]) || !strings.HasSuffix(line, parts[len(parts)-1]) {
		return false
	}
	for _, p := range parts {
		i := strings.Index(line, p)
		if i < 0 {
			return false
		}
		line = line[i+len(p):]
	}
	return true
}
