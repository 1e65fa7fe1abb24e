package report_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/report"
	"edge-actions/internal/verdict"
)

var (
	repository = strings.Repeat("ab", 32)
	control    = map[string]any{"name": "control-plane", "kind": "restic", "verdict": "proven", "repository_id": repository, "snapshot_host": "pi", "paths": []string{"/b", "/a"}, "snapshot_id": "x", "snapshot_age_seconds": 3600, "max_age_seconds": 93600}
	state      = map[string]any{"name": "infra-state", "kind": "state", "verdict": "proven", "stack": "edge"}
	lfs        = map[string]any{"name": "lfs", "kind": "lfs", "verdict": "proven"}
)

// validated is a run of backup-validate in which all of them hold.
func validated(before time.Duration, contracts ...map[string]any) entry {
	e := entry{before: before, action: "backup-validate", subject: fmt.Sprintf("%d contracts", len(contracts)), outputs: map[string]string{"contracts": jsonOf(contracts)}, checks: checks()}
	for _, c := range contracts {
		e.checks = append(e.checks, good(c["name"].(string)))
	}
	return e
}

// rehearsed is a run of restic-restore-check.
func rehearsed(before time.Duration, outputs map[string]string, c ...verdict.Check) entry {
	out := map[string]string{"repository_id": repository, "host": "pi", "paths": `["/a","/b"]`, "snapshot_id": "x", "snapshot_age_seconds": "600", "restored_whole": "true", "restored_bytes": "1000", "restored_files": "3", "rto_seconds": "10"}
	for k, v := range outputs {
		out[k] = v
	}
	if len(c) == 0 {
		c = checks(good(""))
	}
	return entry{before: before, action: "restic-restore-check", subject: "pi", outputs: out, checks: c}
}

func ages(c report.Contract) string {
	age := func(t *report.Try) string {
		if t == nil {
			return "never"
		}
		return now.Sub(t.Time).String()
	}
	return fmt.Sprintf("%s %s real %s last %s", c.Name, c.Verdict, age(c.Real), age(c.Last))
}

// That a snapshot is there, that a part of it came back, that somebody tried:
// none of it is a restore.
func TestReallyRestored(t *testing.T) {
	failed := bad("restored-tree", "", verdict.Disproven)
	for name, tt := range map[string]struct {
		entries []entry
		want    string
	}{
		"never":               {nil, "control-plane proven real never last never"},
		"whole":               {[]entry{rehearsed(2*time.Hour, nil)}, "control-plane proven real 2h0m0s last 2h0m0s"},
		"a part":              {[]entry{rehearsed(2*time.Hour, map[string]string{"restored_whole": "false"})}, "control-plane proven real never last 2h0m0s"},
		"not said":            {[]entry{rehearsed(2*time.Hour, map[string]string{"restored_whole": ""})}, "control-plane proven real never last 2h0m0s"},
		"failed":              {[]entry{rehearsed(9*time.Hour, nil), rehearsed(2*time.Hour, nil, failed)}, "control-plane proven real 9h0m0s last 2h0m0s"},
		"unproven":            {[]entry{rehearsed(2*time.Hour, nil, bad("unreachable", "", verdict.Unproven))}, "control-plane proven real never last 2h0m0s"},
		"another host":        {[]entry{rehearsed(2*time.Hour, map[string]string{"host": "edge-1"})}, "control-plane proven real never last never"},
		"another repository":  {[]entry{rehearsed(2*time.Hour, map[string]string{"repository_id": strings.Repeat("cd", 32)})}, "control-plane proven real never last never"},
		"other paths":         {[]entry{rehearsed(2*time.Hour, map[string]string{"paths": `["/a"]`})}, "control-plane proven real never last never"},
		"paths of no list":    {[]entry{rehearsed(2*time.Hour, map[string]string{"paths": "/a /b"})}, "control-plane proven real never last never"},
		"from the future":     {[]entry{rehearsed(-2*time.Hour, nil)}, "control-plane proven real never last never"},
		"with waivers":        {[]entry{rehearsed(2*time.Hour, nil, good(""), waived("k3s-datastore", ""))}, "control-plane proven real 2h0m0s last 2h0m0s"},
		"by waivers and none": {[]entry{rehearsed(2*time.Hour, nil, waived("k3s-datastore", ""))}, "control-plane proven real never last 2h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			p := made(config(), append([]entry{validated(day, control)}, tt.entries...)...)
			if got := ages(p.Contracts[0]); got != tt.want {
				t.Errorf("%s, wanted %s", got, tt.want)
			}
			if c := p.Contracts[0]; now.Sub(c.Snapshot) != day+time.Hour {
				t.Errorf("the snapshot of %s", c.Snapshot)
			}
		})
	}
}

