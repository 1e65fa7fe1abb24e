package versions

import (
	"testing"

	"edge-actions/internal/verdict"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		constraint, found string
		want              verdict.Verdict
	}{
		{">= 1.10, < 2.0", "1.10.0", verdict.Proven},
		{">= 1.10, < 2.0", "v1.12.6", verdict.Proven},
		{">= 1.10, < 2.0", "1.9.9", verdict.Disproven},
		{">= 1.10, < 2.0", "2.0.0", verdict.Disproven},
		{">= 1.10, < 2.0", "1.12.0-rc1", verdict.Disproven},
		{"~> 0.18.1", "0.18.9", verdict.Proven},
		{"~> 0.18.1", "0.19.0", verdict.Disproven},
		{">= 1", "", verdict.Unproven},
		{">= 1", "unknown", verdict.Unproven},
	} {
		c, err := ParseConstraint(test.constraint)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Check("tool", test.found, "install it")
		got := verdict.Proven
		if checks := verdict.ChecksOf(err); len(checks) > 0 {
			got = checks[0].Verdict
			if checks[0].ID != "tool-version" || checks[0].Hint != "install it" || checks[0].Got == "" {
				t.Errorf("%+v", checks[0])
			}
		}
		if got != test.want {
			t.Errorf("%s for %q: %s, want %s", test.found, test.constraint, got, test.want)
		}
	}
	for _, bad := range []string{"", "latest", "1.x", ">= "} {
		if c, err := ParseConstraint(bad); err == nil {
			t.Errorf("%q is taken as %q", bad, c)
		}
	}
}
