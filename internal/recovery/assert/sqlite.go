package assert

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"edge-actions/internal/verdict"
)

// SQLite is a SQLite database that is whole and has what it should.
type SQLite struct {
	Path string `yaml:"path"`
	// Tables are the tables that must be there, each with the least number of
	// its rows.
	Tables map[string]int64 `yaml:"tables"`
	// WAL says what a write-ahead log beside it means: "allowed" (the default)
	// takes it as part of the database, "forbidden" wants a backup that was made
	// with .backup or VACUUM INTO, which leaves none.
	WAL string `yaml:"wal"`
}

func (s *SQLite) validate(p *problems) {
	p.path("sqlite.path", s.Path, true)
	p.tables("sqlite.tables", s.Tables)
	p.wal("sqlite.wal", s.WAL)
}

func (p *problems) tables(field string, tables map[string]int64) {
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		p.floor(fmt.Sprintf("%s.%.100q", field, name), tables[name])
		if name == "" || strings.ContainsRune(name, 0) {
			p.wrong(field+", names of tables", fmt.Sprintf("%.100q", name))
		}
	}
}

func (p *problems) wal(field, value string) {
	if value != "" && value != walAllowed && value != walForbidden {
		p.wrong(field+", allowed or forbidden", fmt.Sprintf("%.100q", value))
	}
}

func (s *SQLite) judge(ctx context.Context, j *judge) {
	j.withSQLite(ctx, s.Path, s.WAL, func(db *sql.DB) { j.tables(ctx, db, SQLiteTables, s.Tables) })
}

// realTable is a table that stores its rows. A virtual one has no pages: its rows
// are made by a program, and nobody backed them up. SQLite's own tables say
// nothing of what the database is for.
const realTable = `type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`

// tables holds the tables of a database against the floors on their rows.
// Without any floor there must be at least one table: a database that was just
// made passes every other check. It reports whether it was proven.
func (j *judge) tables(ctx context.Context, db *sql.DB, id string, floors map[string]int64) bool {
	var asked []string
	for _, name := range slices.Sorted(maps.Keys(floors)) {
		asked = append(asked, fmt.Sprintf("%.100q (%d)", name, floors[name]))
	}
	wanted := "the tables, each with at least so many rows: " + strings.Join(asked, ", ")
	if len(asked) == 0 {
		wanted = "at least one table"
	}
	fail := func(err error) bool {
		j.cannotTell(id, wanted, sqliteError(ctx, err), "look at the restored database with the sqlite3 shell")
		return false
	}
	var count int64
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE `+realTable).Scan(&count); err != nil {
		return fail(err)
	}
	if count == 0 {
		j.refuse(id, wanted, "none: the database is empty", "see the step that makes the copy: a failed .backup leaves an empty database")
		return false
	}
	if len(asked) == 0 {
		j.prove(id, wanted, fmt.Sprintf("%d tables", count))
		return true
	}
	var found, wrong []string
	for _, name := range slices.Sorted(maps.Keys(floors)) {
		var there int
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE `+realTable+` AND name = ?`, name).Scan(&there); err != nil {
			return fail(err)
		}
		if there == 0 {
			wrong = append(wrong, fmt.Sprintf("%.100q is missing", name))
			continue
		}
		var rows int64
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM "`+strings.ReplaceAll(name, `"`, `""`)+`"`).Scan(&rows); err != nil {
			return fail(err)
		}
		if found = append(found, fmt.Sprintf("%.100q has %d", name, rows)); rows < floors[name] {
			wrong = append(wrong, fmt.Sprintf("%.100q has %d rows", name, rows))
		}
	}
	if len(wrong) > 0 {
		j.refuse(id, wanted, strings.Join(wrong, ", "), "see when the rows were lost: assert older snapshots by snapshot_id")
		return false
	}
	j.prove(id, wanted, strings.Join(found, ", "))
	return true
}

// integrity runs SQLite's own check. What it says may quote the schema, so it is
// counted and not shown.
func (j *judge) integrity(ctx context.Context, db *sql.DB) bool {
	const wanted, hint = "integrity_check to say ok", "copy a live database with sqlite3 .backup or VACUUM INTO and back the copy up: a hot copy can be malformed"
	rows, err := db.QueryContext(ctx, `PRAGMA integrity_check(100)`)
	if err != nil {
		return j.malformed(ctx, err, wanted, hint)
	}
	defer rows.Close()
	count, ok := 0, false
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return j.malformed(ctx, err, wanted, hint)
		}
		count++
		ok = line == "ok"
	}
	if err := rows.Err(); err != nil {
		return j.malformed(ctx, err, wanted, hint)
	}
	if count != 1 || !ok {
		j.refuse(SQLiteIntegrity, wanted, fmt.Sprintf("%d problems (it stops at 100)", count), hint)
		return false
	}
	j.prove(SQLiteIntegrity, wanted, "ok")
	return true
}

func (j *judge) malformed(ctx context.Context, err error, wanted, hint string) bool {
	err = sqliteError(ctx, err)
	if errors.Is(err, errMalformed) {
		j.refuse(SQLiteIntegrity, wanted, err.Error(), hint)
	} else {
		j.add(verdict.CannotTell(SQLiteIntegrity, wanted, err, hint).Check)
	}
	return false
}
