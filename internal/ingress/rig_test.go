package ingress

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

var me = netip.MustParseAddr("198.51.100.7")

// rig is one machine in a cloud, with a foreign rule for the very address of
// the runner in its group.
type rig struct {
	t       *testing.T
	server  *ocitest.Server
	node    ocitest.Node
	foreign string
	keeper  *Keeper
	client  *oci.Client
}

func newRig(t *testing.T, build ...func(*ocitest.World)) *rig {
	t.Helper()
	r := &rig{t: t}
	r.server = ocitest.New(t, append([]func(*ocitest.World){func(w *ocitest.World) {
		r.node = w.AddNode("edge-1")
		r.foreign = w.AddRule(r.node.NSGID, ocitest.SSHFrom(me.String()+"/32", "the operator's own, from home"))
	}}, build...)...)
	r.client = r.server.Client(t)
	r.keeper = r.runner(filepath.Join(t.TempDir(), "leases"))
	if _, err := r.client.Instance(t.Context(), r.node.InstanceID); err != nil { // the cloud's time
		t.Fatal(err)
	}
	return r
}

// runner is a keeper with a memory of its own.
func (r *rig) runner(dir string) *Keeper {
	return &Keeper{Cloud: r.client, Dir: dir, Pace: Pace{Pause: time.Millisecond}, Logf: r.t.Logf}
}

func (r *rig) request() Request {
	return Request{NSG: r.node.NSGID, InstanceID: r.node.InstanceID, Node: r.node.Name, Source: me, TTL: time.Hour, Run: "owner/infra#12.1"}
}

func (r *rig) open() *Lease {
	r.t.Helper()
	l, err := r.keeper.Open(r.t.Context(), r.request())
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// ours are the rules in the cloud that are leases; what the lists show may lag.
func (r *rig) ours() (ids []string) {
	for _, rule := range r.server.World().NSG(r.node.NSGID).Rules {
		if _, ok := ParseMarker(rule.Description); ok {
			ids = append(ids, rule.ID)
		}
	}
	return ids
}

// untouched fails unless the foreign rule is as it was.
func (r *rig) untouched() {
	r.t.Helper()
	for _, rule := range r.server.World().NSG(r.node.NSGID).Rules {
		if rule.ID == r.foreign && rule.Source == me.String()+"/32" && rule.Description == "the operator's own, from home" {
			return
		}
	}
	r.t.Error("the foreign rule was touched")
}

func (r *rig) none() {
	r.t.Helper()
	if ids := r.ours(); len(ids) > 0 {
		r.t.Errorf("left open: %v", ids)
	}
	r.untouched()
}

func want(t *testing.T, c verdict.Check, v verdict.Verdict, id string, words ...string) {
	t.Helper()
	if c.Verdict != v || c.ID != id {
		t.Errorf("%s=%s, want %s=%s: %s", c.ID, c.Verdict, id, v, c.Got)
	}
	for _, w := range words {
		if !strings.Contains(c.Got+c.Wanted+c.Hint, w) {
			t.Errorf("%q is not in %+v", w, c)
		}
	}
}

func refused(t *testing.T, err error, id string, words ...string) {
	t.Helper()
	if verdict.Reason(err) != id {
		t.Fatalf("%q, want %s: %v", verdict.Reason(err), id, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in %v", w, err)
		}
	}
}

func (r *rig) exposure() *Exposure {
	r.t.Helper()
	e, err := Look(r.t.Context(), r.client, r.node.InstanceID, SSH)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

func (r *rig) count(method, part string) int {
	n := 0
	for _, q := range r.server.Requests() {
		if q.Method == method && strings.Contains(q.Path, part) {
			n++
		}
	}
	return n
}

func has(checks []verdict.Check, id string, v verdict.Verdict) bool {
	return slices.ContainsFunc(checks, func(c verdict.Check) bool { return c.ID == id && c.Verdict == v })
}
