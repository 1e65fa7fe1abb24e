package assert

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"

	"edge-actions/internal/files"
)

// Forgejo is a forge whose database speaks of what came back.
type Forgejo struct {
	// Database is the path of its SQLite database, WAL as in SQLite.
	Database string `yaml:"database"`
	WAL      string `yaml:"wal"`
	// Repositories is the directory that has <owner>/<name>.git.
	Repositories string `yaml:"repositories"`
	// LFS is the directory of the LFS objects; "" when they are in another
	// backup, whose own check it then is.
	LFS string `yaml:"lfs"`
	// MaxHashed is how many LFS objects are hashed at most; all are looked at by
	// size. 0 is 2000.
	MaxHashed int64 `yaml:"max_hashed"`
	// MinRepositories is the least number of rows.
	MinRepositories int64 `yaml:"min_repositories"`
	// FsckTimeout is how long git fsck of one repository may take, 30m without.
	FsckTimeout string `yaml:"fsck_timeout"`
}

func (f *Forgejo) validate(p *problems) {
	p.path("forgejo.database", f.Database, true)
	p.wal("forgejo.wal", f.WAL)
	p.path("forgejo.repositories", f.Repositories, true)
	p.path("forgejo.lfs", f.LFS, false)
	p.floor("forgejo.max_hashed", f.MaxHashed)
	p.floor("forgejo.min_repositories", f.MinRepositories)
	p.duration("forgejo.fsck_timeout", f.FsckTimeout)
}

// duration wants a time with its unit, or nothing.
func (p *problems) duration(field, value string) {
	if d, err := time.ParseDuration(value); value != "" && (err != nil || d < time.Second || d > 24*time.Hour) {
		p.wrong(field+", a time from 1s to 24h with its unit", fmt.Sprintf("%.100q", value))
	}
}

// orDuration is a validated time, or what it is without.
func orDuration(value string, without time.Duration) time.Duration {
	if d, err := time.ParseDuration(value); err == nil {
		return d
	}
	return without
}

// forgejoRepository is a row of the database and the directory that it means.
type forgejoRepository struct {
	id    int64
	name  string // owner/name
	dir   string // in the snapshot
	empty bool
	there bool
	size  int64
	// trouble is why git is not let at it.
	trouble error
}

// strange says what of it git is not let at; "" if there is nothing.
func (r *forgejoRepository) strange() string {
	switch {
	case leadsOut(r.trouble):
		return "has a link that leads out of what was restored"
	case errors.Is(r.trouble, errElsewhere):
		return "has objects or refs elsewhere (an alternate, a commondir or a link to a directory): git would take what this machine has there for them"
	case errors.Is(r.trouble, errPartial):
		return "is a shallow or a partial copy (shallow, info/grafts or a promisor's pack): git does not ask for what it leaves out"
	case errors.Is(r.trouble, errNotRegular):
		return "has what is no file in place of one"
	}
	return ""
}

func (f *Forgejo) judge(ctx context.Context, j *judge) {
	j.withSQLite(ctx, f.Database, f.WAL, func(db *sql.DB) {
		repositories, ok := f.repositories(ctx, j, db)
		if !ok {
			return
		}
		for _, r := range repositories {
			if r.there {
				r.size, r.trouble = j.contained(ctx, r.dir)
			}
		}
		f.branches(ctx, j, db, repositories)
		f.fsck(ctx, j, append(repositories, j.wikis(ctx, repositories)...))
		if f.LFS != "" {
			f.lfs(ctx, j, db)
		}
	})
}

