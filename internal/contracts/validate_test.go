package contracts

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/verdict"

	"filippo.io/age"
)

// promises are contracts of two hosts and of the runner; three of them share a
// repository.
func promises() *File {
	id := strings.Repeat("a", 64)
	shared := func(name, host, user string) Contract {
		return Contract{Name: name, Host: host, User: user, MaxAge: Duration(time.Hour), Restic: &Restic{RepositoryID: id, CheckParts: 2}}
	}
	return &File{Contracts: []Contract{shared("a", "edge-1", "root"), shared("b", "edge-1", "root"), shared("c", "edge-2", ""), {Name: "d", Host: "edge-1", MaxAge: Duration(time.Hour), State: &State{}}}}
}

func validation(t *testing.T, ask func(host, user string, q Request) (Response, error)) *Validation {
	return &Validation{
		File: promises(), Rotations: filepath.Join(t.TempDir(), "checks"), Now: time.Now(), Timeout: time.Minute, Parallel: 8, Logf: t.Logf,
		Ask: func(_ context.Context, host, user string, q Request) (Response, []verdict.Check, error) {
			r, err := ask(host, user, q)
			return r, []verdict.Check{{ID: "ssh", Subject: host, Verdict: verdict.Proven}}, err
		},
	}
}

// One question a host and user, the parts of a shared repository dealt out, and
// what was read remembered.
func TestValidate(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := map[string][]string{}
	v := validation(t, func(host, user string, q Request) (Response, error) {
		mu.Lock()
		defer mu.Unlock()
		var r Response
		for _, c := range q.Contracts {
			asked[host+"/"+user] = append(asked[host+"/"+user], c.Name+" "+q.Parts[c.Name].String())
			r.Findings = append(r.Findings, &Finding{Name: c.Name, Read: q.Parts[c.Name].Number, Checks: []verdict.Check{{ID: "x", Subject: c.Name, Verdict: verdict.Proven}}})
		}
		return r, nil
	})
	findings, ways := v.Validate(t.Context())
	if len(asked) != 3 || !slices.Equal(asked["edge-1/root"], []string{"a 1/2", "b 2/2"}) || !slices.Equal(asked["edge-2/"], []string{"c 1/2"}) || !slices.Equal(asked["edge-1/"], []string{"d 0/0"}) {
		t.Errorf("%v", asked)
	}
	if len(ways) != 3 || len(findings) != 4 || findings[0].Name != "a" || findings[3].Name != "d" {
		t.Errorf("%v %v", findings, ways)
	}
	r, err := openRotation(v.Rotations, strings.Repeat("a", 64), 2)
	if err != nil || len(r.Read) != 2 {
		t.Errorf("%+v %v", r, err)
	}
}

