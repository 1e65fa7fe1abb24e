package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/evidence"
	"edge-actions/internal/verdict"
)

// maxNotes bounds what is said of clocks.
const maxNotes = 10

// Builder takes a ledger's entries in their order. What it keeps grows with
// what they are about and with the restores, not with their number.
type Builder struct {
	cfg   Config
	rows  map[key]*Evidence
	last  map[place]run // the newest run of an action in a job
	lists map[place]*list
	// told is when each contract was last proven.
	told   map[promise]time.Time
	tries  map[backup][]Try
	sweeps map[place]*sweep
	boots  map[Name]*boot
	drift  map[Name]*Drift

	entries int64
	clock   time.Time // the newest so far
	notes   []string
	back    int // how often a clock went back
}

// key is what a later entry speaks of again.
type key struct {
	repository string
	name       Name
	detail     string
	loose      place // only where nothing says what it is about
}

// place is an action in a job of a workflow.
type place struct{ repository, action, workflow, job string }

type run struct {
	seq int64
	id  string
}

// New starts a report.
func New(cfg Config) *Builder {
	return &Builder{
		cfg: cfg, rows: map[key]*Evidence{}, last: map[place]run{}, lists: map[place]*list{}, told: map[promise]time.Time{}, tries: map[backup][]Try{},
		sweeps: map[place]*sweep{}, boots: map[Name]*boot{}, drift: map[Name]*Drift{},
	}
}

// Add takes the next entry.
func (b *Builder) Add(e *evidence.Entry) {
	b.entries++
	b.tick(e)
	if e.Report.Action == Own {
		return
	}
	at := place{e.Repository, e.Report.Action, e.Workflow, e.Job}
	b.last[at] = run{e.Seq, e.RunID}
	for _, part := range split(e) {
		b.row(e, at, part)
	}
	switch e.Report.Action {
	case "backup-validate":
		b.contracts(e, at)
	case "restic-restore-check", "tofu-state-restore":
		b.restore(e)
	case "ingress-sweep":
		b.sweep(e, at)
	case "nixos-bootstrap":
		b.boot(e)
	}
	switch e.Report.Action {
	case "tofu-plan-with-state-backup", "tofu-state-restore", "tofu-apply":
		b.drifted(e)
	}
}

// tick holds an entry's clock against those before. An entry is older than
// every one after it, whatever its clock said: so a clock that was set back
// makes what is before it older, and never younger.
func (b *Builder) tick(e *evidence.Entry) {
	if back := b.clock.Sub(e.Time); back > b.cfg.Skew {
		if b.back++; b.back <= maxNotes {
			b.notes = append(b.notes, fmt.Sprintf("the clock of runner %.100q went back by %s at entry %d (%s): what is before it counts as that old at least", e.Runner, back.Round(time.Second), e.Seq, e.Time.UTC().Format(time.RFC3339)))
		}
	}
	if e.Time.Before(b.clock) {
		b.cap(e.Time)
	}
	b.clock = e.Time
}

// cap makes nothing younger than t.
func (b *Builder) cap(t time.Time) {
	older := func(at *time.Time) {
		if at.After(t) {
			*at = t
		}
	}
	for _, r := range b.rows {
		older(&r.Time)
		older(&r.Proven)
	}
	for _, l := range b.lists {
		older(&l.time)
		older(&l.tried)
	}
	for p, at := range b.told {
		older(&at)
		b.told[p] = at
	}
	for _, tries := range b.tries {
		for i := range tries {
			older(&tries[i].Time)
		}
	}
	for _, s := range b.sweeps {
		older(&s.time)
	}
	for _, s := range b.boots {
		older(&s.time)
	}
	for _, d := range b.drift {
		older(&d.Time)
	}
}

// row keeps what an entry says of one thing.
func (b *Builder) row(e *evidence.Entry, at place, p part) {
	k := key{repository: e.Repository, name: p.name, detail: p.detail}
	if p.loose {
		k.loose = at
	}
	r := &Evidence{
		Name: p.name, Detail: p.detail, Source: Source{e.Repository, e.Workflow, e.Job, e.RunID, e.RunNumber}, Seq: e.Seq, Time: e.Time, Verdict: p.verdict, backup: p.backup,
	}
	if old := b.rows[k]; old != nil {
		r.Proven = old.Proven
	}
	if r.Verdict == verdict.Proven {
		r.Proven = e.Time
	}
	for _, c := range p.checks {
		switch {
		case c.Waived != "":
			r.Waived = append(r.Waived, c)
		case c.Verdict == verdict.Proven:
		case r.Why.ID == "":
			r.Why = c
		default:
			r.More++
		}
	}
	if r.Verdict != verdict.Proven && r.Why.ID == "" {
		r.Why = verdict.CannotTell("report", "a check that says so", nil, "look at the log of the run").Check
	}
	b.rows[k] = r
}

// evidence are the rows that still stand. What a run said before it knew what
// it was about is over once a later run of the same job has said more.
func (b *Builder) evidence() []Evidence {
	var out []Evidence
	for k, r := range b.rows {
		if k.loose != (place{}) {
			if now := b.last[k.loose]; now.seq > r.Seq && now.id != r.Source.RunID {
				continue
			}
		}
		row := *r
		if b.future(row.Time) {
			row.Future, row.Verdict = true, verdict.Unproven
			row.Why = verdict.CannotTell("clock", "evidence from the past", fmt.Errorf("its clock says %s", row.Time.UTC().Format(time.RFC3339)), "see whose clock is wrong, that runner's or this one's, and run it again").Check
		}
		out = append(out, row)
	}
	slices.SortFunc(out, func(x, y Evidence) int {
		return cmp.Or(rank(x.Verdict)-rank(y.Verdict), strings.Compare(x.Action, y.Action), strings.Compare(x.Subject, y.Subject), strings.Compare(x.Detail, y.Detail), strings.Compare(x.Source.Repository, y.Source.Repository), int(x.Seq-y.Seq))
	})
	return out
}

// future reports whether t can't be.
func (b *Builder) future(t time.Time) bool { return t.After(b.cfg.Now.Add(b.cfg.Skew)) }

// rank has the worst first.
func rank(v verdict.Verdict) int {
	switch v {
	case verdict.Disproven:
		return 0
	case verdict.Proven:
		return 2
	}
	return 1
}