// A promise that nobody ever tried is overdue, by its own name.
func TestNeverRestoredIsOverdue(t *testing.T) {
	expect := config("backup-validate 8d", "restic-restore-check 8d", "tofu-state-restore 40d")
	p := made(expect, validated(day, control, state, lfs))
	same(t, []string{"overdue restic-restore-check/control-plane=unproven", "overdue tofu-state-restore/infra-state=unproven"}, not(p))
	// A list of the archives is no rehearsal.
	list := entry{action: "tofu-state-restore", subject: "edge", outputs: map[string]string{"archives": "[]"}}
	same(t, []string{"overdue tofu-state-restore/infra-state=unproven"}, not(made(expect, validated(day, control, state, lfs), rehearsed(day, nil), list)))
	same(t, []string{"overdue tofu-state-restore=unproven"}, not(made(config("tofu-state-restore 40d"), list)))
	rehearsal := entry{action: "tofu-state-restore", subject: "edge", outputs: map[string]string{"resources": "17", "changes": "false"}}
	p = made(expect, validated(day, control, state, lfs), rehearsed(day, nil), list, rehearsal)
	if same(t, nil, not(p)); p.Verdict != verdict.Proven {
		t.Errorf("%s", p.Verdict)
	}
	// Two on one host are two.
	other := rehearsed(day, map[string]string{"paths": `["/srv"]`})
	same(t, []string{"overdue restic-restore-check/control-plane=unproven"}, not(made(expect, validated(day, control), other, rehearsal)))
	// By the contract's name, in each of the ways to say it.
	c := config("restic-restore-check/control-plane 1h", "backup-validate/lfs 1h")
	same(t, []string{"overdue backup-validate/lfs=unproven", "overdue restic-restore-check/control-plane=unproven"}, not(made(c, validated(day, control, lfs), rehearsed(day, nil))))
	c = config("restic-restore-check/control-plane 8d", "backup-validate/lfs 8d", "backup-validate/nothing 8d")
	same(t, []string{"overdue backup-validate/nothing=unproven"}, not(made(c, validated(day, control, lfs), rehearsed(day, nil))))
	c = expect
	c.Waive = []report.Name{{Action: "restic-restore-check", Subject: "control-plane"}}
	same(t, []string{"overdue restic-restore-check/control-plane=unproven (waived)"}, not(made(c, validated(day, control), rehearsal)))
}

// What backup-validate could not say any more is no longer so.
func TestContracts(t *testing.T) {
	names := func(p *report.Page) []string {
		var out []string
		for _, c := range p.Contracts {
			out = append(out, fmt.Sprintf("%s %s %s promised=%t", c.Name, c.Verdict, c.Why.ID, c.Promised))
		}
		return out
	}
	failed := validated(time.Hour, control, lfs)
	failed.checks = append(failed.checks, bad("lfs-present", "lfs", verdict.Disproven))
	same(t, []string{"lfs disproven lfs-present promised=true", "control-plane proven  promised=true"}, names(made(config(), failed)))
	// The newest list is the list: a contract that is gone from it is gone.
	same(t, []string{"lfs proven  promised=true"}, names(made(config(), validated(day, control, lfs), validated(time.Hour, lfs))))
	// A run that says nothing.
	lost := entry{before: time.Hour, action: "backup-validate", checks: checks(bad("input-contracts", "", verdict.Disproven))}
	same(t, []string{"lfs unproven input-contracts promised=true"}, names(made(config(), validated(day, lfs), lost)))
	// Too long for the ledger: the checks have it.
	long := failed
	long.outputs, long.omitted = nil, map[string]string{"contracts": strings.Repeat("ab", 32)}
	same(t, []string{"lfs disproven lfs-present promised=true", "control-plane proven  promised=true"}, names(made(config(), long)))
	// An output that is greener than the report.
	liar := validated(time.Hour, control)
	liar.checks = checks(bad("snapshot-age", "control-plane", verdict.Disproven))
	same(t, []string{"control-plane disproven snapshot-age promised=true"}, names(made(config(), liar)))
	// From the future.
	same(t, []string{"lfs unproven clock promised=true"}, names(made(config(), validated(-time.Hour, lfs))))
	// What is restored without a promise has a row too.
	same(t, []string{"pi unproven  promised=false"}, names(made(config(), rehearsed(time.Hour, nil))))
}

