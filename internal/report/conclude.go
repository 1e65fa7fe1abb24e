package report

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

// The ids of this package's checks. Those of the ledger are evidence's.
const (
	// Newest is the newest word about one thing.
	Newest = "newest-evidence"
	// Overdue is an expectation that nothing meets.
	Overdue = "overdue"
	// Slower is a recovery time that got worse.
	Slower = "recovery-time"
)

// Page draws the conclusions.
func (b *Builder) Page(ledger Ledger) *Page {
	p := &Page{Title: b.cfg.Title, Made: b.cfg.Now.UTC(), Ledger: ledger, Evidence: b.evidence(), Contracts: b.table(), Drift: b.drifts(), Notes: slices.Clone(b.notes)}
	if more := b.back - len(b.notes); more > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("clocks went back %d times more", more))
	}
	for i := range p.Evidence {
		r := &p.Evidence[i]
		for _, c := range p.Contracts {
			if c.Promised && r.backup != (backup{}) && c.backup == r.backup {
				r.Contract = c.Name
				break
			}
		}
		r.Accepted = b.waived(r.Name) || r.Contract != "" && b.waived(Name{r.Action, r.Contract})
		for _, c := range r.Waived {
			p.Waivers = append(p.Waivers, Waiver{r.Name, c, r.Time})
		}
	}
	p.Due = b.due(p.Evidence, p.Contracts)
	p.Doors, p.Looked = b.doors()
	b.idleWaivers(p)
	b.judge(p)
	p.Checks = append(slices.Clone(ledger.Checks), p.Checks...)
	p.Verdict = verdict.Of(p.Checks)
	return p
}

// judge makes checks and things to do of what was found.
func (b *Builder) judge(p *Page) {
	for _, c := range p.Ledger.Checks {
		if c.Verdict != verdict.Proven && c.Waived == "" {
			p.Todo = append(p.Todo, Todo{Verdict: worst(c.Verdict, c.Verdict), What: "the ledger: " + c.ID, Found: c.Got, Wanted: c.Wanted, Do: c.Hint})
		}
	}
	good := 0
	for _, r := range p.Evidence {
		if r.Verdict == verdict.Proven && !r.Accepted {
			good++
		}
		if r.Verdict == verdict.Proven {
			continue
		}
		found := r.Why.ID
		if r.Why.Got != "" {
			found += ": " + r.Why.Got
		}
		if r.Why.Subject != "" && r.Why.Subject != r.Subject {
			found = r.Why.Subject + ": " + found
		}
		if r.More > 0 {
			found += fmt.Sprintf(" (and %d more)", r.More)
		}
		p.add(verdict.Check{ID: Newest, Subject: r.Label(), Verdict: r.Verdict, Wanted: cmp.Or(r.Why.Wanted, "the newest run to be proven"), Got: found, Hint: r.Why.Hint}, r.Accepted, r.Label(), r.Source.String()+fmt.Sprintf(", entry %d", r.Seq))
	}
	switch {
	case len(p.Evidence) == 0:
		p.add(verdict.CannotTell(Newest, "evidence in the ledger", errors.New("none"), "let the actions write to it: set EDGE_ACTIONS_LEDGER and EDGE_ACTIONS_LEDGER_KEY where they run").Check, false, "the ledger says nothing yet", "")
	case good > 0:
		p.Checks = append(p.Checks, verdict.Check{ID: Newest, Verdict: verdict.Proven, Wanted: "the newest run of each to be proven", Got: fmt.Sprintf("%d of %d are", good, len(p.Evidence))})
	}
	b.judgeDue(p)
	for _, c := range p.Contracts {
		if !c.Trend.Slower {
			continue
		}
		p.add(verdict.Refuse(Slower, fmt.Sprintf("%s back within %.1f times the median of the %d restores before, %s", c.Name, b.cfg.Slower, c.Trend.Before, Span(Seconds(c.Trend.Seconds))), Span(Seconds(c.Real.Seconds)), "see what takes so long: the times are in the log of that run").Check, false, c.Name+" takes longer to restore", fmt.Sprintf("entry %d", c.Real.Seq))
	}
	slices.SortStableFunc(p.Todo, func(x, y Todo) int { return rank(x.Verdict) - rank(y.Verdict) })
}

func (b *Builder) judgeDue(p *Page) {
	met := 0
	for _, d := range p.Due {
		if !d.Over {
			if !d.Accepted {
				met++
			}
			continue
		}
		found := "never"
		switch {
		case d.Future:
			found = "evidence from the future, " + d.Last.UTC().Format(time.RFC3339)
		case !d.Last.IsZero():
			found = Span(b.cfg.Now.Sub(d.Last)) + " ago"
		}
		p.add(verdict.CannotTell(Overdue, "proven within "+Span(d.MaxAge), errors.New(found), "run "+d.Action+" for it, and see why its schedule did not").Check, d.Accepted, d.Label()+" is overdue", "")
		last := &p.Checks[len(p.Checks)-1]
		last.Subject = d.Label()
	}
	if met > 0 {
		p.Checks = append(p.Checks, verdict.Check{ID: Overdue, Verdict: verdict.Proven, Wanted: "each expectation met in its time", Got: fmt.Sprintf("%d of %d are", met, len(p.Due))})
	}
}

// add takes a check that does not hold. An accepted one is shown as a waiver.
func (p *Page) add(c verdict.Check, accepted bool, what, where string) {
	if accepted {
		c.Waived = "waive"
		p.Checks = append(p.Checks, c)
		p.Waivers = append(p.Waivers, Waiver{Check: verdict.Check{ID: c.ID, Subject: cmp.Or(c.Subject, what), Verdict: c.Verdict, Got: c.Got, Waived: "waive of this report"}, Time: p.Made})
		return
	}
	p.Checks = append(p.Checks, c)
	p.Todo = append(p.Todo, Todo{Verdict: worst(c.Verdict, c.Verdict), What: what, Found: c.Got, Wanted: c.Wanted, Do: c.Hint, Where: where})
}

// idleWaivers says which waivers are of nothing: a name that was mistyped, or
// one that is no longer needed.
func (b *Builder) idleWaivers(p *Page) {
	for _, n := range b.cfg.Waive {
		used := slices.ContainsFunc(p.Evidence, func(r Evidence) bool {
			return r.Accepted && r.Action == n.Action && (n.Subject == "" || n.Subject == r.Subject || n.Subject == r.Contract)
		}) || slices.ContainsFunc(p.Due, func(d Due) bool {
			return d.Accepted && d.Action == n.Action && (n.Subject == "" || n.Subject == d.Subject)
		})
		if !used {
			p.Notes = append(p.Notes, fmt.Sprintf("the waiver of %.200q is of nothing that is here", n))
		}
	}
}

// Label is the name of a row, with what tells it apart.
func (r *Evidence) Label() string { return label(r.Name, r.Detail) }

// Label is the name of what is expected.
func (d *Due) Label() string { return label(d.Name, d.Detail) }

func label(n Name, detail string) string {
	if detail == "" {
		return n.String()
	}
	return n.String() + " (" + detail + ")"
}

// String is where a run was, for a person who looks for it.
func (s Source) String() string {
	var parts []string
	for _, part := range []string{s.Repository, s.Workflow, s.Job} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if n := cmp.Or(s.RunNumber, s.RunID); n != "" {
		parts = append(parts, "run "+n)
	}
	return strings.Join(parts, ", ")
}
