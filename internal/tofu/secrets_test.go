package tofu

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecrets(t *testing.T) {
	for name, c := range map[string]struct {
		environ, want []string
	}{
		"none":                 {[]string{"PATH=/bin", "PGHOST=db", "AWS_REGION=home", "AWS_ACCESS_KEY_ID=AK", "PGPASSWORD="}, nil},
		"by name":              {[]string{"PGPASSWORD=p1", "AWS_SECRET_ACCESS_KEY=s1", "AWS_SESSION_TOKEN=s2", "TF_TOKEN_a_b=t"}, []string{"p1", "s1", "s2", "t"}},
		"a URL":                {[]string{"PG_CONN_STR=postgres://u:p%40ss@h/db"}, []string{"postgres://u:p%40ss@h/db", "p%40ss", "p@ss"}},
		"no URL, and as if":    {[]string{"PG_CONN_STR=postgres://u:p@ss@h:port/db"}, []string{"postgres://u:p@ss@h:port/db", "p@ss"}},
		"without a password":   {[]string{"PG_CONN_STR=postgres://h/db"}, []string{"postgres://h/db"}},
		"without who":          {[]string{"PG_CONN_STR=postgres://h:5432/db"}, []string{"postgres://h:5432/db"}},
		"keys and values":      {[]string{"PG_CONN_STR=host=h password=secret sslmode=disable"}, []string{"host=h password=secret sslmode=disable", "secret"}},
		"a value in quotes":    {[]string{"PG_CONN_STR=host=h password='secret'"}, []string{"host=h password='secret'", "secret"}},
		"an escape that is no": {[]string{"PG_CONN_STR=postgres://u:p%zz@h/db"}, []string{"postgres://u:p%zz@h/db", "p%zz"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Secrets(c.environ)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// The lock that could not be given back is told apart from one that was not got,
// and from what else went wrong.
func TestPlanError(t *testing.T) {
	releasing, acquiring := Diagnostic{Summary: "Error releasing the state lock"}, Diagnostic{Summary: "Error acquiring the state lock"}
	for want, diagnostics := range map[string][]Diagnostic{
		"state-lock-lost": {releasing}, "state-locked": {acquiring}, "plan-failed": {{Summary: "Invalid index"}, releasing},
	} {
		if got := planError(diagnostics, nil).Error(); got[:len(want)] != want {
			t.Errorf("wanted %s, got %s", want, got)
		}
	}
}
