package tfplan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxRows is how many changes are shown one by one. What deletes comes first,
// so what is cut is never what hurts; the rest is counted by type.
const maxRows = 200

// weight orders changes by how much they can hurt.
var weight = map[Action]int{Delete: 0, Replace: 1, ForgetReplace: 2, Forget: 3, Update: 4, Create: 5, Read: 6, NoOp: 7}

// row is a change in words.
type row struct{ action, address, why string }

// rows returns what is worth showing, the most dangerous first, and a count by
// action and type of what was left out.
func (p *Plan) rows() (out []row, left []string) {
	counts := map[string]int{}
	var order []string
	for i, c := range p.shown() {
		if i >= maxRows {
			key := fmt.Sprintf("%s %s", c.Action, show(c.Type))
			if counts[key]++; counts[key] == 1 {
				order = append(order, key)
			}
			continue
		}
		out = append(out, c.row())
	}
	for _, key := range order {
		left = append(left, fmt.Sprintf("%d × %s", counts[key], key))
	}
	return out, left
}

// shown is every change that is worth showing, the most dangerous first.
func (p *Plan) shown() (out []Change) {
	for _, c := range p.Changes {
		if c.Action == Read || c.Action == NoOp && c.Previous == "" && !c.Imported {
			continue
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b Change) int { return cmp.Compare(weight[a.Action], weight[b.Action]) })
	return out
}

func (c Change) row() row {
	action := string(c.Action)
	if c.Action == NoOp {
		action = ""
	}
	var extra, why []string
	if c.Previous != "" {
		extra = append(extra, "move")
		why = append(why, "from "+show(c.Previous))
	}
	if c.Imported {
		extra = append(extra, "import")
	}
	if c.Deposed {
		why = append(why, "left over by a failed replacement")
	}
	if len(c.Forcing) > 0 {
		why = append(why, "forced by "+list(c.Forcing, 5))
	}
	if c.Reason != "" {
		why = append(why, strings.ReplaceAll(c.Reason, "_", " "))
	}
	if c.Action == Update {
		why = append(why, "changes "+list(c.Attributes, 8))
	}
	if action != "" {
		extra = append([]string{action}, extra...)
	}
	return row{strings.Join(extra, "+"), show(c.Address), strings.Join(why, "; ")}
}

// Headline is OpenTofu's own line, with the kinds that it leaves out.
func (c Counts) Headline() string {
	if !c.Any() {
		return "No changes."
	}
	s := fmt.Sprintf("Plan: %d to add, %d to change, %d to destroy", c.Add, c.Change, c.Destroy)
	for _, x := range []struct {
		n    int
		what string
	}{{c.Replace, "replaced"}, {c.Move, "moved"}, {c.Import, "imported"}, {c.Forget, "forgotten"}, {c.Outputs, "outputs"}} {
		if x.n > 0 {
			s += fmt.Sprintf(", %d %s", x.n, x.what)
		}
	}
	return s + "."
}

// Text renders the plan for a log.
func (p *Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", p.Counts().Headline())
	rows, left := p.rows()
	wide := 0
	for _, r := range rows {
		wide = max(wide, len(r.address))
	}
	wide = min(wide, 60)
	for _, r := range rows {
		line := fmt.Sprintf("  %-14s  %-*s", r.action, wide, r.address)
		if r.why != "" {
			line += "  (" + r.why + ")"
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	if len(left) > 0 {
		fmt.Fprintf(&b, "  not shown one by one: %s\n", strings.Join(left, ", "))
	}
	for _, name := range p.outputNames() {
		fmt.Fprintf(&b, "  %-14s  output %s\n", p.Outputs[name], show(name))
	}
	return b.String()
}

// Markdown renders the plan for a step summary or a comment.
func (p *Plan) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n", p.Counts().Headline())
	rows, left := p.rows()
	if len(rows) > 0 {
		b.WriteString("\n| action | address | why |\n|---|---|---|\n")
		for _, r := range rows {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.action, code(r.address), code(r.why))
		}
	}
	if len(left) > 0 {
		fmt.Fprintf(&b, "\nNot shown one by one: %s.\n", code(strings.Join(left, ", ")))
	}
	for _, name := range p.outputNames() {
		fmt.Fprintf(&b, "- %s output %s\n", p.Outputs[name], code(show(name)))
	}
	return b.String()
}

func (p *Plan) outputNames() []string {
	var names []string
	for name := range p.Outputs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// show makes an address or a name, which may hold anything between the quotes
// of a for_each key, safe for one line of a log.
func show(s string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	if strings.IndexFunc(s, odd) < 0 {
		return s
	}
	return strconv.Quote(s)
}

func mapShow(items []string) []string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = show(s)
	}
	return out
}

// code escapes what Markdown and HTML would act on.
func code(s string) string {
	if s == "" {
		return ""
	}
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", "|", "&#124;", "`", "&#96;", "[", "&#91;", "@", "&#64;", "*", "&#42;", "_", "&#95;", "\n", " ").Replace(s)
}
