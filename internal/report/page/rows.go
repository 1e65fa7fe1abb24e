package page

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"edge-actions/internal/report"
	"edge-actions/internal/verdict"
)

// rows fills the smaller tables.
func (v *view) rows() {
	for _, r := range v.Page.Evidence {
		word := string(r.Verdict)
		if len(r.Waived) > 0 {
			word += ", " + things(len(r.Waived), "waiver")
		}
		if r.Accepted && r.Verdict != verdict.Proven {
			word += ", waived"
		}
		why := ""
		if r.Verdict != verdict.Proven {
			why = r.Why.ID + because(r.Why.Got)
		}
		proven := "proven last " + v.ago(r.Proven)
		switch {
		case r.Verdict == verdict.Proven:
			proven = stamp(r.Time)
		case r.Proven.IsZero():
			proven = "never proven"
		}
		small := r.Detail
		if r.Contract != "" {
			small = "contract " + r.Contract + because(r.Detail)
		}
		v.Evidence = append(v.Evidence, row{
			Mark: r.Verdict, Word: word, Cells: []string{r.Action, cmp.Or(r.Subject, "–"), v.ago(r.Time), why}, Small: []string{r.Source.String(), small, proven, ""},
		})
	}
	for _, d := range v.Page.Due {
		word, mark := "in time", verdict.Proven
		if d.Over {
			word, mark = "OVERDUE", verdict.Unproven
		}
		if d.Over && d.Accepted {
			word = "overdue, waived"
		}
		last, small := v.ago(d.Last), stamp(d.Last)
		if d.Last.IsZero() {
			small = "no proof in this ledger"
		}
		v.Due = append(v.Due, row{Mark: mark, Word: word, Cells: []string{d.Name.String(), "every " + report.Span(d.MaxAge), last}, Small: []string{d.Detail, "", small}})
	}
	for _, d := range v.Page.Doors {
		word := d.State
		if d.Ended {
			word = "open, its lease has ended"
		}
		v.Doors = append(v.Doors, row{
			Mark: verdict.Disproven, Word: word, Cells: []string{cmp.Or(d.Node, d.Where, "–"), cmp.Or(d.Source, "–"), cmp.Or(d.Run, "–"), "seen " + v.ago(d.Seen)},
			Small: []string{d.Where, span(d), "", "by " + d.By},
		})
	}
	for _, d := range v.Page.Drift {
		r := row{Mark: verdict.Proven, Word: "none", Cells: []string{d.Stack, "nothing differs", v.ago(d.Time)}, Small: []string{d.Repository, "", stamp(d.Time)}}
		if d.Resources > 0 {
			r.Mark, r.Word, r.Cells[1] = verdict.Disproven, "DRIFTED", things(d.Resources, "resource")+" differ"
		}
		if d.Applied {
			r.Mark, r.Word, r.Small[1] = verdict.Unproven, "not known", "applied since, and not looked at again"
		}
		v.Drift = append(v.Drift, r)
	}
	for _, w := range v.Page.Waivers {
		v.Waivers = append(v.Waivers, row{
			Mark: w.Check.Verdict, Word: string(w.Check.Verdict), Cells: []string{w.Check.ID, cmp.Or(w.Check.Subject, w.Subject, "–"), w.Check.Got, w.Check.Waived}, Small: []string{w.Action, "", "", v.ago(w.Time)},
		})
	}
}

// span is the time of a lease.
func span(d report.Door) string {
	if d.Opened == "" && d.Expires == "" {
		return ""
	}
	return cmp.Or(d.Opened, "?") + " to " + cmp.Or(d.Expires, "?")
}

// facts is the summary: what an engineer asks first.
func (v *view) facts() []Fact {
	n := v.Counts()
	mark := func(bad bool, v verdict.Verdict) verdict.Verdict {
		if bad {
			return v
		}
		return verdict.Proven
	}
	out := []Fact{
		{"Last real restore", v.ago(n.LastRestore), fmt.Sprintf("%d of %s restored as a whole", n.Restored, things(len(v.Page.Contracts), "backup")), mark(n.LastRestore.IsZero() || v.late("restic-restore-check"), verdict.Unproven)},
		{"Contracts that hold", fmt.Sprintf("%d of %d", n.Holding, n.Promised), "looked at " + v.ago(v.oldest()), mark(n.Holding < n.Promised || n.Promised == 0 || v.late("backup-validate"), verdict.Unproven)},
		{"Overdue", fmt.Sprint(n.Overdue), fmt.Sprintf("of %s", things(len(v.Page.Due), "expectation")), mark(n.Overdue > 0 || len(v.Page.Due) == 0, verdict.Unproven)},
		{"Open doors", fmt.Sprint(n.Open), "looked at " + v.ago(v.Looked), mark(n.Open > 0, verdict.Disproven)},
		{"Drift", fmt.Sprint(n.Drifted), fmt.Sprintf("of %s", things(len(v.Page.Drift), "stack")), mark(n.Drifted > 0, verdict.Disproven)},
		{"Ledger", "whole", things(int(v.Ledger.Entries), "signed entry") + " checked", verdict.Proven},
	}
	if v.Ledger.Entries != 1 {
		out[5].More = fmt.Sprintf("%d signed entries checked", v.Ledger.Entries)
	}
	if v.Looked.IsZero() && n.Open == 0 {
		out[3].Value, out[3].Mark = "unknown", verdict.Unproven
	}
	if len(v.Page.Drift) == 0 {
		out[4].Value, out[4].More, out[4].Mark = "unknown", "looked at never", verdict.Unproven
	}
	if len(v.Broken) > 0 {
		out[5].Value, out[5].Mark = "BROKEN", v.Broken[0].Verdict
		if v.Broken[0].Verdict != verdict.Disproven {
			out[5].Value = "not proven"
		}
		out[5].More = fmt.Sprintf("%d entries before that hold", v.Ledger.Entries)
	}
	return out
}

// late reports whether something that is expected of an action is overdue.
func (v *view) late(action string) bool {
	return slices.ContainsFunc(v.Page.Due, func(d report.Due) bool { return d.Action == action && d.Over && !d.Accepted })
}

// oldest is the oldest word about a contract.
func (v *view) oldest() (at time.Time) {
	for _, c := range v.Page.Contracts {
		if c.Promised && (at.IsZero() || c.Looked.Before(at)) {
			at = c.Looked
		}
	}
	return at
}
