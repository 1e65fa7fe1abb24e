package bootstrap

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/fleet"
	"edge-actions/internal/handoff"
	"edge-actions/internal/ingress"
	"edge-actions/internal/node"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

// sky is a machine in a cloud, and the door of a run on a runner of its own.
type sky struct {
	t      *testing.T
	server *ocitest.Server
	node   ocitest.Node
}

// The address of the machine is loopback's: what is asked there is answered at
// once, and with a refusal, which is an answer.
func newSky(t *testing.T, build ...func(*ocitest.World, ocitest.Node)) *sky {
	t.Helper()
	c := &sky{t: t}
	c.server = ocitest.New(t, func(w *ocitest.World) {
		c.node = w.AddNode("edge-1", ocitest.WithPublicIP("127.0.0.1"))
		for _, b := range build {
			b(w, c.node)
		}
	})
	return c
}

func (c *sky) door(waive ...string) *Door {
	client := c.server.Client(c.t)
	return &Door{
		Access: ByLease, Cloud: client, InstanceID: c.node.InstanceID, Node: "edge-1", Source: netip.MustParseAddr("198.51.100.7"), TTL: time.Hour, Run: "owner/infra#12.1",
		Keeper: &ingress.Keeper{Cloud: client, Dir: filepath.Join(c.t.TempDir(), "ingress"), Pace: ingress.Pace{Pause: time.Millisecond}, Logf: c.t.Logf}, Waive: waive, Logf: c.t.Logf,
	}
}

func (c *sky) leases() (n int) {
	for _, r := range c.server.World().NSG(c.node.NSGID).Rules {
		if _, ok := ingress.ParseMarker(r.Description); ok {
			n++
		}
	}
	return n
}

func stranger(w *ocitest.World, n ocitest.Node) {
	w.AddRule(n.NSGID, ocitest.SSHFrom("198.51.100.7/32", "the operator's own"))
}

func otherRun(w *ocitest.World, n ocitest.Node) {
	now := time.Now()
	m := ingress.Marker{Nonce: strings.Repeat("a", 32), Expires: now.Add(time.Hour), Node: n.Name, Run: "owner/infra#11.1"}
	r := ocitest.SSHFrom("198.51.100.7/32", m.Description())
	r.TimeCreated = &now
	w.AddRule(n.NSGID, r)
}

// A waiver is shown and lets the run go on; it never makes a door closed that
// is not.
func TestAWaiverClosesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		build  []func(*ocitest.World, ocitest.Node)
		waive  []string
		probe  time.Duration
		before verdict.Verdict
		close  string
		closed bool
	}{
		"nothing to waive":            {nil, []string{ingress.PublicSSH}, 0, verdict.Proven, "ingress-lease-closed=proven public-ssh-rules=proven", true},
		"a stranger's rule":           {[]func(*ocitest.World, ocitest.Node){stranger}, nil, 0, verdict.Disproven, "", false},
		"it is waived":                {[]func(*ocitest.World, ocitest.Node){stranger}, []string{ingress.PublicSSH}, 0, verdict.Proven, "ingress-lease-closed=proven public-ssh-rules=disproven (waived)", false},
		"a port that answers":         {nil, nil, 3 * time.Second, verdict.Proven, "ingress-lease-closed=proven public-ssh-rules=proven public-ssh-closed=disproven", false},
		"that is waived":              {nil, []string{node.SSHClosed}, 3 * time.Second, verdict.Proven, "ingress-lease-closed=proven public-ssh-rules=proven public-ssh-closed=disproven (waived)", false},
		"all of it is waived":         {[]func(*ocitest.World, ocitest.Node){stranger}, []string{node.SSHClosed, ingress.PublicSSH}, 3 * time.Second, verdict.Proven, "ingress-lease-closed=proven public-ssh-rules=disproven (waived) public-ssh-closed=disproven (waived)", false},
		"another run can't be waived": {[]func(*ocitest.World, ocitest.Node){otherRun}, []string{ingress.PublicSSH, ingress.Busy, ingress.Closed}, 0, verdict.Disproven, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newSky(t, tt.build...)
			d := c.door(tt.waive...)
			d.Probe = tt.probe
			before := d.Before(t.Context())
			if verdict.Of(before) != tt.before {
				t.Fatalf("%s", said(before))
			}
			if tt.before != verdict.Proven {
				return
			}
			if _, err := d.Open(t.Context()); err != nil || c.leases() != 1 {
				t.Fatalf("%v, %d leases", err, c.leases())
			}
			checks, closed := d.Close(t.Context())
			if said(checks) != tt.close || closed != tt.closed || c.leases() != 0 {
				t.Errorf("%s, closed %v, %d leases", said(checks), closed, c.leases())
			}
		})
	}
}