// A host that is not reached, or that does not answer for a contract, leaves
// nothing green; and what it claims to have read is one of the parts.
func TestValidateWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	v := validation(t, func(host, user string, q Request) (Response, error) {
		switch {
		case host == "edge-2":
			return Response{}, verdict.CannotTell("unreachable", "", errors.New("no"), "")
		case user == "root":
			return Response{Findings: []*Finding{{Name: "a", Read: 99}, {Name: "b", Checks: []verdict.Check{{ID: "x", Verdict: verdict.Proven}}}, {Name: "mallory"}}}, nil
		}
		return Response{}, nil
	})
	findings, _ := v.Validate(t.Context())
	var got []string
	for _, f := range findings {
		got = append(got, f.Name+" "+string(verdict.Of(f.Checks))+" "+f.Checks[0].ID)
	}
	if want := []string{"a unproven contract", "b proven x", "c unproven unreachable", "d unproven contract"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if r, err := openRotation(v.Rotations, strings.Repeat("a", 64), 2); err != nil || len(r.Read) != 0 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestWaive(t *testing.T) {
	today := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	w := []Waiver{{Contract: "a", Check: "x", Reason: "r\x1b[31m", Until: Day(today)}}
	for name, tt := range map[string]struct {
		check verdict.Check
		now   time.Time
		want  string
	}{
		"this one":          {verdict.Check{ID: "x", Subject: "a", Verdict: verdict.Unproven}, today.Add(23 * time.Hour), "contracts until 2026-12-01: r [31m"},
		"another check":     {verdict.Check{ID: "y", Subject: "a", Verdict: verdict.Unproven}, today, ""},
		"another contract":  {verdict.Check{ID: "x", Subject: "b", Verdict: verdict.Unproven}, today, ""},
		"one that is green": {verdict.Check{ID: "x", Subject: "a", Verdict: verdict.Proven}, today, ""},
		"the day after":     {verdict.Check{ID: "x", Subject: "a", Verdict: verdict.Unproven}, today.Add(24 * time.Hour), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := waive([]verdict.Check{tt.check}, w, tt.now)[0]
			if got.Waived != tt.want || got.Verdict != tt.check.Verdict {
				t.Errorf("%+v", got)
			}
			if name == "the day after" != strings.Contains(got.Hint, "it was waived until 2026-12-01") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// The archives of a stack, on a directory and on a real rclone remote.
func TestState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	put(t, key, id.String()+"\n")
	put(t, filepath.Join(dir, "state"), `{"version": 4, "terraform_version": "1.12.6", "serial": 3, "lineage": "l", "outputs": {}, "resources": [{"mode": "managed", "type": "a", "name": "b", "instances": [{}]}]}`)
	runner, off := filepath.Join(dir, "runner"), filepath.Join(dir, "off")
	archives := &tfstate.Archives{
		Local: tfstate.Dir{Path: tfstate.ArchivesDir(runner, "edge")}, Offsite: tfstate.Dir{Path: filepath.Join(off, "edge")}, Recipients: []age.Recipient{id.Recipient()}, RecipientNames: []string{id.Recipient().String()},
		Stack: "edge", Workspace: "default", Accept: []string{"new"}, LockTimeout: time.Second, Logf: t.Logf,
	}
	if _, err := archives.Make(t.Context(), tfstate.File{Path: filepath.Join(dir, "state"), LockTimeout: time.Second}, tfstate.ForPlan); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "rclone.conf")
	put(t, config, "[off]\ntype = alias\nremote = "+off+"\n")
	p := &Place{Environ: append(realtools.Environ(), "HOME="+dir, "RCLONE_CONFIG="+config), Now: time.Now(), Timeout: time.Minute, Logf: t.Logf}
	for _, where := range []string{off, "off:"} {
		c := &Contract{MaxAge: Duration(time.Hour), State: &State{Stack: "edge", RunnerDir: runner, Offsite: where, IdentityFile: "~/key", MinResources: 1}}
		if checks := p.state(t.Context(), c); len(checks) != 6 || verdict.Of(checks) != verdict.Proven {
			t.Errorf("%s: %+v", where, checks)
		}
		c.State.Stack = "other"
		if checks := p.state(t.Context(), c); verdict.Of(checks) != verdict.Unproven {
			t.Errorf("%s: %+v", where, checks)
		}
	}
	// The key is a secret: one that others can read is not used.
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	c := &Contract{MaxAge: Duration(time.Hour), State: &State{Stack: "edge", RunnerDir: runner, Offsite: off, IdentityFile: key}}
	if checks := p.state(t.Context(), c); len(checks) != 1 || checks[0].ID != tfstate.ArchiveOpens || checks[0].Verdict != verdict.Unproven {
		t.Errorf("%+v", checks)
	}
	put(t, filepath.Join(dir, "other"), "AGE-SECRET-KEY-1")
	c.State.IdentityFile = "~/other"
	if checks := p.state(t.Context(), c); len(checks) != 1 || strings.Contains(checks[0].Got, "AGE-SECRET") {
		t.Errorf("%+v", checks)
	}
}

func TestParseMore(t *testing.T) {
	const whole = "max_age: 1h, restic: {program: restic-pi, repository_id: " + "ID" + ", snapshot_host: h, paths: [/srv]}"
	for name, tt := range map[string]struct{ text, says string }{
		"twice":              {"contracts: [{name: a, WHOLE}, {name: a, WHOLE}]", "there twice"},
		"a wrapper and more": {"contracts: [{name: a, max_age: 1h, restic: {program: restic-pi, password_file: /key, repository_id: ID, snapshot_host: h, paths: [/srv]}}]", "beside the wrapper"},
		"well":               {"contracts: [{name: a, WHOLE}]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.ReplaceAll(strings.ReplaceAll(tt.text, "WHOLE", whole), "ID", strings.Repeat("a", 64))
			f, err := Parse([]byte(text), time.Now())
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
			if err == nil && (f.Contracts[0].Restic.CheckParts != defaultCheckParts || f.Contracts[0].Restic.MaxSkew != defaultSkew) {
				t.Errorf("%+v", f.Contracts[0].Restic)
			}
		})
	}
}
