package assert

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/verdict"
)

const (
	proven    = verdict.Proven
	disproven = verdict.Disproven
	unproven  = verdict.Unproven
)

// rows are 500, with the marker in each.
const rows = `INSERT INTO note SELECT value, '` + marker + `' || hex(randomblob(300)) FROM series`

// notes makes a database of 500 rows.
func notes(t testing.TB, path string) {
	database(t, path, `CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)`, `CREATE INDEX by_text ON note (text)`, `CREATE TABLE "a ""b"" table" (x)`, series, rows).Close()
}

// series is a table of the numbers to 500.
const series = `CREATE TABLE series AS WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < 500) SELECT value FROM s`

// live leaves in dir what a copy of a live database in WAL mode has: 500 rows in
// the log only.
func live(t testing.TB, to string, setup ...string) {
	t.Helper()
	from := filepath.Join(t.TempDir(), "live.db")
	db := database(t, from, append(setup, `PRAGMA journal_mode = WAL`, `PRAGMA wal_autocheckpoint = 0`, `CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)`, `CREATE INDEX by_text ON note (text)`, series, `PRAGMA wal_checkpoint(TRUNCATE)`, rows)...)
	copyFile(t, from, to)
	copyFile(t, from+"-wal", to+"-wal")
	db.Close()
}

