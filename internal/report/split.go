package report

import (
	"regexp"
	"slices"
	"strings"

	"edge-actions/internal/evidence"
	"edge-actions/internal/verdict"
)

// part is what an entry says of one thing.
type part struct {
	name    Name
	detail  string
	loose   bool // nothing says what it is about
	verdict verdict.Verdict
	checks  []verdict.Check
	backup  backup
}

// count is the subject of a report about several things that it does not name.
var count = regexp.MustCompile(`^[0-9]+ (contracts|stacks)$`)

// split makes an entry about several nodes or stacks one about each, so that it
// does not matter with which others something was looked at.
func split(e *evidence.Entry) []part {
	subject, names := e.Report.Subject, []string(nil)
	switch {
	case count.MatchString(subject) && e.Report.Action != "backup-validate": // whose contracts are a table of their own
		subject, names = "", subjects(e.Report.Checks)
	case count.MatchString(subject):
		subject = ""
	case e.Report.Action == "emit-handoff": // "REPOSITORY at COMMIT, state serial N": each would be another one
		subject, _, _ = strings.Cut(subject, " at ")
	case strings.Contains(subject, ", "):
		names = strings.Split(subject, ", ")
		if slices.ContainsFunc(subjects(e.Report.Checks), func(s string) bool { return !slices.Contains(names, s) }) {
			names = nil
		}
	}
	if len(names) == 0 {
		p := part{name: Name{e.Report.Action, subject}, verdict: worst(e.Report.Verdict, verdict.Of(e.Report.Checks)), checks: e.Report.Checks}
		p.about(e)
		return []part{p}
	}
	var out []part
	for _, name := range names {
		p := part{name: Name{e.Report.Action, name}}
		looked := false
		for _, c := range e.Report.Checks {
			if c.Subject == "" || c.Subject == name {
				p.checks = append(p.checks, c)
				looked = looked || c.Subject == name
			}
		}
		// What holds of all together is not yet a word about this one.
		if p.verdict = verdict.Of(p.checks); !looked {
			p.verdict = worst(p.verdict, verdict.Unproven)
		}
		p.about(e)
		out = append(out, p)
	}
	return out
}

// about says more exactly what a part is about.
func (p *part) about(e *evidence.Entry) {
	switch p.name.Action {
	case "restic-restore-check":
		p.backup = resticBackup(e.Outputs)
		p.detail = strings.ReplaceAll(p.backup.paths, "\n", ", ")
	case "tofu-state-restore":
		p.detail = purpose(e.Outputs)
		p.loose = p.detail == ""
		if p.detail == rehearsal || p.detail == restored {
			p.backup = backup{stack: p.name.Subject, repository: e.Repository}
		}
	case "tofu-plan-with-state-backup":
		switch {
		case e.Outputs["drifted"] != "":
			p.detail = "drift"
		case e.Outputs["changes"] != "" || strings.Contains(e.Outputs["stacks"], `"changes"`):
			p.detail = "plan"
		default:
			p.loose = true
		}
	}
	p.loose = p.loose || p.name.Subject == ""
}

// The purposes of tofu-state-restore, by what a run gave out.
const (
	rehearsal = "rehearsal"
	restored  = "restore"
)

func purpose(outputs map[string]string) string {
	switch {
	case outputs["archives"] != "":
		return "list"
	case outputs["restored_path"] != "" || outputs["drifted"] != "" || outputs["backup_path"] != "":
		return restored
	case outputs["resources"] != "" || outputs["changes"] != "":
		return rehearsal
	}
	return ""
}

// subjects are the names that checks have, in their order.
func subjects(checks []verdict.Check) []string {
	var out []string
	for _, c := range checks {
		if c.Subject != "" && !slices.Contains(out, c.Subject) {
			out = append(out, c.Subject)
		}
	}
	return out
}

// worst is the one of the two that promises less.
func worst(x, y verdict.Verdict) verdict.Verdict {
	if rank(y) < rank(x) {
		x = y
	}
	if rank(x) == 1 {
		return verdict.Unproven // whatever it was called
	}
	return x
}
