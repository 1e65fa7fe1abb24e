package page_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/evidence"
	"edge-actions/internal/report"
	"edge-actions/internal/report/page"
	"edge-actions/internal/verdict"
)

// now is when every report of these tests is made.
var now = time.Date(2026, 11, 25, 3, 12, 0, 0, time.UTC)

// story makes entries as the actions leave them.
type story struct {
	entries []evidence.Entry
	run     int
}

// add is one run of an action, so long before now.
func (s *story) add(before time.Duration, action, subject string, outputs map[string]string, checks ...verdict.Check) {
	s.run++
	at := now.Add(-before)
	r := verdict.Report{Action: action, Subject: subject, Started: at, Checks: checks}
	if len(checks) == 0 {
		r.Prove("looked", "to be looked at", "it was")
	}
	r.Finish(at.Add(time.Second))
	s.entries = append(s.entries, evidence.Entry{
		Schema: evidence.Schema, Seq: int64(len(s.entries) + 1), Time: at, Repository: "ops/control-plane", Workflow: "recovery", Job: "recovery", RunID: fmt.Sprint(400 + s.run), RunNumber: fmt.Sprint(s.run), Runner: "mac-mini", Report: r, Outputs: outputs,
	})
}

var paths = map[string][]string{"forgejo-pi": {"/etc/forgejo", "/var/lib/forgejo"}, "edge-1": {"/var/lib/rancher/k3s/server", "/var/lib/rustdesk"}}

var shared = strings.Repeat("0f2c", 16)

// restore is one rehearsal.
func (s *story) restore(before time.Duration, host string, seconds float64, bytes uint64, whole bool, checks ...verdict.Check) {
	list, _ := json.Marshal(paths[host])
	out := map[string]string{"repository_id": shared, "host": host, "paths": string(list), "snapshot_id": strings.Repeat("ab", 32), "snapshot_age_seconds": "34200"}
	if bytes > 0 {
		out["rto_seconds"], out["restored_bytes"], out["restored_files"], out["restored_whole"] = fmt.Sprintf("%.1f", seconds), fmt.Sprint(bytes), "4211", fmt.Sprint(whole)
	}
	s.add(before, "restic-restore-check", host, out, checks...)
}

// contracts is one look at the contracts of examples/recovery.
func (s *story) contracts(before time.Duration, checks ...verdict.Check) {
	list := []map[string]any{
		{"name": "control-plane", "kind": "restic", "host": "forgejo-pi", "verdict": "proven", "snapshot_id": strings.Repeat("ab", 32), "snapshot_age_seconds": 34200, "max_age_seconds": 93600, "repository_id": shared, "snapshot_host": "forgejo-pi", "paths": paths["forgejo-pi"]},
		{"name": "edge-node", "kind": "restic", "host": "edge-1", "verdict": "proven", "snapshot_id": strings.Repeat("cd", 32), "snapshot_age_seconds": 41000, "max_age_seconds": 93600, "repository_id": shared, "snapshot_host": "edge-1", "paths": paths["edge-1"]},
		{"name": "lfs", "kind": "lfs", "host": "forgejo-pi", "verdict": "proven", "max_age_seconds": 93600},
		{"name": "infra-state", "kind": "state", "verdict": "proven", "max_age_seconds": 691200, "stack": "edge"},
	}
	var all []verdict.Check
	for _, c := range list {
		name := c["name"].(string)
		own := []verdict.Check{{ID: "snapshot-age", Subject: name, Verdict: verdict.Proven, Wanted: "young", Got: "it is"}}
		for _, bad := range checks {
			if bad.Subject == name {
				own = append(own, bad)
				c["verdict"] = verdict.Of(own)
			}
		}
		all = append(all, own...)
	}
	text, _ := json.Marshal(list)
	s.add(before, "backup-validate", "4 contracts", map[string]string{"contracts": string(text)}, all...)
}

const day = 24 * time.Hour

