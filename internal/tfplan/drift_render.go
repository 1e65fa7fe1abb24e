package tfplan

import (
	"fmt"
	"strings"
)

// maxShownAttributes is how many attributes of one resource a text shows; the
// document has more.
const maxShownAttributes = 10

// Headline says how many resources drifted.
func (d *Drift) Headline() string {
	drifted, allowed := d.Split()
	if len(drifted)+len(allowed) == 0 {
		return "No drift."
	}
	changed, deleted := 0, 0
	for _, r := range drifted {
		if r.Action == Delete {
			deleted++
		} else {
			changed++
		}
	}
	s := fmt.Sprintf("Drift: %d changed outside, %d deleted outside", changed, deleted)
	if len(allowed) > 0 {
		s += fmt.Sprintf(", %d allowed", len(allowed))
	}
	return s + "."
}

// lines are the words for one resource, without markup.
func (r Drifted) lines() (head string, attributes []string) {
	head = "changed outside"
	if r.Action == Delete {
		head = "deleted outside"
	}
	if r.Previous != "" {
		head += ", moved from " + show(r.Previous)
	}
	if r.Allowed != "" {
		head += ", allowed"
	}
	more := r.MoreAttributes
	for i, a := range r.Attributes {
		if i == maxShownAttributes {
			more += len(r.Attributes) - i
			break
		}
		attributes = append(attributes, fmt.Sprintf("%s: %s -> %s", show(a.Path), a.Before, a.After))
	}
	if more > 0 {
		attributes = append(attributes, fmt.Sprintf("and %d more", more))
	}
	return head, attributes
}

// Text renders the drift for a log: whole resources, at most maxRows.
func (d *Drift) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", d.Headline())
	for i, r := range d.Resources {
		if i == maxRows {
			fmt.Fprintf(&b, "  %d more are not shown one by one\n", len(d.Resources)-i)
			break
		}
		head, attributes := r.lines()
		fmt.Fprintf(&b, "  %s: %s\n", head, show(r.Address))
		for _, a := range attributes {
			fmt.Fprintf(&b, "      - %s\n", a)
		}
	}
	if len(d.Outputs) > 0 {
		fmt.Fprintf(&b, "  outputs that would get another value: %s\n", list(d.Outputs, 20))
	}
	if len(d.Moved) > 0 {
		fmt.Fprintf(&b, "  moved by the configuration, which is no drift: %s\n", list(d.Moved, 20))
	}
	return b.String()
}

// Blocks renders the drift in Markdown, a block a resource.
func (d *Drift) Blocks() []Block {
	var out []Block
	for _, r := range d.Resources {
		head, attributes := r.lines()
		var b strings.Builder
		fmt.Fprintf(&b, "- %s: %s\n", code(show(r.Address)), code(head))
		for _, a := range attributes {
			fmt.Fprintf(&b, "  - %s\n", code(a))
		}
		out = append(out, Block{Text: b.String(), Kind: code(show(r.Type)), Loss: r.Action == Delete && r.Allowed == ""})
	}
	return out
}

// Markdown renders the drift for a step summary.
func (d *Drift) Markdown() string {
	return Join(append([]Block{{Text: fmt.Sprintf("**%s**\n\n", d.Headline())}}, d.Blocks()...), MaxMarkdown)
}
