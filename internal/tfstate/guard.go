package tfstate

import (
	"context"
	"fmt"
	"slices"

	"edge-actions/internal/verdict"
)

// Guards are the names of the things that stop a run because the state is not
// what the last good archive lets expect. Each can be accepted by name.
var Guards = []string{"new", "vanished", "serial", "lineage", "shrunk", "forked", erroredGuard}

const erroredGuard = "errored"

// guards compares the state as it is now with the last good archive, which is
// nil if there is none, and with the state that an apply could not write, nil if
// there is none of which the backend is behind. now is nil if there is no state.
// It returns what does not fit, in the terms of Guards.
func guards(now *snapshot, last, unwritten *Manifest, shrinkPercent int) []verdict.Check {
	var out []verdict.Check
	add := func(id, wanted, got, hint string) {
		out = append(out, verdict.Check{ID: "state-" + id, Verdict: verdict.Disproven, Wanted: wanted, Got: got,
			Hint: hint + "; if it is meant to be so, set accept_state: " + id + " for this one run"})
	}
	if unwritten != nil {
		got := "no state"
		if now != nil {
			got = fmt.Sprintf("serial %d", now.Serial)
		}
		add(erroredGuard, fmt.Sprintf("the state that an apply could not write, archive %s (serial %d, %s)", unwritten.Name, unwritten.State.Serial, resources(unwritten.State.Meta)),
			got+", so the plan would make again what that apply has made", "put it back: tofu-state-restore with mode: restore and archive: "+unwritten.Name)
	}
	if now == nil {
		if last == nil {
			add("new", "a state, or the word that this stack is new", "no state and no archive of one", "check path, workspace and backend_config")
			out[len(out)-1].Verdict = verdict.Unproven
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

// saysEmpty tells in the check of a new stack what there is instead of a state.
func saysEmpty(checks []verdict.Check) {
	for i := range checks {
		if c := &checks[i]; c.ID == "state-new" {
			c.Got = "0 bytes, as a killed run leaves them, and no archive of a state"
			c.Hint = "after a plan that was killed nothing is lost: set accept_state: new for this one run; after an apply that was killed, look in the cloud first for what it made"
		}
	}
}

// unwritten is the newest archive of a state that an apply could not write and
// nobody has put back since, or chose to do without. Unlike a state that went
// back it leaves no trace in the backend: that is as it was before the apply.
func (a *Archives) unwritten(ctx context.Context, now *snapshot, last *Manifest) (*Manifest, error) {
	// Up to this serial it was put back, or overtaken.
	var known []Meta
	if now != nil {
		known = append(known, now.Meta)
	}
	if last != nil && (now == nil || last.State.Lineage == now.Lineage) {
		known = append(known, last.State.Meta)
	}
	for _, store := range []Store{a.Local, a.Offsite} {
		if store == nil {
			continue
		}
		names, err := archiveNames(ctx, store)
		if err != nil || len(names) == 0 { // said of the one here by baseline
			continue
		}
		accepted := false
		for i, name := range names {
			serial, err := serialOf(name)
			if err == nil && slices.ContainsFunc(known, func(m Meta) bool { return uint64(serial) <= m.Serial }) {
				continue // only what is ahead costs a look at its manifest
			}
			m, err := readManifest(ctx, store, name)
			if err != nil {
				return nil, verdict.CannotTell("backup-unproven", "the archive "+store.Location(name), err, "make the place readable again, or move the damaged archive away")
			}
			if m.Reason != Errored || slices.ContainsFunc(known, func(k Meta) bool { return k.Lineage != m.State.Lineage }) {
				continue
			}
			for _, newer := range names[:i] {
				later, err := readManifest(ctx, store, newer)
				accepted = accepted || err == nil && later.Reason != Errored && slices.Contains(later.Accepted, erroredGuard)
			}
			if accepted {
				return nil, nil
			}
			return m, nil
		}
		return nil, nil
	}
	return nil, nil
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
