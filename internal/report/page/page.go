// Package page shows a report to a person: as one HTML file that needs nothing
// else, as Markdown for an issue or a wiki, and as a badge. The verdict comes
// first, then what to do, then the evidence. Everything in a report is foreign
// here: it is escaped for where it stands.
package page

import (
	"fmt"
	"slices"
	"strings"

	"edge-actions/internal/report"
	"edge-actions/internal/verdict"
)

// maxRows bounds each table of the page; the worst come first.
const maxRows = 500

// view is a report in the words of the page. Both the HTML and the Markdown are
// made of it, so that they say the same.
type view struct {
	*report.Page
	Headline  string
	Todo      []report.Todo
	Broken    []report.Todo // of the ledger
	Facts     []Fact
	Contracts []contract
	Plots     []plots
	Evidence  []row
	Due       []row
	Doors     []row
	Drift     []row
	Waivers   []row
	// Hidden says of each table how many rows are not shown.
	Hidden map[string]int
}

// Fact is one figure of the summary.
type Fact struct {
	Label, Value, More string
	// Mark is the verdict by which it is marked; "" for none.
	Mark verdict.Verdict
}

// contract is a row of the table of contracts.
type contract struct {
	report.Contract
	Holds, HoldsMore       string
	Snapshot, SnapshotMore string
	Restored, RestoredMore string
	// RestoredMark is how the cell is marked.
	RestoredMark   verdict.Verdict
	Took, TookMore string
	Size           string
}

// plots are the figures of one contract.
type plots struct {
	Name  string
	ID    string
	Plots []*Plot
	Tries []row
}

// row is a row of one of the smaller tables.
type row struct {
	Mark  verdict.Verdict
	Word  string
	Cells []string
	Small []string // below the cell of the same number
}

func look(p *report.Page) *view {
	v := &view{Page: p, Todo: slices.Clone(p.Todo), Hidden: map[string]int{}}
	for _, t := range p.Todo {
		if strings.HasPrefix(t.What, "the ledger: ") {
			v.Broken = append(v.Broken, t)
		}
	}
	for _, c := range p.Contracts {
		v.Contracts = append(v.Contracts, v.contract(c))
		if set := v.plots(c, len(v.Plots)); set != nil {
			v.Plots = append(v.Plots, *set)
		}
	}
	v.rows()
	v.Headline = v.headline()
	v.Facts = v.facts()
	v.cut()
	return v
}

// headline is the verdict in a sentence or two.
func (v *view) headline() string {
	last := "No backup was ever restored as a whole."
	if real := v.Counts().LastRestore; !real.IsZero() {
		last = "The last real restore was " + v.ago(real) + "."
	}
	switch n := len(v.Page.Todo); {
	case v.Verdict == verdict.Proven:
		return "Everything that is expected was proven, and in time. " + last
	case n == 1:
		return "One thing needs you. " + last
	case n > 1:
		return fmt.Sprintf("%d things need you. %s", n, last)
	}
	return "Nothing that is here proves anything: all of it was waived."
}

func (v *view) contract(c report.Contract) contract {
	out := contract{Contract: c, Holds: string(c.Verdict), HoldsMore: "looked at " + v.ago(c.Looked)}
	if !c.Promised {
		out.Holds, out.HoldsMore = "not promised", "no contract is about this backup"
	} else if c.Verdict != verdict.Proven && c.Why.ID != "" {
		out.HoldsMore += "; " + c.Why.ID + because(c.Why.Got)
	}
	if len(c.Waived) > 0 {
		out.HoldsMore += fmt.Sprintf("; %s waived", things(len(c.Waived), "check"))
	}
	out.Snapshot, out.SnapshotMore = "not told", ""
	if !c.Snapshot.IsZero() {
		out.Snapshot = v.span(c.Snapshot) + " old"
		if c.MaxAge > 0 {
			out.SnapshotMore = "at most " + report.Span(c.MaxAge)
		}
	}
	v.restored(c, &out)
	return out
}

