package tfstate

import (
	"fmt"
	"slices"

	"edge-actions/internal/verdict"
)

// Guards are the names of the things that stop a run because the state is not
// what the last good archive lets expect. Each can be accepted by name.
var Guards = []string{"new", "vanished", "serial", "lineage", "shrunk", "forked"}

// guards compares the state as it is now with the last good archive, which is
// nil if there is none. now is nil if there is no state. It returns what does
// not fit, in the terms of Guards.
func guards(now *snapshot, last *Manifest, shrinkPercent int) []verdict.Check {
	var out []verdict.Check
	add := func(id, wanted, got, hint string) {
		out = append(out, verdict.Check{ID: "state-" + id, Verdict: verdict.Disproven, Wanted: wanted, Got: got,
			Hint: hint + "; if it is meant to be so, set accept_state: " + id + " for this one run"})
	}
	if now == nil {
		if last == nil {
			add("new", "a state, or the word that this stack is new", "no state and no archive of one", "check path, workspace and backend_config")
			out[0].Verdict = verdict.Unproven
		} else {
			add("vanished", fmt.Sprintf("the state of archive %s (serial %d, %s)", last.Name, last.State.Serial, resources(last.State.Meta)),
				"no state, so the plan would create everything again", "check path, workspace, backend_config and the disk, or restore the archive")
		}
		return out
	}
	if last == nil {
		return nil
	}
	was, is := last.State.Meta, now.Meta
	if was.Lineage != is.Lineage {
		add("lineage", fmt.Sprintf("lineage %q, as in archive %s", was.Lineage, last.Name), fmt.Sprintf("%q", is.Lineage), "another state was put in this one's place: find out which")
		return out // serial and size of another state say nothing
	}
	switch {
	case is.Serial < was.Serial:
		add("serial", fmt.Sprintf("serial %d or later, as in archive %s", was.Serial, last.Name), fmt.Sprintf("serial %d", is.Serial), "an older state was put back: plans from before can become valid again")
	case is.Serial == was.Serial && now.SHA256 != last.State.SHA256 && is.TerraformVersion == was.TerraformVersion && !is.Encrypted:
		// OpenTofu counts the serial up with every change. Only its own version
		// may change under the same serial, and an encrypted state is written
		// with a new nonce each time.
		add("forked", fmt.Sprintf("serial %d with sha256 %.12s…, as in archive %s", was.Serial, last.State.SHA256, last.Name),
			fmt.Sprintf("serial %d with sha256 %.12s…", is.Serial, now.SHA256), "somebody edited the state, or two runs wrote it")
	}
	before, after := int64(was.Instances), int64(is.Instances)
	if was.Encrypted || is.Encrypted {
		before, after = last.State.Size, now.Size
	}
	if before > 0 && after*100 < before*int64(100-shrinkPercent) {
		add("shrunk", fmt.Sprintf("at least %d %% of the last good archive's %s", 100-shrinkPercent, resources(was)), resources(is), "somebody removed resources from the state outside of this workflow")
	}
	return out
}

func resources(m Meta) string {
	if m.Encrypted {
		return "encrypted resources"
	}
	return fmt.Sprintf("%d resource instances", m.Instances)
}

// accept marks the checks whose guard the operator accepted, and returns the
// names of those guards. What remains is what stops the run.
func accept(checks []verdict.Check, accepted []string) (used []string) {
	for i := range checks {
		guard := checks[i].ID[len("state-"):]
		if slices.Contains(accepted, guard) {
			checks[i].Waived = "accept_state: " + guard
			used = append(used, guard)
		}
	}
	return used
}
