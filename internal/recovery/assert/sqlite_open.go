package assert

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"modernc.org/sqlite" // without cgo: the runner has no C compiler

	"edge-actions/internal/files"
)

const (
	walAllowed   = "allowed"
	walForbidden = "forbidden"
)

// sqliteHeader is the part of a database's header that is looked at
// (https://sqlite.org/fileformat2.html, 1.3).
type sqliteHeader struct {
	size     int64
	pageSize uint32
	wal      bool // it was last written in WAL mode
}

// withSQLite looks at a database, opens it and hands it on if it is whole. A
// log beside it is part of it: the database is then copied, so that SQLite
// can write while it recovers, and the restored one stays as it was.
func (j *judge) withSQLite(ctx context.Context, p, wal string, use func(*sql.DB)) {
	h, ok := j.sqliteHeader(p)
	if !ok {
		return
	}
	named := p
	p, err := j.tree.resolved(named)
	if err != nil {
		j.missing(SQLiteFile, "a database that can be opened", named, err)
		return
	}
	log, err := j.tree.size(p + "-wal")
	if err != nil {
		j.missing(SQLiteWAL, "a write-ahead log that is a file, or none", p+"-wal", err)
		return
	}
	journal, err := j.tree.size(p + "-journal")
	if err != nil {
		j.missing(SQLiteFile, "a rollback journal that is a file, or none", p+"-journal", err)
		return
	}
	if journal > 0 && !j.journalAlone(p) {
		return
	}
	committed := -1 // frames in the log, up to the last commit
	if wal == walForbidden {
		const wanted = "no write-ahead log beside the database"
		if log > 0 {
			j.refuse(SQLiteWAL, wanted, fmt.Sprintf("one of %d bytes", log), "the backup is of the live database: copy it with sqlite3 .backup or VACUUM INTO first, and back that up")
			return
		}
		j.prove(SQLiteWAL, wanted, "none")
	} else if log > 0 {
		if committed, ok = j.walBelongs(p, h); !ok {
			return
		}
	}
	db, err := j.openSQLite(ctx, p, log > 0, journal > 0)
	if db != nil {
		defer db.Close()
	}
	if err != nil {
		j.malformed(ctx, err, "a database that can be opened", "copy a live database with sqlite3 .backup or VACUUM INTO and back the copy up; if the machine is full, make room for a copy")
		return
	}
	if committed >= 0 && !j.walReads(ctx, db, committed) {
		return
	}
	if j.integrity(ctx, db) {
		use(db)
	}
}

// sqliteHeader looks at a database as a file: an empty one passes SQLite's
// integrity_check.
func (j *judge) sqliteHeader(p string) (h sqliteHeader, ok bool) {
	wanted := fmt.Sprintf("a SQLite database at %.300q", p)
	f, info, err := j.tree.open(p)
	if err != nil {
		j.missing(SQLiteFile, wanted, p, err)
		return h, false
	}
	defer f.Close()
	if info.Size() == 0 {
		j.refuse(SQLiteFile, wanted, "a file of 0 bytes", "see the step that makes the copy: a failed .backup leaves an empty file, and the backup goes on")
		return h, false
	}
	head := make([]byte, 100)
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		j.missing(SQLiteFile, wanted, p, err)
		return h, false
	}
	if !bytes.HasPrefix(head, []byte("SQLite format 3\x00")) {
		j.refuse(SQLiteFile, wanted, fmt.Sprintf("%d bytes without SQLite's header", info.Size()), "it is encrypted, or something else: correct the path, or what is backed up")
		return h, false
	}
	h = sqliteHeader{size: info.Size(), pageSize: uint32(binary.BigEndian.Uint16(head[16:])), wal: head[18] == 2}
	if h.pageSize == 1 { // as it is written for 65536
		h.pageSize = 65536
	}
	got := fmt.Sprintf("%d bytes", h.size)
	if h.wal {
		got += ", in WAL mode"
	}
	j.prove(SQLiteFile, wanted, got)
	return h, true
}

// journalMagic ends a journal that names a second one (pager.c, writeSuperJournal).
const journalMagic = 0xd9d505f920a163d7

// journalAlone reports whether a rollback journal is of this database only. One
// of a transaction over several databases names a file of the machine that was
// backed up: SQLite looks for it on this one, decides by it whether to roll back,
// and removes it afterwards.
func (j *judge) journalAlone(p string) bool {
	const wanted = "a rollback journal of this database alone, or none"
	f, info, err := j.tree.open(p + "-journal")
	if err != nil {
		j.missing(SQLiteFile, wanted, p+"-journal", err)
		return false
	}
	defer f.Close()
	end := make([]byte, 8)
	if info.Size() < int64(len(end)) {
		return true
	}
	if _, err := f.ReadAt(end, info.Size()-int64(len(end))); err != nil {
		j.missing(SQLiteFile, wanted, p+"-journal", err)
		return false
	}
	if binary.BigEndian.Uint64(end) == journalMagic {
		j.cannotTell(SQLiteFile, wanted, errors.New("one of a transaction over several databases, which names a file of the machine that was backed up"), "copy a live database with sqlite3 .backup or VACUUM INTO, and back that up")
		return false
	}
	return true
}