// Whoever can't be asked proves nothing.
func TestDirectWithoutACloud(t *testing.T) {
	for _, waive := range [][]string{nil, {ingress.PublicSSH}} {
		d := &Door{Access: Direct, Node: "edge-1", Waive: waive}
		if before := d.Before(t.Context()); len(before) > 0 {
			t.Errorf("%s", said(before))
		}
		checks, closed := d.Close(t.Context())
		if closed || len(checks) != 1 || checks[0].ID != ingress.PublicSSH || checks[0].Verdict != verdict.Unproven || verdict.Of(checks) == verdict.Proven {
			t.Errorf("%s, closed %v", said(checks), closed)
		}
	}
}

// The machine is reached by each of its addresses, not by its first one alone.
func TestEachAddressIsProbed(t *testing.T) {
	t.Parallel()
	c := newSky(t, func(w *ocitest.World, n ocitest.Node) {
		w.AddVNIC(n, "second", n.NSGID)
		w.VNICs[len(w.VNICs)-1].PublicIP = "127.0.0.2"
	})
	d := c.door()
	d.Probe = 3 * time.Second
	checks := d.Closed(t.Context())
	var asked []string
	for _, check := range checks {
		if check.ID == node.SSHClosed {
			asked = append(asked, check.Wanted+check.Got)
		}
	}
	if len(asked) != 2 || !strings.Contains(asked[1], "127.0.0.2") {
		t.Errorf("%q", asked)
	}
}

// Two runners that looked at the same moment, when neither had opened its door.
func TestTwoRunnersAtTheSameMoment(t *testing.T) {
	c := newSky(t)
	one, other := c.door(), c.door()
	for _, d := range []*Door{one, other} {
		if before := d.Before(t.Context()); verdict.Of(before) != verdict.Proven {
			t.Fatal(said(before))
		}
	}
	if _, err := one.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(t.Context()); verdict.Reason(err) != ingress.Busy {
		t.Errorf("%v", err)
	}
	// It closes its own, and cannot call the machine closed.
	checks, closed := other.Close(t.Context())
	if closed || c.leases() != 1 || said(checks) != "ingress-lease-closed=proven public-ssh-rules=disproven" {
		t.Errorf("%s, closed %v, %d leases", said(checks), closed, c.leases())
	}
	if checks, closed := one.Close(t.Context()); !closed || c.leases() != 0 {
		t.Errorf("%s, %d leases", said(checks), c.leases())
	}
}

// What another runner left and has ended is closed; and what this runner can't
// close is tried and said once.
func TestBeforeSweeps(t *testing.T) {
	c := newSky(t)
	dead := c.door()
	if before := dead.Before(t.Context()); verdict.Of(before) != verdict.Proven {
		t.Fatal(said(before))
	}
	if _, err := dead.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := c.door()
	if before := next.Before(t.Context()); !strings.Contains(said(before), "ingress-busy=disproven") || c.leases() != 1 {
		t.Errorf("%s", said(before))
	}
	c.server.Offset(time.Hour + time.Second)
	write(t, filepath.Join(next.Keeper.Dir, strings.Repeat("a", 32)+".json"), "{")
	const want = "ingress-record=unproven ingress-lease-closed=proven instance-running=proven ingress-busy=proven public-ssh-rules=proven"
	if before := next.Before(t.Context()); said(before) != want || c.leases() != 0 {
		t.Errorf("%s, %d leases", said(before), c.leases())
	}
}

// The work ends before the lease does, and says why. A way that exists already
// does not.
func TestLimit(t *testing.T) {
	d := &Door{Access: ByLease, TTL: 5 * time.Minute}
	ctx, cancel := d.Limit(t.Context(), 5*time.Minute)
	defer cancel()
	<-ctx.Done()
	if c := verdict.ChecksOf(context.Cause(ctx)); len(c) != 1 || c[0].ID != ingress.Expired || c[0].Verdict != verdict.Unproven || !strings.Contains(c[0].Hint, "lease_ttl") {
		t.Errorf("%+v", c)
	}
	d.Access = Direct
	ctx, cancel = d.Limit(t.Context(), 5*time.Minute)
	defer cancel()
	if _, has := ctx.Deadline(); has {
		t.Error("there is no lease to end")
	}
}

// The address is the cloud's: a handoff may be older than the machine's.
func TestTheCloudsAddressCounts(t *testing.T) {
	var log []string
	d := &Door{Access: ByLease, Node: "edge-1", Address: "203.0.113.9", Logf: func(format string, args ...any) { log = append(log, format) }}
	spec := &fleet.Spec{Nodes: []string{"edge-1"}, Handoff: &handoff.Document{Nodes: []handoff.Node{{Name: "edge-1", PublicIP: "203.0.113.8"}}}}
	j := &Job{Bootstrap: &Bootstrap{Deploy: &fleet.Deployment{Spec: spec}}, Door: d}
	j.Reach()
	if spec.Hosts["edge-1"] != "203.0.113.9" || len(log) != 1 || spec.OffTailnet != "access: nsg" {
		t.Errorf("%v, %q", spec.Hosts, log)
	}
}