// forgejoName is what Forgejo lets a user and a repository be called. A row may
// hold anything, and it becomes a path.
var forgejoName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$|^\.[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// repositories holds the rows against the directories, both ways.
func (f *Forgejo) repositories(ctx context.Context, j *judge, db *sql.DB) ([]*forgejoRepository, bool) {
	wanted := fmt.Sprintf("at least %d repositories in the database, each with its directory below %.300q", max(f.MinRepositories, 1), f.Repositories)
	if err := j.tree.isDir(f.Repositories); err != nil {
		j.missing(ForgejoRepositories, wanted, f.Repositories, err)
		return nil, false
	}
	list, wrong, err := f.rows(ctx, db)
	if err != nil {
		j.cannotTell(ForgejoRepositories, wanted, err, "see whether this is the database of Forgejo")
		return nil, false
	}
	empty, known := 0, map[string]bool{}
	for _, r := range list {
		known[r.dir] = true
		known[strings.TrimSuffix(r.dir, ".git")+".wiki.git"] = true
		err := j.tree.isDir(r.dir)
		r.there = err == nil
		switch {
		case err == nil:
		case leadsOut(err):
			wrong.add("%.200q leads out of what was restored through a link", r.name)
		case r.empty && errors.Is(err, fs.ErrNotExist):
		default:
			wrong.add("%.200q: its directory did not come back (%v)", r.name, files.WithoutPath(err))
		}
		if r.empty {
			empty++
		}
	}
	got := fmt.Sprintf("%d, %d of them empty", len(list), empty)
	strangers, err := f.strangers(j, known)
	if err != nil {
		j.missing(ForgejoRepositories, wanted, f.Repositories, err)
		return nil, false
	}
	if strangers.count > 0 { // deleted in the forge and not yet swept, or made after the dump
		got += fmt.Sprintf("; and %d directories that no row knows:\n%s", strangers.count, strangers)
	}
	if f.LFS == "" {
		var objects int64
		if db.QueryRowContext(ctx, `SELECT count(DISTINCT oid) FROM lfs_meta_object`).Scan(&objects) == nil && objects > 0 {
			got += fmt.Sprintf("; its %d LFS objects were not looked for, because lfs is not set", objects)
		}
	}
	switch {
	case wrong.count > 0:
		j.refuse(ForgejoRepositories, wanted, got+"\n"+wrong.String(), "see what the backup leaves out (its excludes), and whether the database is copied at the same time as the directories")
	case int64(len(list)) < max(f.MinRepositories, 1):
		j.refuse(ForgejoRepositories, wanted, got, "see whether this is the database that the forge uses, and when it lost its rows")
	default:
		j.prove(ForgejoRepositories, wanted, got)
	}
	return list, true
}

func (f *Forgejo) rows(ctx context.Context, db *sql.DB) (list []*forgejoRepository, wrong findings, err error) {
	rows, err := db.QueryContext(ctx, `SELECT id, COALESCE(owner_name, ''), COALESCE(lower_name, ''), COALESCE(is_empty, 0) FROM repository ORDER BY id`)
	if err != nil {
		return nil, wrong, sqliteError(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		r := &forgejoRepository{}
		var owner, name string
		if err := rows.Scan(&r.id, &owner, &name, &r.empty); err != nil {
			return nil, wrong, sqliteError(ctx, err)
		}
		r.name = owner + "/" + name
		if !forgejoName.MatchString(owner) || !forgejoName.MatchString(name) {
			wrong.add("%.200q is not the name of a repository", r.name)
			continue
		}
		r.dir = path.Join(f.Repositories, strings.ToLower(owner), strings.ToLower(name)+".git")
		list = append(list, r)
	}
	return list, wrong, sqliteRowsErr(ctx, rows)
}

// strangers are the directories of repositories that no row knows.
func (f *Forgejo) strangers(j *judge, known map[string]bool) (out *findings, err error) {
	out = &findings{}
	owners, err := fs.ReadDir(j.tree.root.FS(), inTree(f.Repositories))
	if err != nil {
		return nil, err
	}
	for _, owner := range owners {
		if !owner.IsDir() {
			continue
		}
		dir := path.Join(f.Repositories, owner.Name())
		entries, err := fs.ReadDir(j.tree.root.FS(), inTree(dir))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if at := path.Join(dir, e.Name()); strings.HasSuffix(at, ".git") && !known[at] {
				out.add("%.200q", path.Join(owner.Name(), e.Name()))
			}
		}
	}
	return out, nil
}

func sqliteRowsErr(ctx context.Context, rows *sql.Rows) error {
	if err := rows.Err(); err != nil {
		return sqliteError(ctx, err)
	}
	return nil
}
