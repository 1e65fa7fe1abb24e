package nixos

import (
	"cmp"
	"fmt"
	"strings"

	"edge-actions/internal/verdict"
)

// Result is what became of an activation.
type Result struct {
	Outcome Outcome
	// Reason says why it was rolled back or refused: one of the guard's words,
	// such as "failed-units" or "not-confirmed".
	Reason   string
	Previous string // the store path of the system before
	State    State  // as it was seen last
	// Checks are those of the health, and what did not hold.
	Checks []verdict.Check
	// Logs and Units are what the host said; foreign text.
	Logs  map[string]string
	Units []Unit
}

// judge turns the host's last word into the result.
func (r *run) judge(s *status) *Result {
	r.result.State, r.result.Logs, r.result.Units = s.State, s.Logs, s.Units
	wanted := "the system " + r.System + " live, healthy and the boot default"
	switch {
	case s.Phase == phaseCommitted && s.Profile == r.System && (s.Current == r.System || r.Goal == Boot):
		if r.Committed != nil {
			r.result.Checks = append(r.result.Checks, r.Committed(s.After)...)
		}
		if verdict.Of(r.result.Checks) == verdict.Disproven {
			return r.end(LiveNotCommitted, "boot-default")
		}
		return r.end(Converged, "")
	case s.Phase == phaseNot:
		return r.end(RolledBack, s.Reason, verdict.Check{ID: "activation", Verdict: verdict.Disproven, Wanted: wanted,
			Got: "the boot loader could not be written, so the boot default is as it was: " + tail(s.Logs["commit"]), Hint: "look at the room on /boot"})
	case s.Current != s.Profile && r.Goal == Switch:
		return r.end(LiveNotCommitted, cmp.Or(s.Reason, s.Phase), verdict.Check{ID: "activation", Verdict: verdict.Disproven, Wanted: wanted,
			Got: fmt.Sprintf("%s live and %s as the boot default", s.Current, s.Profile), Hint: "run the deploy again; a reboot leads to the boot default"})
	case s.Current == r.prev && s.BootID != r.boot:
		return r.end(RolledBack, cmp.Or(s.Reason, "rebooted"), verdict.Check{ID: "activation", Verdict: verdict.Disproven, Wanted: wanted,
			Got: "the host rebooted before the system was confirmed, into its previous one", Hint: "look at the host's journal of the boot before: journalctl -b -1 -e"})
	case s.Phase == phaseRolledBack && s.Current == r.prev:
		return r.end(RolledBack, s.Reason, r.rolledBack(s, wanted))
	case !s.Known && s.Current == r.prev:
		return r.end(Refused, "not-begun", verdict.Check{ID: "activation", Verdict: verdict.Unproven, Wanted: wanted,
			Got: "the connection broke before it began", Hint: "run the deploy again"})
	}
	return r.end(LiveNotCommitted, cmp.Or(s.Reason, s.Phase, "unknown"), verdict.Check{ID: "activation", Verdict: verdict.Unproven, Wanted: wanted,
		Got: fmt.Sprintf("phase %q, %s live and %s as the boot default", s.Phase, s.Current, s.Profile), Hint: "look at edge-actions-guard.service on the host, then run the deploy again"})
}

// reasons are the guard's words, for people.
var reasons = map[string]string{
	"failed-units":      "units failed in the new system",
	"needs-reboot":      "the new system can't be switched to without a reboot",
	"panicked":          "switch-to-configuration panicked",
	"activation-killed": "the activation was killed",
	"activation-hung":   "the activation did not end in time",
	"not-confirmed":     "nobody confirmed it in time: the host could not be reached or was not healthy",
	"locked-out":        "nobody could log in anew",
	"unhealthy":         "its health checks did not hold",
	"connection-lost":   "the connection broke in the activation",
	"commit-failed":     "it could not be made the boot default",
}

func (r *run) rolledBack(s *status, wanted string) verdict.Check {
	why, ok := reasons[s.Reason]
	if code, found := strings.CutPrefix(s.Reason, "activation-failed-"); found {
		why, ok = fmt.Sprintf("switch-to-configuration ended with exit code %.10q", code), true
	}
	if !ok {
		why = fmt.Sprintf("%.100q", s.Reason)
	}
	got := []string{"rolled back: " + why}
	for _, unit := range s.Units {
		got = append(got, fmt.Sprintf("%.200q said: %.1500q", unit.Name, tail(unit.Journal)))
	}
	log := s.Logs["activation"]
	if s.Reason == "commit-failed" {
		log = s.Logs["commit"]
	}
	if len(s.Units) == 0 && log != "" && s.Reason != "unhealthy" && s.Reason != "not-confirmed" {
		got = append(got, "it said: "+tail(log))
	}
	hint := "mend the configuration and deploy again; the host is on its previous system"
	switch s.Reason {
	case "needs-reboot":
		hint = "deploy it with goal: boot, then run reboot-validate"
	case "commit-failed":
		hint = "look at the room on /boot, then deploy again"
	}
	return verdict.Check{ID: "activation", Verdict: verdict.Disproven, Wanted: wanted, Got: strings.Join(got, "\n"), Hint: hint}
}

// tail quotes the end of what a host said.
func tail(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return fmt.Sprintf("%.1500q", strings.Join(lines[max(0, len(lines)-8):], "\n"))
}

// lost is the result when nobody can ask the host any more.
func (r *run) lost(err error) *Result {
	return r.end(Unreachable, cmp.Or(verdict.Reason(err), "unreachable"), append(verdict.ChecksOf(err), verdict.Check{
		ID: "activation", Verdict: verdict.Unproven, Wanted: "the system " + r.System + " live, healthy and the boot default",
		Got:  "nobody could see how it ended; the host goes back to " + r.prev + " by itself at its deadline, by a reboot if it has to",
		Hint: "look at the host's console; a reboot leads to the system before",
	})...)
}

func (r *run) end(o Outcome, reason string, checks ...verdict.Check) *Result {
	r.result.Outcome, r.result.Reason = o, reason
	r.result.Checks = append(r.result.Checks, checks...)
	return r.result
}
