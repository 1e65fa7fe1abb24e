package tfplan

import (
	"fmt"
	"slices"
	"strings"
)

// MaxMarkdown is what a summary or a comment holds at most: GitHub refuses a
// comment of 65,536 characters, and nobody reads a longer one anywhere.
const MaxMarkdown = 60_000

// Block is a piece of Markdown that is shown whole or not at all.
type Block struct {
	Text string
	// Kind is what it is counted as where there is no room for it.
	Kind string
	// Loss: something is deleted, replaced or forgotten.
	Loss bool
}

// Blocks renders the changes of the plan in Markdown, a block a resource, what
// is lost first.
func (p *Plan) Blocks() []Block {
	var out []Block
	for _, c := range p.shown() {
		r := c.row()
		line := fmt.Sprintf("- **%s** %s", r.action, code(r.address))
		if r.why != "" {
			line += ": " + code(r.why)
		}
		kind := string(c.Action)
		if c.Action == NoOp {
			kind = r.action
		}
		out = append(out, Block{Text: line + "\n", Kind: kind + " " + code(show(c.Type)), Loss: weight[c.Action] <= weight[Forget]})
	}
	for _, name := range p.outputNames() {
		out = append(out, Block{Text: fmt.Sprintf("- %s output %s\n", p.Outputs[name], code(show(name))), Kind: "output"})
	}
	return out
}

// Join puts blocks together up to max bytes and never cuts one. What there was
// no room for is counted by its kind at the end.
func Join(blocks []Block, max int) string {
	const room = 2000 // for the count
	var b strings.Builder
	left := map[string]int{}
	var order []string
	for _, block := range blocks {
		// Once something was left out nothing follows: a gap in the middle
		// looks like the whole.
		if len(order) == 0 && b.Len()+len(block.Text) <= max-room {
			b.WriteString(block.Text)
			continue
		}
		if block.Kind == "" {
			block.Kind = "other lines"
		}
		if left[block.Kind]++; left[block.Kind] == 1 {
			order = append(order, block.Kind)
		}
	}
	if len(order) == 0 {
		return b.String()
	}
	slices.SortStableFunc(order, func(x, y string) int { return left[y] - left[x] })
	var counts []string
	size := 0
	for i, kind := range order {
		c := fmt.Sprintf("%d × %s", left[kind], kind)
		if size += len(c) + 2; size > room-200 {
			counts = append(counts, fmt.Sprintf("%d more kinds", len(order)-i))
			break
		}
		counts = append(counts, c)
	}
	fmt.Fprintf(&b, "\nNot shown one by one: %s.\n", strings.Join(counts, ", "))
	return b.String()
}

// Escape makes foreign text safe in Markdown.
func Escape(s string) string { return code(show(s)) }
