package ingress

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

// Whatever the network and the cloud do to the requests: the door is open when
// Open says so, there is one rule for it unless the cloud hid the first, and
// after Close none of ours is left and the foreign one is as it was.
func TestLease(t *testing.T) {
	const add, remove, list = "actions/addSecurityRules", "actions/removeSecurityRules", "/securityRules?"
	for name, tt := range map[string]struct {
		before func(*rig) // Open
		then   func(*rig) // and before Close
		rules  int        // after Open
	}{
		"all is well":                   {rules: 1},
		"the answer of the add is lost": {before: func(r *rig) { r.server.LoseResponse("POST", add, 1) }, rules: 1},
		"it is lost again and again":    {before: func(r *rig) { r.server.LoseResponse("POST", add, 3) }, rules: 1},
		"the add is lost":               {before: func(r *rig) { r.server.LoseRequest("POST", add, 1) }, rules: 1},
		"the answer of the add is cut": {before: func(r *rig) {
			r.server.Inject(ocitest.Fault{Kind: ocitest.CutResponse, Method: "POST", Path: add, Times: 1})
		}, rules: 1},
		"it is somebody else's": {before: func(r *rig) {
			r.server.Inject(ocitest.Fault{Kind: ocitest.Garble, Method: "POST", Path: add, Times: 1})
		}, rules: 1},
		"a 500 after the effect": {before: func(r *rig) {
			r.server.Inject(ocitest.Fault{Kind: ocitest.FailAfter, Method: "POST", Path: add, Times: 1, Status: 500, Code: "InternalServerError"})
		}, rules: 1},
		"a 503 without one": {before: func(r *rig) { r.server.Fail("POST", add, 2, 503, "ServiceUnavailable") }, rules: 1},
		"a 429 for the add": {before: func(r *rig) {
			r.server.Inject(ocitest.Fault{Kind: ocitest.Throttle, Method: "POST", Path: add, Times: 3})
		}, rules: 1},
		"a 409 for the add":              {before: func(r *rig) { r.server.Fail("POST", add, 1, 409, "IncorrectState") }, rules: 1},
		"the list lags":                  {before: func(r *rig) { r.server.Eventual(4) }, rules: 1},
		"it lags and the answer is lost": {before: func(r *rig) { r.server.Eventual(4); r.server.LoseResponse("POST", add, 1) }, rules: 1},
		// Two rules with one nonce, and both go.
		"it lags for longer than we look": {before: func(r *rig) { r.server.Eventual(12); r.server.LoseResponse("POST", add, 1) }, rules: 2},
		"the list fails once": {before: func(r *rig) {
			r.server.Inject(ocitest.Fault{Kind: ocitest.Fail, Method: "GET", Path: list, Skip: 1, Times: 2, Status: 500})
		}, rules: 1},
		"the answer of the remove is lost": {then: func(r *rig) { r.server.LoseResponse("POST", remove, 1) }, rules: 1},
		"it is lost, and a gone rule is a 404": {then: func(r *rig) {
			r.server.GoneRule(404, "NotAuthorizedOrNotFound")
			r.server.LoseResponse("POST", remove, 1)
		}, rules: 1},
		"the remove is lost":                    {then: func(r *rig) { r.server.LoseRequest("POST", remove, 2) }, rules: 1},
		"a storm of 429":                        {then: func(r *rig) { r.server.Throttle(12) }, rules: 1},
		"a storm of 500":                        {then: func(r *rig) { r.server.Fail("", "", 12, 500, "InternalServerError") }, rules: 1},
		"the list lags behind the remove":       {then: func(r *rig) { r.server.Eventual(6) }, rules: 1},
		"the clock goes off by an hour":         {then: func(r *rig) { r.server.Offset(time.Hour) }, rules: 1},
		"the clock goes back by an hour":        {then: func(r *rig) { r.server.Offset(-time.Hour) }, rules: 1},
		"somebody else took the rule away":      {then: func(r *rig) { r.server.Change(func(w *ocitest.World) { drop(w, r) }) }, rules: 1},
		"the clock was off from the beginning":  {before: func(r *rig) { r.server.Offset(time.Hour) }, rules: 1},
		"the clock was off the other way round": {before: func(r *rig) { r.server.Offset(-90 * time.Minute) }, rules: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if tt.before != nil {
				tt.before(r)
			}
			l := r.open()
			want(t, l.Check(), verdict.Proven, Opened)
			if n := len(r.ours()); n != tt.rules {
				t.Errorf("%d rules, want %d", n, tt.rules)
			}
			for _, rule := range r.server.World().NSG(r.node.NSGID).Rules {
				if m, ok := ParseMarker(rule.Description); ok && (m != l.Marker || rule.Source != "198.51.100.7/32" || rule.TCPOptions.DestinationPortRange.Min != 22 || rule.TCPOptions.DestinationPortRange.Max != 22) {
					t.Errorf("%+v", rule)
				}
			}
			if until := l.Marker.Expires.Sub(r.server.Now()); until < 58*time.Minute || until > time.Hour {
				t.Errorf("it ends in %s, by the cloud's clock", until)
			}
			if tt.then != nil {
				tt.then(r)
			}
			want(t, l.Close(t.Context()), verdict.Proven, Closed)
			r.none()
			if r.keeper.Left() {
				t.Error("the runner remembers a lease that is closed")
			}
		})
	}
}

