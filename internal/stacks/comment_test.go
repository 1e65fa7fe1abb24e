package stacks

import (
	"fmt"
	"strings"
	"testing"

	"edge-actions/internal/tfplan"
	"edge-actions/internal/verdict"
)

// A comment on 10,000 changes of 50 stacks is below what a forge takes, shows
// what is lost first, and ends with a whole resource.
func TestCommentOfTenThousandChanges(t *testing.T) {
	var results []*Result
	total := 0
	for s := range 50 {
		p := &tfplan.Plan{}
		for i := range 200 {
			action := []tfplan.Action{tfplan.Create, tfplan.Update, tfplan.Update, tfplan.Create}[i%4]
			if i == 137 {
				action = []tfplan.Action{tfplan.Delete, tfplan.Replace, tfplan.Forget}[s%3]
			}
			p.Changes = append(p.Changes, tfplan.Change{Address: fmt.Sprintf(`module.m.oci_core_instance.n["a|b%d"]`, i), Type: "oci_core_instance", Mode: "managed", Action: action, Attributes: []string{"a"}})
			total++
		}
		counts, changed := p.Counts(), true
		results = append(results, &Result{Name: fmt.Sprintf("stack-%02d", s), Verdict: verdict.Proven, plan: p, Counts: &counts, Changes: &changed})
	}
	text := comment(results, "plan", false)
	if len(text) > tfplan.MaxMarkdown {
		t.Errorf("%d bytes", len(text))
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	shown, lost, first := 0, 0, -1
	for i, line := range lines {
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes", len(line))
		}
		if !strings.HasPrefix(line, "- ") {
			continue
		}
		shown++
		if strings.Contains(line, "**delete**") || strings.Contains(line, "**replace**") || strings.Contains(line, "**forget**") {
			lost++
			if first >= 0 {
				t.Errorf("line %d comes after what is not lost: %s", i, line)
			}
		} else if first < 0 {
			first = i
		}
		if !strings.Contains(line, "&#93;") && !strings.HasSuffix(strings.Split(line, ": changes")[0], "]") {
			t.Errorf("cut in the middle: %q", line)
		}
		if strings.Contains(line, "a|b") {
			t.Errorf("not escaped: %q", line)
		}
	}
	if lost != 50 || shown < 200 {
		t.Errorf("%d shown, %d lost", shown, lost)
	}
	for _, want := range []string{"50 of 50 stacks proven. Plan: ", "| stack-49 | proven | Plan: ", "**Deleted, replaced or forgotten**", "Not shown one by one: "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
	// What is left out and what is shown are all there is.
	left := 0
	for _, part := range strings.Split(strings.TrimSuffix(strings.TrimPrefix(lines[len(lines)-1], "Not shown one by one: "), "."), ", ") {
		n := 0
		if _, err := fmt.Sscanf(part, "%d ×", &n); err != nil {
			t.Errorf("%q: %v", part, err)
		}
		left += n
	}
	if shown+left != total {
		t.Errorf("%d shown and %d counted of %d", shown, left, total)
	}
}

func TestCommentOfOneStack(t *testing.T) {
	plan := &tfplan.Plan{Changes: []tfplan.Change{{Address: "a.b", Type: "a", Mode: "managed", Action: tfplan.Create}}}
	counts := plan.Counts()
	drift := &tfplan.Drift{Resources: []tfplan.Drifted{{Address: "a.b", Type: "a", Action: tfplan.Update, Attributes: []tfplan.Attribute{{Path: "x", Before: "1", After: "@all"}}}}}
	for name, c := range map[string]struct {
		result *Result
		what   string
		want   string
	}{
		"a plan":    {&Result{Verdict: verdict.Proven, plan: plan, Counts: &counts}, "plan", "**Plan: 1 to add, 0 to change, 0 to destroy.**\n\n- **create** a.b\n"},
		"a drift":   {&Result{Verdict: verdict.Disproven, FailureReason: "drift", drift: drift}, "drift", "**Drift: 1 changed outside, 0 deleted outside. drift**\n\n- a.b: changed outside\n  - x: 1 -> &#64;all\n"},
		"a failure": {&Result{Verdict: verdict.Unproven, FailureReason: "init"}, "plan", "**init**\n\n"},
		"nothing":   {&Result{Verdict: verdict.Unproven}, "plan", "**No plan: unproven.**\n\n"},
	} {
		if got := comment([]*Result{c.result}, c.what, true); got != c.want {
			t.Errorf("%s: wanted\n%s\ngot\n%s", name, c.want, got)
		}
	}
	if got := comment(nil, "plan", false); !strings.HasPrefix(got, "**No stack has changed.**") {
		t.Error(got)
	}
}
