package node

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"edge-actions/internal/verdict"
)

// Policy says which checks decide.
type Policy struct {
	// Set is Running, AfterReboot or a choice of one's own.
	Set []string
	// Require are ids that must be proven besides.
	Require []string
	// Waive are ids that are shown and do not decide; WaivedBy is the input
	// by which the operator said so.
	Waive    []string
	WaivedBy string
}

// KnownIDs are the ids of all checks of this package, in their order.
func KnownIDs() []string {
	var ids []string
	for _, c := range table() {
		ids = append(ids, c.id)
	}
	return append(ids, RootRefused, SSHClosed)
}

// Running is what must hold of a node at any time.
func Running() []string { return from(always) }

// AfterReboot is Running, and that the node came back by itself as what it
// should be.
func AfterReboot() []string { return from(afterReboot) }

func from(when int) []string {
	var ids []string
	for _, c := range table() {
		if c.when >= when {
			ids = append(ids, c.id)
		}
	}
	return ids
}

// Validate refuses ids that no check has.
func (p Policy) Validate() error {
	known := KnownIDs()
	var errs []error
	for _, part := range []struct {
		what string
		ids  []string
	}{{"the set", p.Set}, {"what is required", p.Require}, {"what is waived", p.Waive}} {
		for _, id := range part.ids {
			if !slices.Contains(known, id) {
				errs = append(errs, verdict.Refuse("unknown-check", "the ids of checks in "+part.what, quote(id), "known are: "+strings.Join(known, ", ")))
			}
		}
	}
	return errors.Join(errs...)
}

// ids are the checks that are shown: what is waived was meant to be seen.
func (p Policy) ids() []string {
	var ids []string
	for _, id := range KnownIDs() {
		if slices.Contains(p.Set, id) || slices.Contains(p.Require, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Apply picks from all checks those that the policy asks for, in a fixed
// order, and marks the waived ones. One that it asks for and that was not made
// is unproven.
func (p Policy) Apply(checks []verdict.Check) []verdict.Check {
	var out []verdict.Check
	for _, id := range p.ids() {
		i := slices.IndexFunc(checks, func(c verdict.Check) bool { return c.ID == id })
		c := verdict.CannotTell(id, "this check to be made", errors.New("it was not made"), "see why the step left it out, or waive it").Check
		if i >= 0 {
			c = checks[i]
		}
		if slices.Contains(p.Waive, id) {
			c.Waived = cmp.Or(p.WaivedBy, "waive")
		}
		out = append(out, c)
	}
	return out
}

// Groups are the parts of the probe that the policy's checks need.
func (p Policy) Groups() []string {
	ids := p.ids()
	var groups []string
	for _, c := range table() {
		if slices.Contains(ids, c.id) {
			groups = append(groups, strings.Fields(c.groups)...)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}
