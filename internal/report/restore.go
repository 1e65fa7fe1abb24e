package report

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/evidence"
	"edge-actions/internal/verdict"
)

// backup names what is restored, wherever and whenever: a backup in a restic
// repository, or the archives of a stack.
type backup struct {
	repositoryID, host, paths string // paths sorted, one a line
	stack, repository         string // of the stack, its name and its repository on the forge
}

// Try is one run that restored something, or was to.
type Try struct {
	Seq     int64
	Time    time.Time
	Verdict verdict.Verdict
	// Whole is false where only a part came back.
	Whole      bool
	SnapshotID string
	// Snapshot is when what came back was made; zero if that is not known.
	Snapshot time.Time
	// Seconds is the recovery time; 0 if nothing came back.
	Seconds float64
	Bytes   uint64
	Files   uint64
	// Waived says that not all of it was proven.
	Waived bool
	Why    verdict.Check
}

// Real reports whether the whole of it came back and was proven: nothing less
// is called a restore.
func (t *Try) Real() bool { return t.Verdict == verdict.Proven && t.Whole }

func resticBackup(outputs map[string]string) backup {
	var paths []string
	if json.Unmarshal([]byte(outputs["paths"]), &paths) != nil {
		return backup{}
	}
	return backup{repositoryID: outputs["repository_id"], host: outputs["host"], paths: sorted(paths)}
}

func sorted(paths []string) string {
	return strings.Join(slices.Sorted(slices.Values(paths)), "\n")
}

// restore keeps one more try of a backup.
func (b *Builder) restore(e *evidence.Entry) {
	p := split(e)[0]
	if p.backup == (backup{}) {
		return
	}
	t := Try{Seq: e.Seq, Time: e.Time, Verdict: p.verdict, SnapshotID: e.Outputs["snapshot_id"]}
	for _, c := range p.checks {
		switch {
		case c.Waived != "":
			t.Waived = true
		case c.Verdict != verdict.Proven && t.Why.ID == "":
			t.Why = c
		}
	}
	if p.backup.stack != "" {
		// A rehearsal that was proven had the whole state in a tofu's hands.
		t.Whole = true
	} else {
		t.Whole = e.Outputs["restored_whole"] == "true"
		t.Seconds = number(e.Outputs["rto_seconds"])
		t.Bytes, _ = strconv.ParseUint(e.Outputs["restored_bytes"], 10, 63)
		t.Files, _ = strconv.ParseUint(e.Outputs["restored_files"], 10, 63)
		if age, err := strconv.ParseInt(e.Outputs["snapshot_age_seconds"], 10, 40); err == nil {
			t.Snapshot = e.Time.Add(-time.Duration(age) * time.Second)
		}
	}
	b.tries[p.backup] = append(b.tries[p.backup], t)
}

// number is a figure that can be one: neither less than nothing nor without end.
func number(text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n < 1e12) {
		return 0
	}
	return n
}
