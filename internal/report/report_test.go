package report_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/evidence"
	"edge-actions/internal/report"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

const day = 24 * time.Hour

var now = time.Date(2026, 11, 25, 3, 12, 0, 0, time.UTC)

// entry is one that an action leaves, so long before now.
type entry struct {
	before  time.Duration
	action  string
	subject string
	outputs map[string]string
	omitted map[string]string
	checks  []verdict.Check
	job     string
	run     string
	repo    string
}

func good(subject string) verdict.Check {
	return verdict.Check{ID: "looked", Subject: subject, Verdict: verdict.Proven}
}

func bad(id, subject string, v verdict.Verdict) verdict.Check {
	return verdict.Check{ID: id, Subject: subject, Verdict: v, Got: "so", Hint: "mend it"}
}

func waived(id, subject string) verdict.Check {
	return verdict.Check{ID: id, Subject: subject, Verdict: verdict.Unproven, Waived: "waive"}
}

func checks(c ...verdict.Check) []verdict.Check { return c }

// made makes a page of entries, in their order.
func made(c report.Config, entries ...entry) *report.Page {
	b := report.New(c)
	for i, e := range entries {
		if e.checks == nil {
			e.checks = checks(good(""))
		}
		if e.job == "" {
			e.job = "job"
		}
		if e.repo == "" {
			e.repo = "ops/runtime"
		}
		if e.run == "" {
			e.run = fmt.Sprint(100 + i)
		}
		r := verdict.Report{Action: e.action, Subject: e.subject, Checks: e.checks, Verdict: verdict.Of(e.checks)}
		b.Add(&evidence.Entry{Seq: int64(i + 1), Time: now.Add(-e.before), Repository: e.repo, Workflow: "w", Job: e.job, RunID: e.run, Report: r, Outputs: e.outputs, Omitted: e.omitted})
	}
	return b.Page(report.Ledger{Entries: int64(len(entries)), Checks: checks(verdict.Check{ID: report.Whole, Verdict: verdict.Proven})})
}

func config(expect ...string) report.Config {
	c := report.Config{Now: now, Skew: 5 * time.Minute, Slower: 2, Slack: time.Minute}
	for _, line := range expect {
		e, err := report.ParseExpectation(line)
		if err != nil {
			panic(err)
		}
		c.Expect = append(c.Expect, e)
	}
	return c
}

// rows are the evidence as "action/subject (detail)=verdict".
func rows(p *report.Page) []string {
	var out []string
	for _, r := range p.Evidence {
		text := r.Label() + "=" + string(r.Verdict)
		if r.Why.ID != "" {
			text += " " + r.Why.ID
		}
		out = append(out, text)
	}
	return out
}

// not are the checks that do not hold, as "id subject=verdict".
func not(p *report.Page) []string {
	var out []string
	for _, c := range p.Checks {
		if c.Verdict == verdict.Proven {
			continue
		}
		text := strings.TrimSpace(c.ID+" "+c.Subject) + "=" + string(c.Verdict)
		if c.Waived != "" {
			text += " (waived)"
		}
		out = append(out, text)
	}
	return out
}

