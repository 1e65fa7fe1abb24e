package tfstate

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"

	"filippo.io/age"
)

// audit is one of the fixture's archives, with the operator's own key.
func (f *fixture) audit(t testing.TB) *Audit {
	t.Helper()
	return &Audit{
		Stack: "edge", Local: f.Local, Offsite: f.Offsite, Identities: identities(t, f.key),
		MaxAge: time.Hour, MaxSkew: time.Minute, Now: time.Now(), MinResources: 3,
	}
}

func identities(t testing.TB, file string) []age.Identity {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestAudit(t *testing.T) {
	t.Parallel()
	offsite := func(f *fixture, b *Backup, file string) string {
		return filepath.Join(f.Offsite.Location(b.Manifest.Name), file)
	}
	// another puts a second archive into the place, whatever the guards say of it.
	another := func(t *testing.T, f *fixture, state []byte, accept ...string) *Backup {
		t.Helper()
		f.write(t, state)
		f.Accept = accept
		return f.mustMake(t)
	}
	edit := func(t *testing.T, path string, change func([]byte) []byte) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		do   func(t *testing.T, f *fixture, b *Backup, a *Audit)
		want string // the one check that does not hold, with its verdict; "" for none
		says string
	}{
		"well":             {},
		"a serial further": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) { another(t, f, stateOf(8, 5, "l1")) }},
		"none":             {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) { a.Offsite = Dir{t.TempDir()} }, want: "state-archive=unproven", says: "none"},
		"nowhere": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) {
			file := filepath.Join(t.TempDir(), "file")
			os.WriteFile(file, nil, 0o600)
			a.Offsite = Dir{file}
		}, want: "state-archive=unproven"},
		"too old":         {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) { a.Now = a.Now.Add(2 * time.Hour) }, want: "state-archive-age=disproven", says: "old"},
		"from the future": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) { a.Now = a.Now.Add(-2 * time.Hour) }, want: "state-archive-age=disproven", says: "in the future"},
		"not copied": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) {
			f.Offsite = nil
			another(t, f, stateOf(8, 5, "l1"))
		}, want: "state-archive-copied=disproven", says: "serial8"},
		"none here": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) { a.Local = Dir{t.TempDir()} }, want: "state-archive-copied=unproven", says: "runner_dir"},
		"the serial goes back": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) {
			another(t, f, stateOf(6, 5, "l1"), "serial")
			// …and nobody says that it was accepted.
			edit(t, newestManifest(t, f), func(m []byte) []byte { return bytes.Replace(m, []byte(`"accepted"`), []byte(`"x"`), 1) })
		}, want: "state-history=disproven", says: "after serial 7"},
		"the serial went back and was accepted": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) { another(t, f, stateOf(6, 5, "l1"), "serial") }},
		"another lineage": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) {
			another(t, f, stateOf(8, 5, "l2"), "lineage")
			edit(t, newestManifest(t, f), func(m []byte) []byte { return bytes.Replace(m, []byte(`"accepted"`), []byte(`"x"`), 1) })
		}, want: "state-history=disproven", says: `"l2" after "l1"`},
		"another stack's": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) { a.Stack = "other" }, want: "state-history=unproven", says: `of the stack "edge"`},
		"a flipped bit": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) {
			edit(t, offsite(f, b, ArchiveFile), func(d []byte) []byte { d[len(d)/2] ^= 1; return d })
		}, want: "state-archive-bytes=disproven", says: "damaged or was changed"},
		"cut short": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) {
			edit(t, offsite(f, b, ArchiveFile), func(d []byte) []byte { return d[:len(d)-20] })
		}, want: "state-archive-bytes=disproven"},
		"another key": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) {
			id, err := age.GenerateX25519Identity()
			if err != nil {
				t.Fatal(err)
			}
			a.Identities = []age.Identity{id}
		}, want: "state-archive-opens=disproven", says: "does not open"},
		"the manifest of another state": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) {
			edit(t, offsite(f, b, ManifestFile), func(m []byte) []byte {
				return bytes.Replace(m, []byte(b.Manifest.State.SHA256), []byte(b.Manifest.State.SHA256[:12]+strings.Repeat("0", 52)), 1)
			})
		}, want: "state-archive-opens=disproven", says: "do not belong together"},
		"few resources": {do: func(t *testing.T, f *fixture, b *Backup, a *Audit) { a.MinResources = 6 }, want: "state-archive-opens=disproven", says: "at least 6"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.write(t, stateOf(7, 5, "l1"))
			f.Accept = []string{"new"}
			b := f.mustMake(t)
			a := f.audit(t)
			if tt.do != nil {
				tt.do(t, f, b, a)
			}
			checks := a.Checks(context.Background())
			not, text := "", ""
			for _, c := range checks {
				text += c.Wanted + " / " + c.Got + " / " + c.Hint + "\n"
				if c.Verdict != verdict.Proven {
					not += c.ID + "=" + string(c.Verdict)
				}
			}
			if not != tt.want || !strings.Contains(text, tt.says) {
				t.Errorf("%q, want %q\n%s", not, tt.want, text)
			}
			if tt.want == "" && len(checks) != 6 {
				t.Errorf("%d checks", len(checks))
			}
			if strings.Contains(text, "hunter2") {
				t.Errorf("what is in the state was said:\n%s", text)
			}
		})
	}
}

func newestManifest(t testing.TB, f *fixture) string {
	t.Helper()
	names, err := archiveNames(context.Background(), f.Offsite)
	if err != nil || len(names) == 0 {
		t.Fatal(err)
	}
	return filepath.Join(f.Offsite.Location(names[0]), ManifestFile)
}
