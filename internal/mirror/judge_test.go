package mirror

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/forge"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestFresh(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	m := &Mirror{MaxAge: time.Hour}
	for name, test := range map[string]struct {
		push forge.PushMirror
		want verdict.Verdict
		says string
	}{
		"now":                  {forge.PushMirror{LastUpdate: now}, verdict.Proven, "0s ago"},
		"at the limit":         {forge.PushMirror{LastUpdate: now.Add(-time.Hour)}, verdict.Proven, "1h0m0s ago"},
		"over it":              {forge.PushMirror{LastUpdate: now.Add(-time.Hour - time.Second)}, verdict.Disproven, "1h0m1s ago"},
		"never":                {forge.PushMirror{}, verdict.Disproven, "none at all"},
		"a second early":       {forge.PushMirror{LastUpdate: now.Add(time.Second)}, verdict.Proven, "0s ago"},
		"in the future":        {forge.PushMirror{LastUpdate: now.Add(2 * time.Minute)}, verdict.Unproven, "by the forge's own clock"},
		"in the future by far": {forge.PushMirror{LastUpdate: now.Add(9000 * time.Hour)}, verdict.Unproven, "by the forge's own clock"},
	} {
		if c := m.fresh(&test.push, now); c.ID != Fresh || c.Verdict != test.want || !strings.Contains(c.Got, test.says) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestClean(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		push forge.PushMirror
		want verdict.Verdict
	}{
		"well":           {forge.PushMirror{LastUpdate: now}, verdict.Proven},
		"not well":       {forge.PushMirror{LastUpdate: now, LastError: "denied\n::add-path::/x"}, verdict.Disproven},
		"never":          {forge.PushMirror{}, verdict.Unproven},
		"never and ill":  {forge.PushMirror{LastError: "x"}, verdict.Disproven},
		"quoted foreign": {forge.PushMirror{LastUpdate: now, LastError: "\n"}, verdict.Disproven},
	} {
		c := clean(&test.push)
		if c.Verdict != test.want || strings.Contains(c.Got, "\n") {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestDiffer(t *testing.T) {
	a, b := Ref{id("a"), id("a")}, Ref{id("b"), id("b")}
	diffs, equal := differ(
		Refs{"refs/heads/same": a, "refs/heads/missing": a, "refs/heads/other": a, "refs/tags/moved": {id("1"), id("a")}},
		Refs{"refs/heads/same": a, "refs/heads/other": b, "refs/heads/extra": b, "refs/tags/moved": {id("2"), id("a")}})
	want := []Difference{
		{Ref: "refs/heads/extra", Mirror: b, State: Unknown},
		{Ref: "refs/heads/missing", Forge: a, State: Missing},
		{Ref: "refs/heads/other", Forge: a, Mirror: b, State: Unknown},
		{Ref: "refs/tags/moved", Forge: Ref{id("1"), id("a")}, Mirror: Ref{id("2"), id("a")}, State: Unknown},
	}
	if diff := cmp.Diff(want, diffs); diff != "" || equal != 1 {
		t.Errorf("%d equal\n%s", equal, diff)
	}
}

// A difference of each kind is in exactly one check, and one that is not
// understood is in both.
func TestJudge(t *testing.T) {
	current := func(s State) verdict.Verdict {
		return judge(Current, "x", []Difference{{Ref: "refs/heads/a", State: s}}, "do", State.late, 1).Verdict
	}
	untouched := func(s State) verdict.Verdict {
		return judge(Untouched, "x", []Difference{{Ref: "refs/heads/a", State: s}}, "do", State.foreign, 1).Verdict
	}
	want := map[State][2]verdict.Verdict{
		Missing: {verdict.Disproven, verdict.Proven}, Behind: {verdict.Disproven, verdict.Proven}, Rewritten: {verdict.Disproven, verdict.Proven}, Stale: {verdict.Disproven, verdict.Proven},
		Ahead: {verdict.Proven, verdict.Disproven}, Diverged: {verdict.Proven, verdict.Disproven}, Foreign: {verdict.Proven, verdict.Disproven},
		Unknown: {verdict.Unproven, verdict.Unproven},
	}
	for state, v := range want {
		if got := [2]verdict.Verdict{current(state), untouched(state)}; got != v {
			t.Errorf("%s: %v, wanted %v", state, got, v)
		}
	}
	var many []Difference
	for i := range 30 {
		many = append(many, Difference{Ref: fmt.Sprintf("refs/heads/%02d", i), State: Missing})
	}
	if c := judge(Current, "x", append(many, Difference{Ref: "refs/heads/u", State: Unknown}), "do", State.late, 1); c.Verdict != verdict.Disproven || !strings.HasSuffix(c.Got, "and 20 more") || strings.Count(c.Got, "\n") != 10 {
		t.Errorf("%+v", c)
	}
}