func TestSQLite(t *testing.T) {
	const p = "/var/lib/app/app.db"
	whole := map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, SQLiteTables: proven}
	for name, tt := range map[string]struct {
		make   func(t *testing.T, r *restoredRig, at string)
		tables map[string]int64
		wal    string
		want   map[string]verdict.Verdict
		says   []string
	}{
		"whole":          {tables: map[string]int64{"note": 500, `a "b" table`: 0}, want: whole, says: []string{`"note" has 500`}},
		"no floor":       {want: whole, says: []string{"3 tables"}},
		"a row too few":  {tables: map[string]int64{"note": 501}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, SQLiteTables: disproven}, says: []string{"has 500 rows"}},
		"a table gone":   {tables: map[string]int64{"note": 1, "user": 0}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, SQLiteTables: disproven}, says: []string{`"user" is missing`}},
		"no file":        {make: func(t *testing.T, r *restoredRig, at string) { os.Remove(at) }, want: map[string]verdict.Verdict{SQLiteFile: disproven}, says: []string{"did not come back"}},
		"0 bytes":        {make: func(t *testing.T, r *restoredRig, at string) { r.write(p, "") }, want: map[string]verdict.Verdict{SQLiteFile: disproven}, says: []string{"0 bytes"}},
		"encrypted":      {make: func(t *testing.T, r *restoredRig, at string) { flip(t, at, 3) }, want: map[string]verdict.Verdict{SQLiteFile: disproven}, says: []string{"without SQLite's header"}},
		"a short text":   {make: func(t *testing.T, r *restoredRig, at string) { r.write(p, marker) }, want: map[string]verdict.Verdict{SQLiteFile: disproven}, says: []string{"without SQLite's header"}},
		"a page spoiled": {make: func(t *testing.T, r *restoredRig, at string) { spoil(t, at) }, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: disproven}},
		"cut off":        {make: func(t *testing.T, r *restoredRig, at string) { os.Truncate(at, 8192) }, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: disproven}},
		"no table at all": {make: func(t *testing.T, r *restoredRig, at string) {
			os.Remove(at)
			database(t, at, `CREATE TABLE x (y)`, `DROP TABLE x`).Close()
		}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, SQLiteTables: disproven}, says: []string{"the database is empty"}},
		"only SQLite's own tables": {make: func(t *testing.T, r *restoredRig, at string) {
			os.Remove(at)
			database(t, at, `CREATE TABLE x (y INTEGER PRIMARY KEY AUTOINCREMENT)`, `INSERT INTO x VALUES (1)`, `DROP TABLE x`, `CREATE VIEW v AS SELECT 1`).Close()
		}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, SQLiteTables: disproven}, says: []string{"the database is empty"}},
		"a table that makes its rows": {make: func(t *testing.T, r *restoredRig, at string) {
			database(t, at, `CREATE VIRTUAL TABLE user USING fts5(x, content='note', content_rowid='id')`).Close()
		}, tables: map[string]int64{"user": 1}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, SQLiteTables: disproven}, says: []string{`"user" is missing`}},
		"a view of that name": {make: func(t *testing.T, r *restoredRig, at string) {
			database(t, at, `CREATE VIEW user AS SELECT * FROM note`).Close()
		}, tables: map[string]int64{"user": 1}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, SQLiteTables: disproven}, says: []string{`"user" is missing`}},
		"a link out of the tree": {make: func(t *testing.T, r *restoredRig, at string) {
			outside := filepath.Join(r.work, "..", "live.db")
			os.Rename(at, outside)
			os.Symlink(outside, at)
		}, want: map[string]verdict.Verdict{SQLiteFile: disproven}, says: []string{"leads out"}},
		"a link in the tree": {make: func(t *testing.T, r *restoredRig, at string) {
			os.Rename(at, at+".real")
			os.Symlink("app.db.real", at)
		}, want: whole},
		"a link, and a log beside the file": {make: func(t *testing.T, r *restoredRig, at string) {
			os.Remove(at)
			live(t, r.at("/data/real.db"))
			os.Symlink("../../../data/real.db", at)
		}, tables: map[string]int64{"note": 500}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteWAL: proven, SQLiteIntegrity: proven, SQLiteTables: proven}},
		"a directory": {make: func(t *testing.T, r *restoredRig, at string) { os.Remove(at); os.Mkdir(at, 0o700) }, want: map[string]verdict.Verdict{SQLiteFile: disproven}, says: []string{"not a regular file"}},
		"a FIFO":      {make: func(t *testing.T, r *restoredRig, at string) { os.Remove(at); syscall.Mkfifo(at, 0o600) }, want: map[string]verdict.Verdict{SQLiteFile: disproven}, says: []string{"not a regular file"}},

		"a log is part of it": {make: func(t *testing.T, r *restoredRig, at string) { os.Remove(at); live(t, at) }, tables: map[string]int64{"note": 500},
			want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteWAL: proven, SQLiteIntegrity: proven, SQLiteTables: proven}, says: []string{"in WAL mode", `"note" has 500`}},
		"a log is forbidden": {make: func(t *testing.T, r *restoredRig, at string) { os.Remove(at); live(t, at) }, wal: "forbidden",
			want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteWAL: disproven}, says: []string{"VACUUM INTO"}},
		"no log, as wanted": {wal: "forbidden", want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteWAL: proven, SQLiteIntegrity: proven, SQLiteTables: proven}},
		"an empty log":      {make: func(t *testing.T, r *restoredRig, at string) { r.write(p+"-wal", "") }, want: whole},
		"the log is lost": {make: func(t *testing.T, r *restoredRig, at string) {
			os.Remove(at)
			live(t, at)
			os.Remove(at + "-wal")
		}, tables: map[string]int64{"note": 500}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, SQLiteTables: disproven}, says: []string{"has 0 rows"}},
		"a log beside another mode": {make: func(t *testing.T, r *restoredRig, at string) {
			other := filepath.Join(t.TempDir(), "x.db")
			live(t, other)
			copyFile(t, other+"-wal", at+"-wal")
		}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteWAL: disproven}, says: []string{"not in WAL mode"}},
		"a log of other pages": {make: func(t *testing.T, r *restoredRig, at string) {
			os.Remove(at)
			live(t, at)
			other := filepath.Join(t.TempDir(), "x.db")
			live(t, other, `PRAGMA page_size = 1024`)
			copyFile(t, other+"-wal", at+"-wal")
		}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteWAL: disproven}, says: []string{"1024", "4096"}},
		"a log of another database": {make: func(t *testing.T, r *restoredRig, at string) {
			os.Remove(at)
			database(t, at, `PRAGMA journal_mode = WAL`, `CREATE TABLE other (x)`, series, `CREATE TABLE t AS SELECT value, hex(randomblob(200)) FROM series`, `CREATE INDEX i ON t (value)`).Close()
			other := filepath.Join(t.TempDir(), "x.db")
			live(t, other)
			copyFile(t, other+"-wal", at+"-wal")
		}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteWAL: proven, SQLiteIntegrity: disproven}},
		"a torn log": {make: func(t *testing.T, r *restoredRig, at string) {
			os.Remove(at)
			live(t, at)
			flip(t, at+"-wal", 32+24+100) // in the first frame
		}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteWAL: disproven}, says: []string{"written to while it was copied"}},
		"no log's header": {make: func(t *testing.T, r *restoredRig, at string) {
			os.Remove(at)
			live(t, at)
			r.write(p+"-wal", strings.Repeat(marker, 4))
		}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteWAL: disproven}, says: []string{"without a log's header"}},
		"a log that leads out": {make: func(t *testing.T, r *restoredRig, at string) { os.Symlink("/etc/passwd", at+"-wal") },
			want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteWAL: disproven}, says: []string{"leads out"}},
		"a hot journal is rolled back": {make: func(t *testing.T, r *restoredRig, at string) { os.Remove(at); hotJournal(t, at) }, tables: map[string]int64{"note": 500}, want: whole, says: []string{`"note" has 500`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRestored(t)
			notes(t, r.at(p))
			if tt.make != nil {
				tt.make(t, r, r.at(p))
			}
			expect(t, r.assert(Assertion{SQLite: &SQLite{Path: p, Tables: tt.tables, WAL: tt.wal}}), tt.want, tt.says...)
		})
	}
}

