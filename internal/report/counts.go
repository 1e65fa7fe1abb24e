package report

import (
	"time"

	"edge-actions/internal/verdict"
)

// Counts are the figures of a page.
type Counts struct {
	Promised, Holding, Restored int // contracts; Restored are backups, promised or not
	Overdue                     int // and not waived
	Open                        int // doors that are not strangers'
	Drifted                     int // stacks that differ, or that nobody looked at since they were applied
	Slower                      int
	// LastRestore is when a backup last came back as a whole; zero if never.
	LastRestore time.Time
}

// Counts counts what is on the page.
func (p *Page) Counts() Counts {
	var n Counts
	for _, c := range p.Contracts {
		if c.Promised {
			n.Promised++
			if c.Verdict == verdict.Proven {
				n.Holding++
			}
		}
		if c.Trend.Slower {
			n.Slower++
		}
		if c.Real != nil {
			n.Restored++
			if c.Real.Time.After(n.LastRestore) {
				n.LastRestore = c.Real.Time
			}
		}
	}
	for _, d := range p.Due {
		if d.Over && !d.Accepted {
			n.Overdue++
		}
	}
	for _, d := range p.Doors {
		if d.State != Foreign {
			n.Open++
		}
	}
	for _, d := range p.Drift {
		if d.Resources > 0 || d.Applied {
			n.Drifted++
		}
	}
	return n
}