func TestTrend(t *testing.T) {
	series := func(seconds ...float64) []entry {
		out := []entry{validated(40*day, control)}
		for i, s := range seconds {
			out = append(out, rehearsed(time.Duration(len(seconds)-i)*day, map[string]string{"rto_seconds": fmt.Sprint(s), "restored_bytes": fmt.Sprint(int(1000 + s))}))
		}
		return out
	}
	for name, tt := range map[string]struct {
		entries []entry
		slower  bool
	}{
		"too few":           {series(100, 100, 900), false},
		"slower":            {series(100, 100, 100, 900), true},
		"twice is not more": {series(100, 100, 100, 200), false},
		"a little more":     {series(1, 1, 1, 5), false}, // by less than a minute
		"one outlier":       {series(100, 900, 100, 100, 110), false},
		"it was once":       {series(100, 100, 100, 900, 100), false},
		"a failed one":      {append(series(100, 100, 100, 120), rehearsed(0, map[string]string{"rto_seconds": "5000"}, bad("restored-tree", "", verdict.Disproven))), false},
		"a part":            {append(series(100, 100, 100, 900), rehearsed(0, map[string]string{"rto_seconds": "1", "restored_whole": "false"})), true},
	} {
		p := made(config(), tt.entries...)
		if got := p.Contracts[0].Trend; got.Slower != tt.slower {
			t.Errorf("%s: %+v", name, got)
		}
		if tt.slower != strings.Contains(fmt.Sprint(not(p)), "recovery-time=disproven") {
			t.Errorf("%s: %v", name, not(p))
		}
	}
	small := series(100, 100, 100)
	small = append(small, rehearsed(0, map[string]string{"rto_seconds": "100", "restored_bytes": "400"}))
	if got := made(config(), small...).Contracts[0].Trend; !got.Smaller || got.Bytes != 1100 {
		t.Errorf("%+v", got)
	}
	// Figures that are none.
	for _, odd := range []string{"NaN", "Inf", "-1", "1e300", "ten"} {
		p := made(config(), append(series(100, 100, 100), rehearsed(0, map[string]string{"rto_seconds": odd, "restored_bytes": odd}))...)
		if tries := p.Contracts[0].Tries; tries[3].Seconds != 0 || tries[3].Bytes != 0 || p.Contracts[0].Trend.Slower {
			t.Errorf("%s: %+v", odd, tries[3])
		}
	}
}

