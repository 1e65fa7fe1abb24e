package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"edge-actions/internal/evidence"
	"edge-actions/internal/verdict"
)

// The kinds of contracts, as backup-validate names them.
const (
	KindRestic = "restic"
	KindLFS    = "lfs"
	KindState  = "state"
)

// Contract is one promise to be able to recover, or a backup that is restored
// and that nobody has promised.
type Contract struct {
	Name string
	Kind string
	Host string
	// Promised is false if no contract is about this backup.
	Promised bool
	Source   Source
	// Verdict, Why and Looked are what backup-validate said last, and when.
	Verdict verdict.Verdict
	Why     verdict.Check
	Looked  time.Time
	// Snapshot is when the newest snapshot was made: that it exists is all that
	// it says.
	Snapshot time.Time
	MaxAge   time.Duration
	Waived   []verdict.Check
	// Tries are the restores, oldest first. Real is the last of them in which
	// all of it came back and was proven, and Last the last one of all.
	Tries []Try
	Real  *Try
	Last  *Try
	Trend Trend

	backup backup
	proven time.Time
}

// list is the newest word of backup-validate in one job.
type list struct {
	source    Source
	time      time.Time
	contracts []listed
	checks    []verdict.Check
	// tried is a later run that could not say anything of them; why is its
	// first check that did not hold.
	tried time.Time
	why   verdict.Check
}

// promise is a contract of one job.
type promise struct {
	at   place
	name string
}

// listed is an element of backup-validate's output contracts.
type listed struct {
	Name               string          `json:"name"`
	Kind               string          `json:"kind"`
	Host               string          `json:"host"`
	Verdict            verdict.Verdict `json:"verdict"`
	SnapshotAgeSeconds int64           `json:"snapshot_age_seconds"`
	MaxAgeSeconds      int64           `json:"max_age_seconds"`
	RepositoryID       string          `json:"repository_id"`
	SnapshotHost       string          `json:"snapshot_host"`
	Paths              []string        `json:"paths"`
	Stack              string          `json:"stack"`
	SnapshotID         string          `json:"snapshot_id"`
}

// contracts keeps what a run of backup-validate said.
func (b *Builder) contracts(e *evidence.Entry, at place) {
	l := &list{source: Source{e.Repository, e.Workflow, e.Job, e.RunID, e.RunNumber}, time: e.Time, checks: e.Report.Checks}
	if json.Unmarshal([]byte(e.Outputs["contracts"]), &l.contracts) != nil {
		l.contracts = nil
		if e.Omitted["contracts"] != "" { // too long to be kept: their checks are there
			for _, name := range subjects(e.Report.Checks) {
				l.contracts = append(l.contracts, listed{Name: name, Verdict: verdict.Of(named(e.Report.Checks, name))})
			}
		}
	}
	if len(l.contracts) == 0 {
		// It says nothing of them, so what was said before is no longer so.
		if old := b.lists[at]; old != nil {
			old.tried, old.why = e.Time, firstOf(e.Report.Checks)
			old.source = l.source
		}
		return
	}
	for i := range l.contracts {
		c := &l.contracts[i]
		// The list is an output, the checks are the report: both must say so.
		checks := named(e.Report.Checks, c.Name)
		if c.Verdict = worst(c.Verdict, verdict.Of(checks)); c.Verdict == verdict.Proven {
			b.told[promise{at, c.Name}] = e.Time
		}
	}
	b.lists[at] = l
}

func named(checks []verdict.Check, subject string) []verdict.Check {
	var out []verdict.Check
	for _, c := range checks {
		if c.Subject == subject {
			out = append(out, c)
		}
	}
	return out
}

// firstOf is the first check that does not hold and was not accepted.
func firstOf(checks []verdict.Check) verdict.Check {
	for _, c := range checks {
		if c.Verdict != verdict.Proven && c.Waived == "" {
			return c
		}
	}
	return verdict.Check{}
}

// table has a row for each contract of the newest lists, and for each backup
// that was restored without one.
func (b *Builder) table() []Contract {
	var out []Contract
	met := map[backup]bool{}
	for at, l := range b.lists {
		for _, c := range l.contracts {
			row := Contract{
				Name: c.Name, Kind: c.Kind, Host: c.Host, Promised: true, Source: l.source, Verdict: c.Verdict, Looked: l.time,
				MaxAge: time.Duration(clamp(c.MaxAgeSeconds)) * time.Second, backup: b.find(c, at.repository), proven: b.told[promise{at, c.Name}],
			}
			checks := named(l.checks, c.Name)
			row.Why = firstOf(checks)
			for _, check := range checks {
				if check.Waived != "" {
					row.Waived = append(row.Waived, check)
				}
			}
			if c.SnapshotID != "" {
				row.Snapshot = l.time.Add(-time.Duration(clamp(c.SnapshotAgeSeconds)) * time.Second)
			}
			switch {
			case !l.tried.IsZero():
				row.Verdict, row.Looked = verdict.Unproven, l.tried
				row.Why = verdict.CannotTell(cmp.Or(l.why.ID, "contracts"), "a word about each contract", errors.New(cmp.Or(l.why.Got, "none in the newest run")), cmp.Or(l.why.Hint, "look at the log of the run")).Check
			case b.future(l.time):
				row.Verdict = verdict.Unproven
				row.Why = verdict.CannotTell("clock", "evidence from the past", fmt.Errorf("its clock says %s", l.time.UTC().Format(time.RFC3339)), "see whose clock is wrong, and run it again").Check
			}
			met[row.backup] = true
			out = append(out, b.restores(row))
		}
	}
	for k := range b.tries {
		if met[k] {
			continue
		}
		row := Contract{Name: cmp.Or(k.host, k.stack), Host: k.host, Kind: KindRestic, backup: k, Verdict: verdict.Unproven}
		if k.stack != "" {
			row.Kind = KindState
		}
		out = append(out, b.restores(row))
	}
	slices.SortFunc(out, func(x, y Contract) int {
		promised := 0
		if x.Promised != y.Promised {
			if promised = 1; x.Promised {
				promised = -1
			}
		}
		return cmp.Or(promised, rank(x.Verdict)-rank(y.Verdict), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Source.Repository, y.Source.Repository), cmp.Compare(x.backup.paths, y.backup.paths))
	})
	return out
}

// find says of which backup a contract is. A stack is looked for in its own
// repository, then in the only one that has it: two of one name are two.
func (b *Builder) find(c listed, repository string) backup {
	if c.Kind != KindState {
		if c.RepositoryID == "" {
			return backup{}
		}
		return backup{repositoryID: c.RepositoryID, host: c.SnapshotHost, paths: sorted(c.Paths)}
	}
	own := backup{stack: c.Stack, repository: repository}
	if b.tries[own] != nil {
		return own
	}
	var others []backup
	for k := range b.tries {
		if k.stack == c.Stack && c.Stack != "" {
			others = append(others, k)
		}
	}
	if len(others) == 1 {
		return others[0]
	}
	return own
}

// restores adds what was restored of a contract.
func (b *Builder) restores(row Contract) Contract {
	row.Tries = b.tries[row.backup]
	for i := range row.Tries {
		t := &row.Tries[i]
		if b.future(t.Time) {
			continue
		}
		if row.Last = t; t.Real() {
			row.Real = t
		}
	}
	row.Trend = b.trend(row.Tries)
	return row
}

// clamp keeps seconds to what a time can hold: a thousand years.
func clamp(n int64) int64 { return max(0, min(n, 1000*366*86400)) }
