package page

import (
	"fmt"
	"strings"
	"unicode"

	"edge-actions/internal/report"
	"edge-actions/internal/verdict"
)

// leastText is the least that Markdown is cut to: the verdict is always in it.
const leastText = 4 << 10

// Comment is how much of a report a comment on a forge has room for.
const Comment = 56 << 10

// Note is the report without its title, in what a comment has room for.
func Note(p *report.Page) string {
	_, text, _ := strings.Cut(Markdown(p, Comment), "\n\n")
	return text
}

// Markdown renders a report for an issue or a wiki, in at most max bytes: what
// does not fit is left out by whole rows, and how much that is is said. What
// needs somebody comes first.
func Markdown(p *report.Page, max int) string {
	v := look(p)
	w := &writer{left: most(max, leastText) - 512} // for what is said of a cut
	w.line("# %s: %s", cell(v.Title), strings.ToUpper(string(v.Verdict)))
	w.line("")
	w.line("%s **%s** As of %s UTC.", sign(v.Verdict), cell(v.Headline), stamp(v.Made))
	w.line("")
	for _, t := range v.Broken {
		w.line("> ## THE LEDGER IS NOT WHOLE")
		w.line("> **%s** %s", cell(t.Found), cell(t.Do))
		w.line(">")
		w.line("> What follows was checked before that place: %d entries. Nothing after it counts.", v.Ledger.Entries)
		w.line("")
	}
	var facts [][]string
	for _, f := range v.Facts {
		facts = append(facts, []string{f.Label, strings.TrimSpace(sign(f.Mark) + " " + f.Value), f.More})
	}
	w.table("", []string{"", "", ""}, facts)
	if len(v.Todo) == 0 {
		w.line("## What to do")
		w.line("")
		w.line("Nothing.")
	} else {
		var todo [][]string
		for _, t := range v.Todo {
			todo = append(todo, []string{sign(t.Verdict) + " " + string(t.Verdict), t.What, t.Found, t.Wanted, t.Do, t.Where})
		}
		w.table("What to do", []string{"", "what", "found", "wanted", "do", "where"}, todo)
	}
	var contracts [][]string
	for _, c := range v.Contracts {
		contracts = append(contracts, []string{
			c.Name, signed(c), join(c.HoldsMore), join(c.Snapshot, c.SnapshotMore), join(strings.TrimSpace(sign(c.RestoredMark)+" "+c.Restored), c.RestoredMore), join(c.Took, c.TookMore), c.Size,
		})
	}
	w.table("Recovery contracts", []string{"contract", "holds", "", "newest snapshot", "really restored", "it took", "size"}, contracts)
	w.rows("What is expected", []string{"", "what", "how often", "last proven"}, v.Due)
	w.rows("Open doors", []string{"", "node or place", "from", "run", "seen"}, v.Doors)
	w.rows("Drift", []string{"", "stack", "found", "looked at"}, v.Drift)
	w.rows("Waivers", []string{"", "check", "of", "found", "waived by"}, v.Waivers)
	w.rows("All evidence", []string{"", "action", "about", "when", "why"}, v.Evidence)
	for _, n := range v.Notes {
		w.row("- " + cell(n))
	}
	for _, n := range v.Hidden {
		w.dropped += n
	}
	if w.dropped > 0 {
		fmt.Fprintf(&w.b, "\n_%d rows are left out here, the worst come first. The ledger has all of them._\n", w.dropped)
	}
	fmt.Fprintf(&w.b, "\nMade from %d signed entries; the last one is `%s`. This page is no evidence, the ledger is.\n", v.Ledger.Entries, hex(v.Ledger.SHA256))
	return w.b.String()
}

// writer writes what fits.
type writer struct {
	b       strings.Builder
	left    int
	dropped int
}

func (w *writer) line(format string, args ...any) { w.put(fmt.Sprintf(format, args...) + "\n") }

func (w *writer) put(text string) {
	w.left -= len(text)
	w.b.WriteString(text)
}

// row writes a row whole or not at all. After one that did not fit there is no
// other: a table with a hole in it would look complete.
func (w *writer) row(text string) {
	if w.dropped > 0 || len(text)+1 > w.left {
		w.dropped++
		return
	}
	w.put(text + "\n")
}

func (w *writer) table(title string, head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	var top strings.Builder
	if title != "" {
		top.WriteString("\n## " + title + "\n\n")
	}
	top.WriteString("| " + strings.Join(head, " | ") + " |\n|" + strings.Repeat("---|", len(head)) + "\n")
	if w.dropped > 0 || top.Len() > w.left {
		w.dropped += len(rows)
		return
	}
	w.put(top.String())
	for _, cells := range rows {
		text := "|"
		for _, c := range cells {
			text += " " + cell(c) + " |"
		}
		w.row(text)
	}
}

func (w *writer) rows(title string, head []string, rows []row) {
	var out [][]string
	for _, r := range rows {
		cells := []string{sign(r.Mark) + " " + r.Word}
		for i, c := range r.Cells {
			cells = append(cells, join(c, r.Small[i]))
		}
		out = append(out, cells)
	}
	w.table(title, head, out)
}

func signed(c contract) string {
	if !c.Promised {
		return c.Holds
	}
	return sign(c.Verdict) + " " + c.Holds
}

// sign is a verdict as one character: it stands beside the word, not for it.
func sign(v verdict.Verdict) string {
	switch v {
	case verdict.Proven:
		return "✔"
	case verdict.Disproven:
		return "✘"
	case verdict.Unproven:
		return "▲"
	}
	return ""
}

func join(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, "; ")
}

// cell makes text safe in a table of Markdown: no markup, no mention, no link,
// no line break, nothing that turns the direction of what follows.
func cell(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case strings.ContainsRune("\n\r\t\u2028\u2029", r):
			b.WriteByte(' ')
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
		case r == '@': // a forge would notify whoever has that name
			b.WriteString("@\u200b")
		case r == '<':
			b.WriteString("&lt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '`':
			b.WriteByte('\'')
		case r == '#' || strings.ContainsRune("\\|*_[]!~$", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == ':' && strings.HasSuffix(b.String(), "http") || r == ':' && strings.HasSuffix(b.String(), "https"):
			b.WriteString("\u200b:") // no link is made of it
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}

// hex is a digest, or nothing.
func hex(s string) string {
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return "none"
	}
	return s
}

func most(a, b int) int { return max(a, b) }