func drop(w *ocitest.World, r *rig) {
	for i := range w.NSGs {
		rules := w.NSGs[i].Rules[:0]
		for _, rule := range w.NSGs[i].Rules {
			if rule.ID == r.foreign {
				rules = append(rules, rule)
			}
		}
		w.NSGs[i].Rules = rules
	}
}

// An answer that is lost is not asked for again without a look: the second rule
// would be one that nobody knows of.
func TestOneAddAfterALostAnswer(t *testing.T) {
	r := newRig(t)
	r.server.LoseResponse("POST", "addSecurityRules", 1)
	r.open()
	if n := r.count("POST", "addSecurityRules"); n != 1 {
		t.Errorf("added %d times", n)
	}
}

func TestAClearNoIsNotRepeated(t *testing.T) {
	r := newRig(t)
	r.server.Fail("POST", "addSecurityRules", 100, 404, "NotAuthorizedOrNotFound")
	l, err := r.keeper.Open(t.Context(), r.request())
	refused(t, err, oci.MissingOrForbidden)
	if n := r.count("POST", "addSecurityRules"); n != 1 {
		t.Errorf("added %d times", n)
	}
	want(t, l.Close(t.Context()), verdict.Proven, Closed)
}

// What is not seen to be closed is not called so; the memory of it stays, and
// the next run closes it.
func TestCloseThatCanNotBeProven(t *testing.T) {
	for name, fault := range map[string]ocitest.Fault{
		"the list fails":     {Kind: ocitest.Fail, Method: "GET", Path: "/securityRules", Times: -1, Status: 500},
		"the list is hidden": {Kind: ocitest.Fail, Method: "GET", Path: "/securityRules", Times: -1, Status: 404, Code: "NotAuthorizedOrNotFound"},
		"the remove fails":   {Kind: ocitest.Fail, Method: "POST", Path: "removeSecurityRules", Times: -1, Status: 500},
		"it may not remove":  {Kind: ocitest.Fail, Method: "POST", Path: "removeSecurityRules", Times: -1, Status: 404, Code: "NotAuthorizedOrNotFound"},
		"all is throttled":   {Kind: ocitest.Throttle, Times: -1},
		"nobody answers":     {Kind: ocitest.LoseRequest, Times: -1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			l := r.open()
			r.server.Inject(fault)
			want(t, l.Close(t.Context()), verdict.Unproven, Closed, "ingress-sweep")
			if len(r.ours()) != 1 || !r.keeper.Left() {
				t.Errorf("rules %v, remembered %v", r.ours(), r.keeper.Left())
			}
			r.server.Heal()
			checks := r.keeper.Orphans(t.Context())
			if len(checks) != 1 || checks[0].Verdict != verdict.Proven {
				t.Errorf("%+v", checks)
			}
			r.none()
		})
	}
}

