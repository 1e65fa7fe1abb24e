package tailnet

import (
	"fmt"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

const running = "Running"

// Check judges the node whose status this is, be it the runner or a remote
// host: it is on the tailnet, connected to the control plane, its key is valid
// for margin longer than now, and it complains about nothing. There is one
// check for each, always the same four, so that one of them can be waived: an
// available update is a complaint too.
//
// What is bad is so in any state; what is good is taken only from a tailscaled
// that runs. One that is logged out has a key that does not expire.
//
// All of it is the node's own word, and the control plane's. That it can be
// reached is shown by Ping and by a connection, from somewhere else.
func (s *Status) Check(now time.Time, margin time.Duration) []verdict.Check {
	checks := []verdict.Check{s.state(), s.online(), s.key(now, margin), s.health()}
	for i, c := range checks[1:] {
		if c.Verdict == verdict.Proven && s.BackendState != running {
			checks[i+1] = verdict.CannotTell(c.ID, c.Wanted, fmt.Errorf("a tailscaled in the state %.80q", s.BackendState), "bring it up first").Check
		}
	}
	return checks
}

func (s *Status) state() verdict.Check {
	c := verdict.Check{ID: State, Verdict: verdict.Disproven, Wanted: "tailscaled to run on its tailnet", Got: fmt.Sprintf("the state %.80q", s.BackendState)}
	switch s.BackendState {
	case running:
		c.Verdict = verdict.Proven
	case "NeedsLogin":
		c.Hint = "it is logged out, or its key has expired: log it in again on its console (tailscale up)"
	case "NeedsMachineAuth":
		c.Hint = "approve the machine in the tailnet's admin console"
	case "Stopped":
		c.Hint = "bring it up on its console (tailscale up)"
	case "Starting", "NoState":
		c.Hint = "it has not come up yet: look again in a minute, then at its log (journalctl -u tailscaled)"
	case "InUseOtherUser":
		c.Hint = "another user of that machine holds tailscaled: log in as that user"
	default:
		c.Verdict, c.Hint = verdict.Unproven, "this state is not known here: see what tailscale status says there"
	}
	return c
}

func (s *Status) online() verdict.Check {
	const wanted = "the node to be connected to the control plane"
	switch {
	case s.Self == nil:
		return noSelf(Online, wanted)
	case !s.Self.Online:
		return verdict.Refuse(Online, wanted, "it is not", "look at the node's network, and at whether it reaches the control plane (tailscale netcheck)").Check
	}
	return verdict.Check{ID: Online, Verdict: verdict.Proven, Wanted: wanted, Got: "online"}
}

func (s *Status) key(now time.Time, margin time.Duration) verdict.Check {
	const hint = "renew it on the node's console (tailscale up --force-reauth), or switch its expiry off in the tailnet's admin console"
	wanted := "a node key that has not expired"
	if margin > 0 {
		wanted = fmt.Sprintf("a node key that is valid for another %s", span(margin))
	}
	if s.Self == nil {
		return noSelf(Key, wanted)
	}
	expiry, at := s.Self.KeyExpiry, ""
	if expiry != nil && !expiry.IsZero() {
		at = expiry.UTC().Format(time.RFC3339)
	}
	switch {
	case s.Self.Expired || at != "" && !expiry.After(now):
		got := "one that has expired"
		if at != "" {
			got += ", its date is " + at
		}
		return verdict.Refuse(Key, wanted, got, hint).Check
	case at == "":
		return verdict.Check{ID: Key, Verdict: verdict.Proven, Wanted: wanted, Got: "one that does not expire"}
	case expiry.Before(now.Add(margin)):
		return verdict.Refuse(Key, wanted, fmt.Sprintf("one that expires in %s, at %s", span(expiry.Sub(now)), at), hint).Check
	}
	return verdict.Check{ID: Key, Verdict: verdict.Proven, Wanted: wanted, Got: "one that expires at " + at}
}

func (s *Status) health() verdict.Check {
	const wanted, most = "tailscaled to have no complaint", 8
	if len(s.Health) == 0 {
		return verdict.Check{ID: Health, Verdict: verdict.Proven, Wanted: wanted, Got: "no complaint"}
	}
	var got []string
	for _, text := range s.Health[:min(len(s.Health), most)] {
		got = append(got, fmt.Sprintf("%.300q", text))
	}
	if more := len(s.Health) - most; more > 0 {
		got = append(got, fmt.Sprintf("and %d more", more))
	}
	return verdict.Refuse(Health, wanted, strings.Join(got, "; "), "mend what it names on the node (tailscale status shows it), or waive this check").Check
}

func noSelf(id, wanted string) verdict.Check {
	return verdict.CannotTell(id, wanted, fmt.Errorf("a status that does not speak of the node itself"), "see what tailscale status --json says there").Check
}

// span is a duration in the unit in which people think of it.
func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return d.Round(time.Second).String()
}