// spoil writes noise over a page in the middle.
func spoil(t testing.TB, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(i*7 + 13)
	}
	if _, err := f.WriteAt(noise, 4096*20); err != nil {
		t.Fatal(err)
	}
}

// hotJournal leaves what a power cut leaves in the middle of a transaction:
// pages that were written, and the journal to take them back.
func hotJournal(t testing.TB, to string) {
	t.Helper()
	from := filepath.Join(t.TempDir(), "live.db")
	notes(t, from)
	db := database(t, from, `PRAGMA cache_size = 2`, `PRAGMA cache_spill = 1`, `BEGIN`, `UPDATE note SET text = 'x'`, `DELETE FROM note WHERE id > 10`)
	copyFile(t, from, to)
	copyFile(t, from+"-journal", to+"-journal")
	if head := make([]byte, 8); func() bool {
		f, _ := os.Open(to + "-journal")
		defer f.Close()
		f.Read(head)
		return binary.BigEndian.Uint64(head) != 0xd9d505f920a163d7
	}() {
		// A spilled journal's header is written with its sync; without one there is
		// nothing hot here.
		t.Fatal("the journal is not hot")
	}
	db.Exec(`ROLLBACK`)
}

// A journal may name a second one: SQLite looks for that file on this machine, and
// removes it when nothing needs it any more.
func TestSQLiteJournalThatNamesAFile(t *testing.T) {
	r := newRestored(t)
	const p = "/a.db"
	hotJournal(t, r.at(p))
	bystander := filepath.Join(r.work, "..", "bystander")
	if err := os.WriteFile(bystander, []byte(marker), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(r.at(p+"-journal"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	name, sum := []byte(bystander), uint32(0)
	for _, b := range name {
		sum += uint32(int8(b)) // as SQLite's C has it
	}
	end := append(binary.BigEndian.AppendUint32(nil, 1<<30/4096+1), name...) // the page of the lock
	end = binary.BigEndian.AppendUint32(end, uint32(len(name)))
	end = binary.BigEndian.AppendUint32(end, sum)
	f.Write(binary.BigEndian.AppendUint64(end, journalMagic))
	f.Close()
	checks := r.assert(Assertion{SQLite: &SQLite{Path: p, Tables: map[string]int64{"note": 500}}})
	if _, err := os.Stat(bystander); err != nil {
		t.Errorf("an assertion removed a file of this machine: %v", err)
	}
	expect(t, checks, map[string]verdict.Verdict{SQLiteFile: unproven}, "over several databases")
}

// A database that calls what it should not from its schema is opened without it.
func TestSQLiteHostileSchema(t *testing.T) {
	r := newRestored(t)
	const p = "/a.db"
	database(t, r.at(p), `CREATE TABLE t (x)`, `INSERT INTO t VALUES ('`+marker+`')`, `PRAGMA writable_schema = 1`,
		`INSERT INTO sqlite_schema VALUES ('table', '`+marker+`', '`+marker+`', 0, 'CREATE VIRTUAL TABLE "`+marker+`" USING nothing()')`).Close()
	got, text := told(r.assert(Assertion{SQLite: &SQLite{Path: p, Tables: map[string]int64{"t": 1}}}))
	if got[SQLiteTables] == "" && got[SQLiteIntegrity] == "" {
		t.Errorf("%s", text)
	}
}

func TestSQLiteEndsWithItsContext(t *testing.T) {
	r := newRestored(t)
	notes(t, r.at("/a.db"))
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(context.DeadlineExceeded)
	a := Assertion{Name: "x", SQLite: &SQLite{Path: "/a.db"}}
	got, text := told(a.Assert(ctx, r.dir, r.tools))
	if got[SQLiteIntegrity] != unproven {
		t.Errorf("%v\n%s", got, text)
	}
}
