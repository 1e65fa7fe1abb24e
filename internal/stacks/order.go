package stacks

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"edge-actions/internal/stacks/dag"
	"edge-actions/internal/verdict"
)

const tagPrefix = "tag:"

// Graph is the order of all stacks, the ones that were not picked too: a stack
// comes before those in the directories under it, after those that its `after`
// names, and before those that its `before` names. A path stands for all
// stacks in and under it, as Terramate has it. What names nothing is refused:
// a typo must not become an order that nobody keeps.
func (p *Project) Graph() (*dag.Graph, error) {
	g := dag.New(p.paths()...)
	var errs []error
	for _, m := range p.stacks() {
		for _, child := range p.under(m.Path) {
			if child != m {
				g.Edge(m.Path, child.Path)
			}
		}
		for _, ref := range m.After {
			found, err := p.resolve(m, "after", ref)
			errs = append(errs, err)
			for _, other := range found {
				g.Edge(other.Path, m.Path)
			}
		}
		for _, ref := range m.Before {
			found, err := p.resolve(m, "before", ref)
			errs = append(errs, err)
			for _, other := range found {
				g.Edge(m.Path, other.Path)
			}
		}
	}
	for _, cycle := range g.Cycles() {
		errs = append(errs, verdict.Refuse("stack-order", "an order without a circle", quoted(append(cycle, cycle[0]), " before "),
			"take one of the after or before away; a stack in a directory under another comes after that by itself"))
	}
	return g, errors.Join(errs...)
}

func (p *Project) stacks() []*Member { return p.under(".") }

func (p *Project) paths() (out []string) {
	for _, m := range p.stacks() {
		out = append(out, m.Path)
	}
	return out
}

// resolve returns the members that an entry of a list stands for.
func (p *Project) resolve(m *Member, list, ref string) ([]*Member, error) {
	refuse := func(got string) error {
		return verdict.Refuse("stack-order", fmt.Sprintf("stacks for %q in %s of %q", ref, list, m.Path), got, "correct the entry; a path is relative to its stack, or to the project if it begins with /")
	}
	if filter, ok := strings.CutPrefix(ref, tagPrefix); ok {
		found, err := p.tagged(filter)
		if err != nil {
			return nil, refuse(err.Error())
		}
		if len(found) == 0 {
			return nil, refuse("no stack with such tags")
		}
		// Terramate takes the paths of the stacks that it finds, and a path
		// stands for what is under it.
		var all []*Member
		for _, tagged := range found {
			all = append(all, p.under(tagged.Path)...)
		}
		return all, nil
	}
	at := path.Join(m.Path, ref)
	if path.IsAbs(ref) {
		at = path.Join(".", strings.TrimLeft(ref, "/"))
	}
	if !p.dirs[at] {
		return nil, refuse("no such directory in the project")
	}
	found := p.under(at)
	if len(found) == 0 {
		return nil, refuse("a directory without a stack")
	}
	return found, nil
}

// tagged returns the members whose tags match a filter.
func (p *Project) tagged(filter string) (out []*Member, err error) {
	for _, m := range p.stacks() {
		ok, err := m.matches(filter)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, m)
		}
	}
	return out, nil
}

// WithWanted adds what the selected members want, directly or not: a stack
// that has `wants`, or that another's `wanted_by` names, is never alone.
func (p *Project) WithWanted(selected []string) ([]string, error) {
	wants := dag.New(p.paths()...)
	var errs []error
	for _, m := range p.stacks() {
		for _, ref := range m.Wants {
			found, err := p.resolve(m, "wants", ref)
			errs = append(errs, err)
			for _, other := range found {
				wants.Edge(m.Path, other.Path)
			}
		}
		for _, ref := range m.WantedBy {
			found, err := p.resolve(m, "wanted_by", ref)
			errs = append(errs, err)
			for _, other := range found {
				wants.Edge(other.Path, m.Path)
			}
		}
	}
	all := map[string]bool{}
	for _, s := range selected {
		all[s] = true
		for _, wanted := range wants.Reach(s) {
			all[wanted] = true
		}
	}
	return slices.Sorted(maps.Keys(all)), errors.Join(errs...)
}

// quoted puts names, which are foreign, between quotes.
func quoted(names []string, between string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(out, between)
}