// walBelongs reads the frame headers of a write-ahead log and returns how many
// frames it has up to its last commit. SQLite itself would delete a log that
// does not fit, or take what it can, and say nothing.
func (j *judge) walBelongs(p string, h sqliteHeader) (committed int, ok bool) {
	const wanted, hint = "a write-ahead log that belongs to the database", "the two were copied at different times: copy a live database with sqlite3 .backup or VACUUM INTO, and back that up"
	f, info, err := j.tree.open(p + "-wal")
	if err != nil {
		j.missing(SQLiteWAL, wanted, p+"-wal", err)
		return 0, false
	}
	defer f.Close()
	head := make([]byte, 32) // https://sqlite.org/fileformat2.html, 4.1
	_, err = io.ReadFull(f, head)
	magic, page := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[8:])
	switch {
	case err != nil || magic&^1 != 0x377f0682:
		j.refuse(SQLiteWAL, wanted, fmt.Sprintf("%d bytes without a log's header", info.Size()), hint)
		return 0, false
	case !h.wal:
		j.refuse(SQLiteWAL, wanted, "a log beside a database that is not in WAL mode", hint)
		return 0, false
	case page != h.pageSize:
		j.refuse(SQLiteWAL, wanted, fmt.Sprintf("a log with pages of %d bytes beside a database with pages of %d", page, h.pageSize), hint)
		return 0, false
	}
	frame := make([]byte, 24)
	for n := 1; ; n++ {
		at := 32 + int64(n-1)*(24+int64(page))
		if at+24+int64(page) > info.Size() {
			return committed, true
		}
		if _, err := f.ReadAt(frame, at); err != nil {
			j.missing(SQLiteWAL, wanted, p+"-wal", err)
			return 0, false
		}
		if !bytes.Equal(frame[8:16], head[16:24]) { // what is left of an earlier round
			return committed, true
		}
		if binary.BigEndian.Uint32(frame[4:]) != 0 {
			committed = n
		}
	}
}

// walReads holds what SQLite could recover from the log against what was
// committed in it.
func (j *judge) walReads(ctx context.Context, db *sql.DB, committed int) bool {
	const wanted = "every committed frame of the write-ahead log to be read"
	var busy, log, done int
	if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &log, &done); err != nil {
		err = sqliteError(ctx, err)
		if errors.Is(err, errMalformed) {
			j.refuse(SQLiteWAL, wanted, err.Error(), "copy a live database with sqlite3 .backup or VACUUM INTO, and back that up")
		} else {
			j.cannotTell(SQLiteWAL, wanted, err, "see the free space")
		}
		return false
	}
	got := fmt.Sprintf("%d of %d", max(log, 0), committed)
	if log < committed {
		j.refuse(SQLiteWAL, wanted, got, "the log was written to while it was copied: copy a live database with sqlite3 .backup or VACUUM INTO, and back that up")
		return false
	}
	j.prove(SQLiteWAL, wanted, got)
	return true
}

// openSQLite opens the restored database as it lies, or a copy of it with what
// was beside it. The -shm is never copied: SQLite makes it anew.
func (j *judge) openSQLite(ctx context.Context, p string, log, journal bool) (*sql.DB, error) {
	real, err := j.tree.path(p)
	if err != nil {
		return nil, err
	}
	query := url.Values{"mode": {"ro"}, "immutable": {"1"}}
	if log || journal {
		dir, err := os.MkdirTemp(j.temp, "sqlite-")
		if err != nil {
			return nil, err
		}
		real = filepath.Join(dir, "copy.db")
		for suffix, there := range map[string]bool{"": true, "-wal": log, "-journal": journal} {
			if !there {
				continue
			}
			if err := j.tree.copyTo(ctx, p+suffix, real+suffix); err != nil {
				return nil, fmt.Errorf("copying the database: %w", files.WithoutPath(err))
			}
		}
		query = url.Values{"mode": {"rw"}}
	}
	// A restored schema is foreign: its views and triggers may call nothing.
	query["_pragma"] = []string{"trusted_schema(0)", "cell_size_check(1)"}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: real}).EscapedPath(), RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, db.PingContext(ctx)
}

var errMalformed = errors.New("SQLite calls it malformed")

// sqliteError says what SQLite said by its code: its words may quote the schema.
func sqliteError(ctx context.Context, err error) error {
	var e *sqlite.Error
	var sys syscall.Errno
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &sys):
		return sys
	case !errors.As(err, &e): // a failed Scan quotes the value
		return errors.New("an answer of another kind than was asked for")
	case e.Code()&0xff == 11 || e.Code()&0xff == 26: // SQLITE_CORRUPT, SQLITE_NOTADB
		return fmt.Errorf("%w (code %d)", errMalformed, e.Code())
	}
	return fmt.Errorf("SQLite's error %d", e.Code())
}