func same(t *testing.T, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The newest word about each thing is what counts, whatever it was looked at
// together with.
func TestNewest(t *testing.T) {
	for name, tt := range map[string]struct {
		entries []entry
		want    []string
		verdict verdict.Verdict
	}{
		"nothing":   {nil, nil, verdict.Unproven},
		"our own":   {[]entry{{action: report.Own, subject: "recovery"}}, nil, verdict.Unproven},
		"good":      {[]entry{{action: "node-validate", subject: "edge-1"}}, []string{"node-validate/edge-1=proven"}, verdict.Proven},
		"good, bad": {[]entry{{before: day, action: "node-validate", subject: "edge-1"}, {action: "node-validate", subject: "edge-1", checks: checks(good(""), bad("k3s", "", verdict.Disproven))}}, []string{"node-validate/edge-1=disproven k3s"}, verdict.Disproven},
		"bad, good": {[]entry{{before: day, action: "node-validate", subject: "edge-1", checks: checks(bad("k3s", "", verdict.Disproven))}, {action: "node-validate", subject: "edge-1"}}, []string{"node-validate/edge-1=proven"}, verdict.Proven},
		"several": {[]entry{
			{before: day, action: "node-validate", subject: "edge-2", checks: checks(bad("k3s", "", verdict.Disproven))},
			{action: "node-validate", subject: "edge-1, edge-2, edge-3", checks: checks(good("edge-1"), good("edge-2"), bad("k3s", "edge-3", verdict.Unproven))},
		}, []string{"node-validate/edge-3=unproven k3s", "node-validate/edge-1=proven", "node-validate/edge-2=proven"}, verdict.Unproven},
		"one that nobody looked at": {[]entry{{action: "node-validate", subject: "edge-1, edge-2", checks: checks(good(""), good("edge-1"))}}, []string{"node-validate/edge-2=unproven report", "node-validate/edge-1=proven"}, verdict.Unproven},
		"another repository":        {[]entry{{action: "node-validate", subject: "edge-1", repo: "a/b", checks: checks(bad("k3s", "", verdict.Disproven))}, {action: "node-validate", subject: "edge-1", repo: "c/d"}}, []string{"node-validate/edge-1=disproven k3s", "node-validate/edge-1=proven"}, verdict.Disproven},
		"a handoff is of its repository": {[]entry{
			{before: day, action: "emit-handoff", subject: "ops/infra at 0123456789ab, state serial 4", checks: checks(bad("nodes", "", verdict.Disproven))}, {action: "emit-handoff", subject: "ops/infra at ba9876543210, state serial 5"},
		}, []string{"emit-handoff/ops/infra=proven"}, verdict.Proven},
		// What could not say what it was about is over with the next run, not with
		// the next step of the same one.
		"no subject, later run": {[]entry{{before: day, action: "node-validate", run: "7", checks: checks(bad("input-nodes", "", verdict.Disproven))}, {action: "node-validate", subject: "edge-1", run: "8"}}, []string{"node-validate/edge-1=proven"}, verdict.Proven},
		"no subject, same run":  {[]entry{{before: day, action: "node-validate", run: "7", checks: checks(bad("input-nodes", "", verdict.Disproven))}, {action: "node-validate", subject: "edge-1", run: "7"}}, []string{"node-validate=disproven input-nodes", "node-validate/edge-1=proven"}, verdict.Disproven},
		"no subject, other job": {[]entry{{before: day, action: "node-validate", run: "7", job: "a", checks: checks(bad("input-nodes", "", verdict.Disproven))}, {action: "node-validate", subject: "edge-1", run: "8", job: "b"}}, []string{"node-validate=disproven input-nodes", "node-validate/edge-1=proven"}, verdict.Disproven},
		"stacks": {[]entry{
			{before: day, action: "tofu-apply", subject: "3 stacks", checks: checks(good("net"), good("edge"), bad("apply", "dns", verdict.Disproven))}, {action: "tofu-apply", subject: "dns"},
		}, []string{"tofu-apply/dns=proven", "tofu-apply/edge=proven", "tofu-apply/net=proven"}, verdict.Proven},
		"a drift and a plan": {[]entry{
			{before: day, action: "tofu-plan-with-state-backup", subject: "edge", outputs: map[string]string{"drifted": "true", "drifted_resources": "1"}, checks: checks(bad("drift", "", verdict.Disproven))},
			{action: "tofu-plan-with-state-backup", subject: "edge", outputs: map[string]string{"changes": "true"}},
		}, []string{"tofu-plan-with-state-backup/edge (drift)=disproven drift", "tofu-plan-with-state-backup/edge (plan)=proven"}, verdict.Disproven},
		"waivers alone": {[]entry{{action: "node-validate", subject: "edge-1", checks: checks(waived("tailnet", ""))}}, []string{"node-validate/edge-1=unproven report"}, verdict.Unproven},
	} {
		t.Run(name, func(t *testing.T) {
			p := made(config(), tt.entries...)
			if same(t, tt.want, rows(p)); p.Verdict != tt.verdict {
				t.Errorf("%s, wanted %s", p.Verdict, tt.verdict)
			}
			if (p.Verdict == verdict.Proven) != (len(p.Todo) == 0) {
				t.Errorf("%d things to do", len(p.Todo))
			}
		})
	}
}

// An entry can't be greener than its checks.
func TestReportAgainstItsChecks(t *testing.T) {
	b := report.New(config())
	b.Add(&evidence.Entry{Seq: 1, Time: now, Report: verdict.Report{Action: "node-validate", Subject: "edge-1", Verdict: verdict.Proven, Checks: checks(bad("k3s", "", verdict.Unproven))}})
	b.Add(&evidence.Entry{Seq: 2, Time: now, Report: verdict.Report{Action: "node-validate", Subject: "edge-2", Verdict: verdict.Proven}})
	b.Add(&evidence.Entry{Seq: 3, Time: now, Report: verdict.Report{Action: "node-validate", Subject: "edge-3", Verdict: "splendid", Checks: checks(good(""))}})
	same(t, []string{"node-validate/edge-1=unproven k3s", "node-validate/edge-2=unproven report", "node-validate/edge-3=unproven report"}, rows(b.Page(report.Ledger{})))
}

func TestDue(t *testing.T) {
	node := entry{before: 3 * day, action: "node-validate", subject: "edge-1"}
	other := entry{before: day, action: "node-validate", subject: "edge-2"}
	for name, tt := range map[string]struct {
		expect  []string
		waive   []report.Name
		entries []entry
		want    []string
	}{
		"in time":           {[]string{"node-validate 4d"}, nil, []entry{node, other}, nil},
		"one of two":        {[]string{"node-validate 2d"}, nil, []entry{node, other}, []string{"overdue node-validate/edge-1=unproven"}},
		"to the second":     {[]string{"node-validate/edge-1 3d"}, nil, []entry{node}, nil},
		"named goes before": {[]string{"node-validate 2d", "node-validate/edge-1 4d"}, nil, []entry{node, other}, nil},
		"never":             {[]string{"reboot-validate 40d"}, nil, []entry{node}, []string{"overdue reboot-validate=unproven"}},
		"never, named":      {[]string{"node-validate/edge-3 40d"}, nil, []entry{node}, []string{"overdue node-validate/edge-3=unproven"}},
		"mistyped":          {[]string{"nod-validate 40d"}, nil, []entry{node}, []string{"overdue nod-validate=unproven"}},
		"waived":            {[]string{"node-validate 2d"}, []report.Name{{Action: "node-validate", Subject: "edge-1"}}, []entry{node, other}, []string{"overdue node-validate/edge-1=unproven (waived)"}},
		"bad now, good before": {[]string{"node-validate 2d"}, nil, []entry{other, {action: "node-validate", subject: "edge-2", checks: checks(bad("k3s", "", verdict.Disproven))}},
			[]string{"newest-evidence node-validate/edge-2=disproven"}},
		"bad since long": {[]string{"node-validate 2d"}, nil, []entry{node, {action: "node-validate", subject: "edge-1", checks: checks(bad("k3s", "", verdict.Disproven))}},
			[]string{"newest-evidence node-validate/edge-1=disproven", "overdue node-validate/edge-1=unproven"}},
		"our own is no evidence": {[]string{"recovery-report 2d"}, nil, []entry{node, {action: report.Own, subject: "recovery"}}, []string{"overdue recovery-report=unproven"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(tt.expect...)
			c.Waive = tt.waive
			p := made(c, tt.entries...)
			if same(t, tt.want, not(p)); len(tt.want) == 0 && p.Verdict != verdict.Proven {
				t.Errorf("%s", p.Verdict)
			}
		})
	}
}

// A waiver is shown, and one of nothing is said.
func TestWaive(t *testing.T) {
	c := config()
	c.Waive = []report.Name{{Action: "node-validate", Subject: "edge-9"}, {Action: "tofu-apply"}}
	p := made(c, entry{action: "node-validate", subject: "edge-9", checks: checks(bad("ssh", "", verdict.Unproven))}, entry{action: "reboot-validate", subject: "edge-1"})
	if same(t, []string{"newest-evidence node-validate/edge-9=unproven (waived)"}, not(p)); p.Verdict != verdict.Proven || len(p.Waivers) != 1 || len(p.Todo) != 0 {
		t.Errorf("%s %v %v", p.Verdict, p.Waivers, p.Todo)
	}
	same(t, []string{`the waiver of "tofu-apply" is of nothing that is here`}, p.Notes)
}

// A clock makes nothing younger than it is.
func TestClocks(t *testing.T) {
	// From the future: it can't be told how old it is.
	p := made(config("node-validate 8d"), entry{before: -2 * time.Hour, action: "node-validate", subject: "edge-1"})
	same(t, []string{"newest-evidence node-validate/edge-1=unproven", "overdue node-validate/edge-1=unproven"}, not(p))
	// A clock that was ahead and then set right: what is before it is as old as
	// what came after, at least.
	p = made(config("node-validate 8d"), entry{before: day, action: "node-validate", subject: "edge-1"}, entry{before: 20 * day, action: "node-validate", subject: "edge-2"})
	same(t, []string{"overdue node-validate/edge-1=unproven", "overdue node-validate/edge-2=unproven"}, not(p))
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "went back by 456h0m0s at entry 2") {
		t.Errorf("%q", p.Notes)
	}
	// Two jobs at once are no clock that goes back.
	p = made(config("node-validate 8d"), entry{before: day, action: "node-validate", subject: "edge-1"}, entry{before: day + time.Minute, action: "node-validate", subject: "edge-2"})
	if len(p.Notes) != 0 || p.Verdict != verdict.Proven {
		t.Errorf("%s %q", p.Verdict, p.Notes)
	}
	// The future ends once somebody has the right time again.
	p = made(config("node-validate 8d"), entry{before: -20 * day, action: "node-validate", subject: "edge-1"}, entry{before: time.Hour, action: "node-validate", subject: "edge-2"})
	if p.Verdict != verdict.Proven || len(p.Notes) != 1 {
		t.Errorf("%v %q", not(p), p.Notes)
	}
}

func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"backup-validate 8d": "backup-validate 192h0m0s", "restic-restore-check/edge-1  26h": "restic-restore-check/edge-1 26h0m0s",
		"mirror-validate/ops/x on https://example.org/x.git 90m": "mirror-validate/ops/x on https://example.org/x.git 1h30m0s",
	} {
		e, err := report.ParseExpectation(line)
		if err != nil || fmt.Sprintf("%s %s", e.Name, e.MaxAge) != want {
			t.Errorf("%q: %s %s %v", line, e.Name, e.MaxAge, err)
		}
	}
	for _, line := range []string{"", "backup-validate", "8d", "Backup 8d", "backup-validate/ 8d", "backup-validate 0d", "backup-validate -1d", "backup-validate 8", "backup-validate 1s", "backup-validate 9999999d", "backup-validate 8dd", "../x 8d"} {
		if e, err := report.ParseExpectation(line); err == nil {
			t.Errorf("%q is taken as %v", line, e)
		}
	}
}

func jsonOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}
