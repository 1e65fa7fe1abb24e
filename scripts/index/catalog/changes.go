package catalog

import "fmt"

// Kind is the heading of a change log under which a change belongs.
type Kind string

// The headings that have to do with who uses an action.
const (
	Added   Kind = "Added"
	Changed Kind = "Changed"
	Removed Kind = "Removed"
)

// Change is a difference that can break a workflow.
type Change struct {
	Kind Kind
	// Name is how the change log names it: "tofu-apply: input path".
	Name string
	// What says what was and what is.
	What string
}

// Changes returns what can break a workflow that was written for old: what is
// gone, what has another default, what became required or is so no longer, and
// a new input that must be given. What is merely new breaks nobody.
func Changes(old, now *Catalog) (out []Change) {
	for _, a := range old.Actions {
		b, ok := now.Action(a.Name)
		if !ok {
			out = append(out, Change{Removed, a.Name + ": action", "the action is gone"})
			continue
		}
		out = append(out, inputChanges(a, b)...)
		for _, o := range a.Outputs {
			if _, ok := b.Output(o.Name); !ok {
				out = append(out, Change{Removed, fmt.Sprintf("%s: output %s", a.Name, o.Name), "the output is gone"})
			}
		}
	}
	return out
}

func inputChanges(a, b Action) (out []Change) {
	for _, was := range a.Inputs {
		name := fmt.Sprintf("%s: input %s", a.Name, was.Name)
		is, ok := b.Input(was.Name)
		switch {
		case !ok:
			out = append(out, Change{Removed, name, "the input is gone"})
		case is.Required && !was.Required:
			out = append(out, Change{Changed, name, "it is required, and was not"})
		case was.Required && !is.Required:
			out = append(out, Change{Changed, name, "it is not required any more"})
		case is.Default != was.Default:
			out = append(out, Change{Changed, name, fmt.Sprintf("its default is %q, and was %q", is.Default, was.Default)})
		}
	}
	for _, is := range b.Inputs {
		if _, ok := a.Input(is.Name); !ok && is.Required {
			out = append(out, Change{Added, fmt.Sprintf("%s: input %s", a.Name, is.Name), "it is new and required"})
		}
	}
	return out
}
