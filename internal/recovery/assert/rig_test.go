package assert

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

// marker is in every file that these tests restore, and may be in no check.
const marker = "s3cr3t-0f-a-restored-file"

// restoredRig is a restored tree that a test may spoil, and the directory beside
// it.
type restoredRig struct {
	t         testing.TB
	dir, work string
	tools     Tools
}

func newRestored(t testing.TB) *restoredRig {
	t.Helper()
	top := t.TempDir()
	r := &restoredRig{t: t, dir: filepath.Join(top, "restored"), work: filepath.Join(top, "work")}
	for _, dir := range []string{r.dir, r.work} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.tools = Tools{Env: os.Environ(), Timeout: 2 * time.Minute, TempDir: r.work}
	return r
}

// at is where a path of the snapshot lies.
func (r *restoredRig) at(p string) string {
	at := filepath.Join(r.dir, p)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		r.t.Fatal(err)
	}
	return at
}

func (r *restoredRig) write(p, text string) {
	if err := os.WriteFile(r.at(p), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// assert judges a, and holds what is true of every assertion: the tree is as it
// was, nothing is left beside it, every check names the assertion, and none
// carries what a file contains.
func (r *restoredRig) assert(a Assertion) []verdict.Check {
	r.t.Helper()
	if a.Name == "" {
		a.Name = "test"
	}
	before := r.print()
	checks := a.Assert(context.Background(), r.dir, r.tools)
	if after := r.print(); after != before {
		r.t.Errorf("the assertion changed the restored tree:\n%s\nwas\n%s", after, before)
	}
	if left, _ := os.ReadDir(r.work); len(left) > 0 {
		r.t.Errorf("the assertion left %v", left)
	}
	text, err := json.Marshal(checks)
	if err != nil {
		r.t.Fatal(err)
	}
	if strings.Contains(string(text), marker) {
		r.t.Errorf("a check carries what a restored file contains: %s", text)
	}
	for _, c := range checks {
		if c.Subject != a.Name || c.ID == "" || c.Wanted == "" || c.Got == "" || (c.Verdict != verdict.Proven) != (c.Hint != "") {
			r.t.Errorf("a check that is not whole: %+v", c)
		}
	}
	return checks
}

// print is a digest of names, modes, times and contents.
func (r *restoredRig) print() string {
	var b strings.Builder
	err := filepath.WalkDir(r.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s %d", p, info.Mode(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(data))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return b.String()
}

// told are the verdicts of checks by their ids, and all of their text.
func told(checks []verdict.Check) (map[string]verdict.Verdict, string) {
	got, text := map[string]verdict.Verdict{}, ""
	for _, c := range checks {
		got[c.ID] = c.Verdict
		text += fmt.Sprintf("%s: %s\n  wanted %s\n  got %s\n  hint %s\n", c.ID, c.Verdict, c.Wanted, c.Got, c.Hint)
	}
	return got, text
}

// expect holds checks against the wanted verdicts and words.
func expect(t testing.TB, checks []verdict.Check, want map[string]verdict.Verdict, says ...string) {
	t.Helper()
	got, text := told(checks)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v\n%s", got, want, text)
	}
	for _, s := range says {
		if !strings.Contains(text, s) {
			t.Errorf("no check says %q:\n%s", s, text)
		}
	}
}

// database makes a SQLite database, or opens one; it is closed with the test if
// it is not before.
func database(t testing.TB, path string, statements ...string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return db
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flip changes one byte of a file.
func flip(t testing.TB, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}
