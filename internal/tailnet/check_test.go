package tailnet

import (
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func healthy() *Status {
	return &Status{BackendState: running, Self: &Peer{DNSName: "edge-1.lab.example.", Online: true}}
}

func TestCheckVerdicts(t *testing.T) {
	in := func(d time.Duration) *time.Time { at := now.Add(d); return &at }
	for name, tc := range map[string]struct {
		change func(*Status)
		margin time.Duration
		want   string // of state, online, key and health
	}{
		"well":                             {func(*Status) {}, month, "proven proven proven proven"},
		"no status at all":                 {func(s *Status) { *s = Status{} }, 0, "unproven unproven unproven unproven"},
		"nothing of itself":                {func(s *Status) { s.Self = nil }, 0, "proven unproven unproven proven"},
		"not connected":                    {func(s *Status) { s.Self.Online = false }, 0, "proven disproven proven proven"},
		"expired, it says":                 {func(s *Status) { s.Self.Expired = true }, 0, "proven proven disproven proven"},
		"expired now":                      {func(s *Status) { s.Self.KeyExpiry = in(0) }, 0, "proven proven disproven proven"},
		"expired, and it has not noticed":  {func(s *Status) { s.Self.KeyExpiry = in(-time.Hour) }, 0, "proven proven disproven proven"},
		"expires in a second":              {func(s *Status) { s.Self.KeyExpiry = in(time.Second) }, 0, "proven proven proven proven"},
		"just within the margin":           {func(s *Status) { s.Self.KeyExpiry = in(month - 1) }, month, "proven proven disproven proven"},
		"at the margin":                    {func(s *Status) { s.Self.KeyExpiry = in(month) }, month, "proven proven proven proven"},
		"a margin below zero is none":      {func(s *Status) { s.Self.KeyExpiry = in(-time.Second) }, -time.Hour, "proven proven disproven proven"},
		"no expiry, as a date":             {func(s *Status) { s.Self.KeyExpiry = &time.Time{} }, month, "proven proven proven proven"},
		"it complains":                     {func(s *Status) { s.Health = []string{"x"} }, 0, "proven proven proven disproven"},
		"it complains without words":       {func(s *Status) { s.Health = []string{""} }, 0, "proven proven proven disproven"},
		"another state":                    {func(s *Status) { s.BackendState = "running" }, 0, "unproven unproven unproven unproven"},
		"logged out":                       {func(s *Status) { s.BackendState = "NeedsLogin" }, 0, "disproven unproven unproven unproven"},
		"coming up":                        {func(s *Status) { s.BackendState = "NoState" }, 0, "disproven unproven unproven unproven"},
		"another user's":                   {func(s *Status) { s.BackendState = "InUseOtherUser" }, 0, "disproven unproven unproven unproven"},
		"bad news of one that is stopped":  {func(s *Status) { s.BackendState, s.Health = "Stopped", []string{"x"} }, 0, "disproven unproven unproven disproven"},
		"bad news of one that is expiring": {func(s *Status) { s.BackendState, s.Self.KeyExpiry = "Stopped", in(1) }, month, "disproven unproven disproven unproven"},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			tc.change(s)
			checks := s.Check(now, tc.margin)
			var ids, got []string
			for _, c := range checks {
				ids, got = append(ids, c.ID), append(got, string(c.Verdict))
			}
			if diff := cmp.Diff([]string{State, Online, Key, Health}, ids); diff != "" {
				t.Errorf("the checks are not always the same (-want +got):\n%s", diff)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %s, want %s: %+v", got, tc.want, checks)
			}
			if proven := verdict.Of(checks) == verdict.Proven; proven != (tc.want == "proven proven proven proven") {
				t.Errorf("in all: %s", verdict.Of(checks))
			}
			fit(t, checks)
		})
	}
}