// restored says when a backup really came back: neither that it is there nor
// that a part of it was seen counts as that.
func (v *view) restored(c report.Contract, out *contract) {
	out.Took, out.Size = "–", "–"
	switch {
	case c.Kind == report.KindLFS && c.Last == nil:
		out.Restored, out.RestoredMore = "not rehearsed", "its objects are hashed where they lie"
		return
	case c.Last == nil:
		out.Restored, out.RestoredMark = "never", verdict.Unproven
		return
	case c.Real == nil:
		out.Restored, out.RestoredMark = "never as a whole", verdict.Unproven
	default:
		out.Restored, out.RestoredMore, out.RestoredMark = v.ago(c.Real.Time), stamp(c.Real.Time), verdict.Proven
		if c.Real.Waived {
			out.RestoredMore += ", with waivers"
		}
		if c.Real.Seconds > 0 {
			out.Took, out.Size = report.Span(report.Seconds(c.Real.Seconds)), report.Size(float64(c.Real.Bytes))
		}
		if t := c.Trend; t.Known() {
			out.TookMore = "median " + report.Span(report.Seconds(t.Seconds))
			switch {
			case t.Slower:
				out.TookMore = "SLOWER: " + out.TookMore
			case t.Smaller:
				out.TookMore += "; SMALLER: the median was " + report.Size(t.Bytes)
			}
		}
	}
	if out.RestoredMark == verdict.Proven && slices.ContainsFunc(v.Page.Due, func(d report.Due) bool {
		return d.Over && d.Subject == c.Name && (d.Action == "restic-restore-check" || d.Action == "tofu-state-restore")
	}) {
		out.RestoredMark = verdict.Unproven
		out.RestoredMore += "; OVERDUE"
	}
	if c.Last != c.Real {
		text := "a part came back " + v.ago(c.Last.Time)
		if c.Last.Verdict != verdict.Proven {
			text = fmt.Sprintf("last try %s, %s", v.ago(c.Last.Time), c.Last.Verdict)
			out.RestoredMark = c.Last.Verdict
			if c.Last.Why.ID != "" {
				text += ": " + c.Last.Why.ID
			}
		}
		out.RestoredMore = strings.TrimPrefix(out.RestoredMore+"; "+text, "; ")
	}
}

func (v *view) plots(c report.Contract, n int) *plots {
	set := &plots{Name: c.Name, ID: fmt.Sprintf("c%d", n)}
	seconds, bytes := 0.0, 0.0
	if c.Trend.Known() {
		seconds, bytes = c.Trend.Seconds, c.Trend.Bytes
	}
	for _, p := range []*Plot{plot(set.ID+"-time", "Recovery time", c.Tries, duration(), seconds), plot(set.ID+"-size", "What came back", c.Tries, size(), bytes)} {
		if p != nil {
			set.Plots = append(set.Plots, p)
		}
	}
	if len(set.Plots) == 0 {
		return nil
	}
	for i, t := range slices.Backward(c.Tries) {
		if len(c.Tries)-i > maxShown {
			break
		}
		r := row{Mark: t.Verdict, Word: string(t.Verdict), Cells: []string{stamp(t.Time), "–", "–", "–"}, Small: make([]string, 4)}
		if t.Verdict == verdict.Proven && !t.Whole {
			r.Word = "proven, a part"
		}
		if t.Waived {
			r.Word += ", with waivers"
		}
		if t.Seconds > 0 {
			r.Cells[1], r.Cells[2] = report.Span(report.Seconds(t.Seconds)), report.Size(float64(t.Bytes))
		}
		if !t.Snapshot.IsZero() {
			r.Cells[3] = stamp(t.Snapshot)
		}
		set.Tries = append(set.Tries, r)
	}
	return set
}

// maxText is how much of one text is shown: the log and the report have it all.
const maxText = 400

func short(s string) string {
	if r := []rune(s); len(r) > maxText {
		return string(r[:maxText]) + "…"
	}
	return s
}

// cut keeps each table, and each text in it, to what a person can look through.
func (v *view) cut() {
	for i := range v.Todo {
		for _, s := range []*string{&v.Todo[i].What, &v.Todo[i].Found, &v.Todo[i].Wanted, &v.Todo[i].Do, &v.Todo[i].Where} {
			*s = short(*s)
		}
	}
	for i := range v.Contracts {
		for _, s := range []*string{&v.Contracts[i].Name, &v.Contracts[i].HoldsMore, &v.Contracts[i].RestoredMore} {
			*s = short(*s)
		}
	}
	for _, rows := range [][]row{v.Evidence, v.Due, v.Doors, v.Drift, v.Waivers} {
		for _, r := range rows {
			for _, texts := range [][]string{r.Cells, r.Small} {
				for i := range texts {
					texts[i] = short(texts[i])
				}
			}
		}
	}
	if n := len(v.Todo) - maxRows; n > 0 {
		v.Hidden["todo"], v.Todo = n, v.Todo[:maxRows]
	}
	for name, rows := range map[string]*[]row{"evidence": &v.Evidence, "due": &v.Due, "doors": &v.Doors, "drift": &v.Drift, "waivers": &v.Waivers} {
		if n := len(*rows) - maxRows; n > 0 {
			v.Hidden[name], *rows = n, (*rows)[:maxRows]
		}
	}
	if n := len(v.Contracts) - maxRows; n > 0 {
		v.Hidden["contracts"], v.Contracts = n, v.Contracts[:maxRows]
	}
	if n := len(v.Plots) - maxRows; n > 0 {
		v.Hidden["plots"], v.Plots = n, v.Plots[:maxRows]
	}
}
