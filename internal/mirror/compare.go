package mirror

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// State says how the mirror's ref stands to the forge's.
type State string

const (
	// Missing: the mirror does not have it.
	Missing State = "missing"
	// Behind: the mirror's is an ancestor of the forge's.
	Behind State = "behind"
	// Rewritten: the mirror's is not, and the forge knows it all the same: the
	// ref was rewritten there, or the mirror's was moved to another commit of
	// the forge's.
	Rewritten State = "rewritten"
	// Stale: the forge does not have the ref and knows its commit: it was
	// deleted there, or made in the mirror of what the forge has.
	Stale State = "stale"
	// Ahead: the mirror has what comes after the forge's, and the forge never
	// had it.
	Ahead State = "ahead"
	// Diverged: the mirror has something of its own.
	Diverged State = "diverged"
	// Foreign: a ref that only the mirror has, of what the forge never had.
	Foreign State = "foreign"
	// Unknown: it differs, and how could not be found out.
	Unknown State = "unknown"
)

// late are the states that a push of the forge's mends and that nobody need
// have caused.
func (s State) late() bool {
	return s == Missing || s == Behind || s == Rewritten || s == Stale
}

// foreign are the states that only a write to the mirror makes.
func (s State) foreign() bool { return s == Ahead || s == Diverged || s == Foreign }

// Difference is a ref that is not the same on both sides.
type Difference struct {
	Ref           string
	Forge, Mirror Ref // zero where there is none
	State         State
	Why           string // of Unknown
}

func (d Difference) String() string {
	s := fmt.Sprintf("%q: %s", d.Ref, d.State)
	switch {
	case d.Mirror.ID == "":
		return s + fmt.Sprintf(" (the forge has %.12s)", d.Forge.ID)
	case d.Forge.ID == "":
		s += fmt.Sprintf(" (the mirror has %.12s)", d.Mirror.ID)
	default:
		s += fmt.Sprintf(" (the forge has %.12s, the mirror %.12s)", d.Forge.ID, d.Mirror.ID)
	}
	if d.Why != "" {
		s += ": " + d.Why
	}
	return s
}

// Counts are the refs by how they stand, as the output refs has them.
type Counts struct {
	Equal     int `json:"equal"`
	Missing   int `json:"missing"`
	Behind    int `json:"behind"`
	Rewritten int `json:"rewritten"`
	Stale     int `json:"stale"`
	Ahead     int `json:"ahead"`
	Diverged  int `json:"diverged"`
	Foreign   int `json:"foreign"`
	Unknown   int `json:"unknown"`
}

func count(diffs []Difference, equal int) Counts {
	n := map[State]int{}
	for _, d := range diffs {
		n[d.State]++
	}
	return Counts{Equal: equal, Missing: n[Missing], Behind: n[Behind], Rewritten: n[Rewritten], Stale: n[Stale], Ahead: n[Ahead], Diverged: n[Diverged], Foreign: n[Foreign], Unknown: n[Unknown]}
}

// differ lists the refs that are not the same, in order. Those that one look
// does not decide are Unknown.
func differ(source, mirror Refs) (diffs []Difference, equal int) {
	names := maps.Clone(source)
	maps.Copy(names, mirror)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, b := source[name], mirror[name]
		switch {
		case a.ID == b.ID:
			equal++
		case b.ID == "":
			diffs = append(diffs, Difference{Ref: name, Forge: a, State: Missing})
		default:
			diffs = append(diffs, Difference{Ref: name, Forge: a, Mirror: b, State: Unknown})
		}
	}
	return diffs, equal
}

// maxAsked bounds how many commits the forge is asked about.
const maxAsked = 200

// relate finds out how those refs stand that are not merely missing.
//
// Whether one commit comes before another is git's to say, in a repository of
// its own with the commits of both sides and nothing else (--filter=tree:0):
// the forge's API compares only what it has, and is silent about just the commit
// that matters, the one that it never had. Whether it ever had one is what the
// API is asked, since no ref says that any more.
func (m *Mirror) relate(ctx context.Context, diffs []Difference, source Refs) {
	var both []*Difference
	for i := range diffs {
		if diffs[i].State == Unknown && diffs[i].Forge.ID != "" {
			both = append(both, &diffs[i])
		}
	}
	if len(both) > 0 {
		m.ancestors(ctx, both)
	}
	known := map[string]answer{}
	for i := range diffs {
		d := &diffs[i]
		if d.State != Ahead && d.State != Diverged && (d.State != Unknown || d.Forge.ID != "") {
			continue
		}
		a, asked := known[d.Mirror.Commit]
		if !asked {
			if len(known) >= maxAsked {
				d.State, d.Why = Unknown, fmt.Sprintf("the forge was asked about %d others", maxAsked)
				continue
			}
			a.has, a.err = m.has(ctx, d.Mirror.Commit, source)
			known[d.Mirror.Commit] = a
		}
		switch {
		case a.err != nil:
			d.State, d.Why = Unknown, quote(a.err.Error())
		case d.Forge.ID == "" && a.has:
			d.State = Stale
		case d.Forge.ID == "":
			d.State = Foreign
		case a.has:
			d.State = Rewritten
		}
	}
}

// answer is what the forge says of one commit.
type answer struct {
	has bool
	err error
}

// has reports whether the forge has a commit, on a branch or no longer.
func (m *Mirror) has(ctx context.Context, commit string, source Refs) (bool, error) {
	witness := ""
	for _, name := range slices.Sorted(maps.Keys(source)) {
		if witness = source[name].Commit; witness == commit {
			return true, nil
		}
	}
	return m.Repo.HasCommit(ctx, commit, witness)
}

// ancestors sets the state of refs that both sides have.
func (m *Mirror) ancestors(ctx context.Context, diffs []*Difference) {
	unknown := func(err error) {
		for _, d := range diffs {
			d.Why = quote(err.Error())
		}
	}
	var forgeRefs, mirrorRefs []string
	for _, d := range diffs {
		forgeRefs, mirrorRefs = append(forgeRefs, d.Ref), append(mirrorRefs, d.Ref)
	}
	h, err := m.Git.history(ctx)
	if err == nil {
		err = h.fetch(ctx, m.Source, "forge", forgeRefs)
	}
	if err == nil {
		err = h.fetch(ctx, m.Mirror, "mirror", mirrorRefs)
	}
	if err != nil {
		unknown(err)
		return
	}
	for _, d := range diffs {
		before, err := h.ancestor(ctx, d.Mirror.Commit, d.Forge.Commit)
		after := false
		if err == nil && !before {
			after, err = h.ancestor(ctx, d.Forge.Commit, d.Mirror.Commit)
		}
		switch {
		case err != nil:
			d.Why = quote(err.Error())
		case before:
			d.State = Behind
		case after:
			d.State = Ahead
		default:
			d.State = Diverged
		}
	}
}