func TestDoors(t *testing.T) {
	sweep := func(before time.Duration, public string, doors ...map[string]string) entry {
		return entry{before: before, action: "ingress-sweep", outputs: map[string]string{"public_ssh": public, "doors": jsonOf(doors)}}
	}
	boot := func(before time.Duration, public string) entry {
		return entry{before: before, action: "nixos-bootstrap", subject: "edge-1", outputs: map[string]string{"public_ssh": public}}
	}
	lease := map[string]string{"state": "open", "where": "nsg", "node": "edge-2", "expires": "2026-11-25T02:00:00Z"}
	lasts := map[string]string{"state": "open", "where": "nsg", "node": "edge-2", "expires": "2026-11-25T05:00:00Z"}
	foreign := map[string]string{"state": "foreign", "where": "list"}
	for name, tt := range map[string]struct {
		entries []entry
		want    []string
		looked  time.Duration // ago; 0 for never
	}{
		"never":                         {nil, nil, 0},
		"shut":                          {[]entry{sweep(time.Hour, "closed")}, nil, time.Hour},
		"closed ones are no doors":      {[]entry{sweep(time.Hour, "closed", map[string]string{"state": "closed"})}, nil, time.Hour},
		"open":                          {[]entry{sweep(time.Hour, "open", lasts, foreign)}, []string{"open edge-2 false", "foreign  false"}, time.Hour},
		"its lease has ended":           {[]entry{sweep(2*time.Hour, "open", lease)}, []string{"open edge-2 true"}, 2 * time.Hour},
		"the newest counts":             {[]entry{sweep(2*time.Hour, "open", lease), sweep(time.Hour, "closed")}, nil, time.Hour},
		"a bootstrap left one":          {[]entry{boot(time.Hour, "open")}, []string{"open edge-1 false"}, 0},
		"and it was shut":               {[]entry{boot(time.Hour, "open"), sweep(time.Minute, "closed")}, nil, time.Minute},
		"shut before is not shut after": {[]entry{sweep(2*time.Hour, "closed"), boot(time.Hour, "open")}, []string{"open edge-1 false"}, 2 * time.Hour},
		"shut by the next bootstrap":    {[]entry{boot(2*time.Hour, "open"), boot(time.Hour, "closed")}, nil, 0},
		"a sweep that could not tell":   {[]entry{boot(2*time.Hour, "open"), sweep(time.Hour, "")}, []string{"open edge-1 false"}, time.Hour},
	} {
		p := made(config(), tt.entries...)
		var got []string
		for _, d := range p.Doors {
			got = append(got, fmt.Sprintf("%s %s %t", d.State, d.Node, d.Ended))
		}
		t.Run(name, func(t *testing.T) { same(t, tt.want, got) })
		if looked := now.Sub(p.Looked); tt.looked == 0 != p.Looked.IsZero() || tt.looked != 0 && looked != tt.looked {
			t.Errorf("%s: looked %s ago", name, looked)
		}
	}
}

func TestDrift(t *testing.T) {
	drift := func(before time.Duration, stack, n string) entry {
		return entry{before: before, action: "tofu-plan-with-state-backup", subject: stack, outputs: map[string]string{"drifted": fmt.Sprint(n != "0"), "drifted_resources": n}}
	}
	p := made(config(),
		drift(9*day, "a", "2"), drift(8*day, "a", "0"), drift(7*day, "b", "3"),
		entry{before: 6 * day, action: "tofu-plan-with-state-backup", subject: "b", outputs: map[string]string{"changes": "true"}},
		drift(5*day, "c", "1"), entry{before: 4 * day, action: "tofu-apply", subject: "c"},
		drift(5*day, "d", "1"), entry{before: 4 * day, action: "tofu-apply", subject: "d", checks: checks(bad("apply", "", verdict.Disproven))},
		entry{before: 3 * day, action: "tofu-plan-with-state-backup", subject: "2 stacks", checks: checks(good("e"), good("f")), outputs: map[string]string{"drifted": "true", "drifted_resources": "4", "stacks": `[{"name":"e","drifted_resources":4},{"name":"f","drifted_resources":0}]`}},
	)
	var got []string
	for _, d := range p.Drift {
		got = append(got, fmt.Sprintf("%s %d applied=%t %s", d.Stack, d.Resources, d.Applied, now.Sub(d.Time)))
	}
	same(t, []string{"e 4 applied=false 72h0m0s", "b 3 applied=false 168h0m0s", "c 1 applied=true 120h0m0s", "d 1 applied=false 120h0m0s", "a 0 applied=false 192h0m0s", "f 0 applied=false 72h0m0s"}, got)
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0.0 s", 1500 * time.Millisecond: "1.5 s", 59 * time.Second: "59 s", 252 * time.Second: "4 min 12 s", 26 * time.Hour: "26 h", 8 * day: "8 d", 9*day + 5*time.Hour: "9 d 5 h", 400 * day: "400 d", -time.Hour: "-1 h"} {
		if got := report.Span(d); got != want {
			t.Errorf("%s: %q, wanted %q", d, got, want)
		}
	}
	if got := report.Span(-1 << 63); got == "" {
		t.Error("nothing")
	}
	if report.Seconds(1e300) <= 0 || report.Seconds(-1e300) >= 0 {
		t.Error("a time that turns into its opposite")
	}
	for n, want := range map[float64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 2 << 30: "2.0 GiB", 150 << 20: "150 MiB", 1 << 60: "1024 PiB"} {
		if got := report.Size(n); got != want {
			t.Errorf("%f: %q, wanted %q", n, got, want)
		}
	}
}
