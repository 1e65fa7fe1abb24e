package oci_test

import (
	"fmt"
	"slices"
	"testing"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

func TestRemoveRules(t *testing.T) {
	for name, test := range map[string]struct {
		fault ocitest.Fault
		gone  int // the API's answer for a rule that is gone
		id    string
		left  int
	}{
		"no fault":               {ocitest.Fault{}, 400, "", 1},
		"throttled":              {ocitest.Fault{Kind: ocitest.Throttle, Times: 2}, 400, "", 1},
		"lost request":           {ocitest.Fault{Kind: ocitest.LoseRequest, Times: 2}, 400, "", 1},
		"lost response":          {ocitest.Fault{Kind: ocitest.LoseResponse, Times: 1}, 400, "", 1},
		"lost response, and 404": {ocitest.Fault{Kind: ocitest.LoseResponse, Times: 1}, 404, "", 1},
		"lost response, and 200": {ocitest.Fault{Kind: ocitest.LoseResponse, Times: 1}, 200, "", 1},
		"cut response":           {ocitest.Fault{Kind: ocitest.CutResponse, Times: 1}, 400, "", 1},
		"server error, all gone": {ocitest.Fault{Kind: ocitest.FailAfter, Times: 1, Status: 500}, 400, "", 1},
		"a refusal for good":     {ocitest.Fault{Kind: ocitest.Fail, Times: -1, Status: 400, Code: "InvalidParameter"}, 400, oci.Refused, 3},
		"not found for good":     {ocitest.Fault{Kind: ocitest.Fail, Times: -1, Status: 404, Code: "NotAuthorizedOrNotFound"}, 400, oci.MissingOrForbidden, 3},
		"forbidden":              {ocitest.Fault{Kind: ocitest.Fail, Times: -1, Status: 403, Code: "NotAllowed"}, 400, oci.Forbidden, 3},
		"throttled for good":     {ocitest.Fault{Kind: ocitest.Throttle, Times: -1}, 400, oci.Throttled, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, n := rig(t, func(w *ocitest.World) {
				for i := range 3 {
					w.AddRule(w.NSGs[0].ID, ocitest.SSHFrom("10.0.0.0/8", fmt.Sprint(i)))
				}
			})
			s.GoneRule(test.gone, "InvalidParameter")
			rules := s.World().NSG(n.NSGID).Rules
			test.fault.Method = "POST"
			s.Inject(test.fault)
			err := c.RemoveRules(t.Context(), n.NSGID, rules[0].ID, rules[2].ID)
			if verdict.Reason(err) != test.id {
				t.Errorf("%v", err)
			}
			left := s.World().NSG(n.NSGID).Rules
			if len(left) != test.left || !slices.ContainsFunc(left, func(r ocitest.Rule) bool { return r.ID == rules[1].ID }) {
				t.Errorf("left: %+v", left)
			}
		})
	}
}

func TestRemoveWhatIsHalfGone(t *testing.T) {
	s, c, n := rig(t, func(w *ocitest.World) {
		for range 60 {
			w.AddRule(w.NSGs[0].ID, ocitest.SSHFrom("10.0.0.0/8", ""))
		}
	})
	var ids []string
	for _, r := range s.World().NSG(n.NSGID).Rules {
		ids = append(ids, r.ID)
	}
	s.Change(func(w *ocitest.World) { w.NSGs[0].Rules = slices.Delete(w.NSGs[0].Rules, 3, 7) })
	if err := c.RemoveRules(t.Context(), n.NSGID, ids...); err != nil {
		t.Error(err)
	}
	if left := s.World().NSG(n.NSGID).Rules; len(left) != 0 {
		t.Errorf("%d left", len(left))
	}
	before := c.Calls()
	if err := c.RemoveRules(t.Context(), n.NSGID); err != nil || c.Calls() != before {
		t.Errorf("nothing to remove: %v", err)
	}
	// A list that can't be read decides nothing.
	s.Inject(ocitest.Fault{Kind: ocitest.Throttle, Method: "GET", Times: -1})
	if err := c.RemoveRules(t.Context(), n.NSGID, ids[0]); !verdict.Has(err, oci.Refused) {
		t.Errorf("%v", err)
	}
}
