package stacks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/stack"
	"edge-actions/internal/stacks/dag"
	"edge-actions/internal/verdict"
)

// Choice is what the inputs say about which stacks a run is of.
type Choice struct {
	Patterns     []string // of the input stacks; none: the one in path
	ChangedSince string
	Terramate    string // the tool's name or path
	AtOnce       int
	Timeout      time.Duration // of git and of Terramate
}

// ReadChoice reads the inputs that choose stacks.
func ReadChoice(in *action.Inputs) Choice {
	c := Choice{
		Patterns: in.Lines("stacks"), ChangedSince: in.Text("changed_since"), Terramate: in.Text("terramate_path"),
		AtOnce: in.Int("stacks_at_once", 1, 64), Timeout: 5 * time.Minute,
	}
	if len(c.Patterns) > 0 {
		return c
	}
	for name, value := range map[string]string{"changed_since": c.ChangedSince, "terramate_path": c.Terramate} {
		if value != "" {
			in.Wrong(name, "nothing without the input stacks", fmt.Sprintf("%q", value), "set stacks, or leave it empty")
		}
	}
	return c
}

// Several reports whether the input stacks is set.
func (c Choice) Several() bool { return len(c.Patterns) > 0 }

// Find finds the stacks of a run and their order, and proves both in the
// report.
func (c Choice) Find(ctx context.Context, a *action.Action, config *stack.Config, secrets string) (*Run, error) {
	if !c.Several() {
		return Alone(a, config, secrets), nil
	}
	project, err := Read(config.Dir())
	if err != nil {
		return nil, err
	}
	picked, err := project.Pick(c.Patterns)
	if err != nil {
		return nil, err
	}
	graph, err := project.Graph()
	if err = errors.Join(err, project.checkIDs()); err != nil {
		return nil, err
	}
	asked, err := project.Witness(ctx, c.Terramate, graph, a.Environ(), c.Timeout)
	if err != nil {
		return nil, err
	}
	all := len(picked)
	if c.ChangedSince != "" {
		if picked, err = c.changed(ctx, a, project, picked); err != nil {
			return nil, err
		}
	}
	how := "read from the files"
	if asked {
		how += ", and Terramate says the same"
	}
	run := &Run{Action: a, Secrets: secrets, AtOnce: c.AtOnce}
	if err := run.add(a, config, project, graph.Keep(picked)); err != nil {
		return nil, err
	}
	a.Report.Subject = fmt.Sprintf("%d stacks", len(run.Stacks))
	a.Report.Prove("stacks", "stacks, each of its own name, in an order", fmt.Sprintf("%d of %d; the order was %s", len(picked), all, how))
	for _, one := range run.Stacks {
		a.Logf("%s is %q%s", one.Name, one.Path, after(run.Graph.Before(one.Name)))
	}
	return run, nil
}

func after(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ", after " + strings.Join(names, ", ")
}

func (c Choice) changed(ctx context.Context, a *action.Action, p *Project, picked []string) ([]string, error) {
	changes, err := ChangedSince(ctx, p.Root, c.ChangedSince, a.Environ(), c.Timeout)
	if err != nil {
		return nil, err
	}
	changed, why, notes := p.Changed(picked, changes)
	for _, path := range changed {
		a.Logf("changed: %q, because %s", path, why[path])
	}
	wanted, err := p.WithWanted(changed)
	if err != nil {
		return nil, err
	}
	for _, path := range wanted {
		if !slices.Contains(changed, path) {
			a.Logf("wanted by one that has changed: %q", path)
		}
	}
	if len(notes) > 0 {
		slices.Sort(notes)
		notes = slices.Compact(notes)
		a.Logf("not followed, because only another version of them is a change: %s", quoted(notes[:min(len(notes), 20)], ", "))
	}
	a.Report.Prove("changed-since", fmt.Sprintf("the stacks that changed since %q", c.ChangedSince), fmt.Sprintf("%d of %d, by %d changed files", len(wanted), len(picked), len(changes.Files)))
	return wanted, nil
}

// checkIDs refuses two stacks with one id, which Terramate does not tell apart
// by case.
func (p *Project) checkIDs() error {
	by := map[string][]string{}
	for _, m := range p.stacks() {
		if m.ID != "" {
			by[strings.ToLower(m.ID)] = append(by[strings.ToLower(m.ID)], m.Path)
		}
	}
	return doubles(by, "stack-id", "an id of its own for each stack", "give one of them another id")
}

// doubles refuses every name that several have.
func doubles(by map[string][]string, id, wanted, hint string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(by)) {
		if who := by[name]; len(who) > 1 {
			errs = append(errs, verdict.Refuse(id, wanted, fmt.Sprintf("%q for %s", name, quoted(who, ", ")), hint))
		}
	}
	return errors.Join(errs...)
}

// add names the stacks and takes over their order.
func (r *Run) add(a *action.Action, config *stack.Config, p *Project, g *dag.Graph) error {
	names, by := map[string]string{}, map[string][]string{}
	for _, path := range g.Nodes() {
		m := p.byPath[path]
		name := config.NameFor(a, m.Dir, m.ID)
		names[path] = name
		// A file system may not tell two names apart by case.
		by[strings.ToLower(name)] = append(by[strings.ToLower(name)], path)
		if !stackName.MatchString(name) {
			return verdict.Refuse("stack-name", "a name of letters, digits, '.', '_' and '-', at most 100", fmt.Sprintf("%q for %q", name, path), "give the stack an id")
		}
	}
	if err := doubles(by, "stack-name", "a name of its own for each stack, under which its archives are kept", "give one of them another id"); err != nil {
		return err
	}
	r.Graph = dag.New(slices.Sorted(maps.Values(names))...)
	for _, path := range g.Nodes() {
		for _, before := range g.Before(path) {
			r.Graph.Edge(names[before], names[path])
		}
	}
	for _, path := range g.Order() {
		m := p.byPath[path]
		r.Stacks = append(r.Stacks, &One{Name: names[path], Path: filepath.ToSlash(path), ID: m.ID, Config: config.At(m.Dir, names[path])})
	}
	return nil
}