// year is some months of an operator's life. Where it is not well, the last of
// it is.
func year(well bool) *story {
	s := &story{}
	for week := 30; week >= 1; week-- {
		age := time.Duration(week)*7*day - 4*day
		grown := uint64(1.1e9 + float64(30-week)*2.4e7)
		s.contracts(age)
		switch week {
		case 22, 23, 24: // the runner was away
		case 17:
			s.restore(age, "forgejo-pi", 0, 0, false, verdict.Refuse("restic-restore", "everything to come back", "2 files could not be read", "read the whole repository with restic check --read-data").Check)
		case 9:
			s.restore(age, "forgejo-pi", 41, 2e8, false)
		default:
			s.restore(age, "forgejo-pi", 150+float64(30-week)*2.1+float64(week*37%23), grown, true)
		}
		if week > 2 || well {
			s.restore(age, "edge-1", 22+float64(week*13%7), 3.1e8+uint64(week*7919%1000)*2e4, true)
		}
	}
	s.add(20*day, "tofu-state-restore", "edge", map[string]string{"archive": "a", "resources": "17", "changes": "false"})
	s.add(9*day, "tofu-plan-with-state-backup", "edge", map[string]string{"drifted": "false", "drifted_resources": "0"})
	s.add(6*day, "nixos-bootstrap", "edge-1", map[string]string{"public_ssh": "closed"})
	s.add(5*day, "mirror-validate", "ops/runtime on https://github.com/ops/runtime.git", nil)
	s.add(30*time.Hour, "node-validate", "edge-1, edge-2", nil, verdict.Check{ID: "failed-units", Subject: "edge-1", Verdict: verdict.Proven}, verdict.Check{ID: "failed-units", Subject: "edge-2", Verdict: verdict.Proven},
		verdict.Check{ID: "tailnet", Subject: "edge-2", Verdict: verdict.Unproven, Got: "reached without Tailscale", Waived: "tailnet: off"})
	s.add(29*time.Hour, "reboot-validate", "edge-1", nil)
	if well {
		s.add(12*time.Minute, "ingress-sweep", "", map[string]string{"doors": "[]", "public_ssh": "closed", "open": "0"})
		return s.sort()
	}
	s.contracts(10*time.Hour, verdict.Refuse("lfs-present", "every object that the database lists", "3 of 1,204 are missing, 7d5e…, 80aa…, f00d…", "copy them again: rclone copy").Check, verdict.Check{ID: "lfs-present", Subject: "lfs", Verdict: verdict.Disproven, Wanted: "every object that the database lists", Got: "3 of 1,204 are missing", Hint: "copy them to the remote again"})
	s.restore(10*time.Hour, "forgejo-pi", 903, 1.83e9, true)
	s.add(9*time.Hour, "tofu-plan-with-state-backup", "edge", map[string]string{"drifted": "true", "drifted_resources": "2"}, verdict.Refuse("drift", "a world that is as the state has it", "2 resources differ", "apply the stack, or take the change into the code").Check)
	s.add(3*time.Hour, "ingress-sweep", "", map[string]string{"public_ssh": "open", "open": "1", "doors": `[{"state":"open","where":"nsg edge-ssh","source":"198.51.100.7/32","run":"ops/infra#311.1","node":"edge-2","opened":"2026-11-24T23:58:00Z","expires":"2026-11-25T01:58:00Z"}]`},
		verdict.Check{ID: "public-ssh-rules", Subject: "edge-2", Verdict: verdict.Disproven, Wanted: "no way in on port 22", Got: "198.51.100.7/32 by nsg edge-ssh", Hint: "run ingress-sweep again once its lease has ended, or close it by hand"})
	return s.sort()
}

// sort puts the entries into the order in which they were made.
func (s *story) sort() *story {
	slices.SortStableFunc(s.entries, func(x, y evidence.Entry) int { return x.Time.Compare(y.Time) })
	for i := range s.entries {
		s.entries[i].Seq = int64(i + 1)
	}
	return s
}

var expect = []report.Expectation{{Name: report.Name{Action: "backup-validate"}, MaxAge: 8 * day}, {Name: report.Name{Action: "restic-restore-check"}, MaxAge: 8 * day}, {Name: report.Name{Action: "tofu-state-restore"}, MaxAge: 35 * day}}

func config() report.Config {
	return report.Config{Title: "Recovery of ops", Now: now, Skew: 5 * time.Minute, Expect: expect, Slower: 2, Slack: time.Minute}
}

// whole is a ledger in which nothing is wrong.
func whole(s *story) report.Ledger {
	return report.Ledger{Entries: int64(len(s.entries)), SHA256: strings.Repeat("3a", 32), Checks: []verdict.Check{{ID: report.Whole, Verdict: verdict.Proven, Wanted: "whole", Got: "whole"}}}
}

// broken is one in which entry n was changed.
func broken(n int64) report.Ledger {
	return report.Ledger{Entries: n - 1, SHA256: strings.Repeat("3a", 32), Checks: []verdict.Check{verdict.Refuse("ledger-edited", "a ledger that is as it was written", fmt.Sprintf("line %d (byte 48211): its signature is not of what it says", n), "trust nothing in it from there on: compare it with a copy, and find out who can write to the directory").Check}}
}

func (s *story) page(c report.Config, l report.Ledger) *report.Page {
	b := report.New(c)
	for i := range s.entries[:l.Entries] {
		b.Add(&s.entries[i])
	}
	return b.Page(l)
}

func render(t testing.TB, p *report.Page) string {
	t.Helper()
	data, err := page.HTML(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