func TestAFullGroup(t *testing.T) {
	fill := func(n int) func(*ocitest.World) {
		return func(w *ocitest.World) {
			g := &w.NSGs[0]
			for i := len(g.Rules); i < n; i++ {
				w.AddRule(g.ID, ocitest.Rule{Direction: "EGRESS", Protocol: "6", Destination: "0.0.0.0/0", DestinationType: "CIDR_BLOCK", Description: fmt.Sprint(i)})
			}
		}
	}
	t.Run("119", func(t *testing.T) {
		r := newRig(t, fill(119))
		l := r.open()
		want(t, l.Close(t.Context()), verdict.Proven, Closed)
		r.none()
	})
	t.Run("120", func(t *testing.T) {
		r := newRig(t, fill(120))
		l, err := r.keeper.Open(t.Context(), r.request())
		refused(t, err, Full, "120 rules", "nsg_id")
		if l != nil || r.keeper.Left() || r.count("POST", "addSecurityRules") > 0 {
			t.Error("something was begun")
		}
		r.none()
	})
	// Somebody was quicker.
	t.Run("120 by the time of the add", func(t *testing.T) {
		r := newRig(t, fill(119))
		r.server.Inject(ocitest.Fault{Kind: ocitest.Fail, Method: "POST", Path: "addSecurityRules", Times: -1, Status: 400, Code: "LimitExceeded"})
		l, err := r.keeper.Open(t.Context(), r.request())
		refused(t, err, oci.Limit)
		want(t, l.Close(t.Context()), verdict.Proven, Closed)
		r.none()
	})
}

func TestWhatALeaseMayNotBe(t *testing.T) {
	r := newRig(t)
	for _, ttl := range []time.Duration{0, -1, Most + time.Second} {
		q := r.request()
		q.TTL = ttl
		if l, err := r.keeper.Open(t.Context(), q); err == nil || l != nil {
			t.Errorf("%s: %v", ttl, err)
		}
	}
	// Without a memory there is no door.
	blocked := r.runner(t.TempDir() + "/file")
	if err := os.WriteFile(blocked.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := blocked.Open(t.Context(), r.request()); err == nil || l != nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("%v", err)
	}
	r.none()
}

// Two runs on one runner, and the memory of one that lives.
func TestTwoRuns(t *testing.T) {
	r := newRig(t)
	release, err := r.keeper.Claim("edge-1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.runner(r.keeper.Dir).Claim("edge-1")
	refused(t, err, Busy, "concurrency")
	if other, err := r.runner(r.keeper.Dir).Claim("edge-2"); err != nil {
		t.Error(err)
	} else {
		other()
	}
	l := r.open()
	// Another run sweeps: a lease of a run that lives is not its to close.
	if checks := r.runner(r.keeper.Dir).Orphans(t.Context()); len(checks) > 0 || len(r.ours()) != 1 {
		t.Errorf("%+v, %v", checks, r.ours())
	}
	// Another runner opens one of its own for the same address, and closes it.
	second, err := r.runner(t.TempDir()).Open(t.Context(), r.request())
	if err != nil {
		t.Fatal(err)
	}
	want(t, second.Close(t.Context()), verdict.Proven, Closed)
	if ids := r.ours(); len(ids) != 1 || ids[0] != l.RuleID {
		t.Errorf("%v, want the first run's %s", ids, l.RuleID)
	}
	want(t, l.Close(t.Context()), verdict.Proven, Closed)
	release()
	again, err := r.keeper.Claim("edge-1")
	if err != nil {
		t.Fatal(err)
	}
	again()
	r.none()
}
