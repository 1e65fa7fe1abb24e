package verdict

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOf(t *testing.T) {
	proven, disproven, unproven := Check{Verdict: Proven}, Check{Verdict: Disproven}, Check{Verdict: Unproven}
	waived := Check{Verdict: Disproven, Waived: "allow_it"}
	for name, test := range map[string]struct {
		checks []Check
		want   Verdict
	}{
		"none":                    {nil, Unproven},
		"proven":                  {[]Check{proven, proven}, Proven},
		"one unproven":            {[]Check{proven, unproven, proven}, Unproven},
		"one disproven":           {[]Check{unproven, proven, disproven}, Disproven},
		"a waiver beside proof":   {[]Check{proven, waived}, Proven},
		"a waiver alone":          {[]Check{waived}, Unproven},
		"a waived proof alone":    {[]Check{{Verdict: Proven, Waived: "x"}}, Unproven},
		"a waiver hides no other": {[]Check{proven, waived, disproven}, Disproven},
		"an unknown word":         {[]Check{proven, {Verdict: "skipped"}}, Unproven},
		"an empty word":           {[]Check{proven, {}}, Unproven},
	} {
		if got := Of(test.checks); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestChecksOf(t *testing.T) {
	a, b := Refuse("a", "x", "y", "do"), CannotTell("b", "x", errors.New("no route"), "do")
	ids := func(err error) string {
		var out []string
		for _, c := range ChecksOf(err) {
			out = append(out, c.ID+"="+string(c.Verdict))
		}
		return strings.Join(out, " ")
	}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"nil":                    {nil, ""},
		"a refusal":              {a, "a=disproven"},
		"wrapped":                {fmt.Errorf("reading: %w", a), "a=disproven"},
		"joined":                 {errors.Join(a, b), "a=disproven b=unproven"},
		"joined, wrapped":        {fmt.Errorf("reading: %w", errors.Join(a, b)), "a=disproven b=unproven"},
		"wrapped, joined":        {errors.Join(fmt.Errorf("one: %w", a), fmt.Errorf("two: %w", b)), "a=disproven b=unproven"},
		"two in one format":      {fmt.Errorf("%w and %w", a, b), "a=disproven b=unproven"},
		"joined in joined":       {errors.Join(errors.Join(a), b), "a=disproven b=unproven"},
		"plain":                  {errors.New("x"), "run=unproven"},
		"plain beside a refusal": {errors.Join(errors.New("x"), a), "run=unproven a=disproven"},
		"caused by several":      {CannotTell("c", "x", errors.Join(errors.New("1"), errors.New("2")), ""), "c=unproven"},
		"caused by a refusal":    {CannotTell("c", "x", a, ""), "c=unproven"},
	} {
		if got := ids(test.err); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if !Has(errors.Join(a, b), "z", "b") || Has(a, "b") || Reason(errors.Join(a, b)) != "a" || Reason(nil) != "" {
		t.Error("Has or Reason")
	}
	if cause := errors.New("cause"); !errors.Is(CannotTell("c", "x", cause, ""), cause) {
		t.Error("the cause is lost")
	}
}

func TestText(t *testing.T) {
	r := &Report{Action: "example", Subject: "node-1", Started: time.Unix(0, 0)}
	r.Prove("ssh", "a login", "one in 0.2 s")
	r.Add(Check{ID: "port", Verdict: Disproven, Wanted: "a closed port", Got: "an open\none", Hint: "close it"})
	r.Add(Check{ID: "age", Verdict: Unproven, Got: "3 d", Waived: "allow_old"})
	r.Finish(time.Unix(2, 0))
	want := `example: DISPROVEN (node-1) in 2.0 s
  proven     ssh: one in 0.2 s
  disproven  port
             wanted  a closed port
             found   an open
                     one
             do      close it
  unproven   age: 3 d  [waived by allow_old]
`
	if diff := cmp.Diff(want, r.Text()); diff != "" {
		t.Error(diff)
	}
}

func TestMarkdownIsOneTable(t *testing.T) {
	r := &Report{Action: "example", Subject: "a|b"}
	r.Add(Check{ID: "x", Verdict: Disproven, Wanted: "a | b\nc", Got: "<script>`x`"})
	r.Finish(time.Now())
	lines := strings.Split(strings.TrimSpace(r.Markdown()), "\n")
	if last := lines[len(lines)-1]; last != "| disproven | x | a \\| b c | &lt;script>'x' |  |" {
		t.Errorf("row %q", last)
	}
}
