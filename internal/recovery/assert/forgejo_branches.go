package assert

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"edge-actions/internal/files"
)

// branches holds the rows against the refs. A ref that an exclude such as
// "**/tmp" dropped leaves a repository with which git fsck is content.
func (f *Forgejo) branches(ctx context.Context, j *judge, db *sql.DB, repositories []*forgejoRepository) {
	const wanted = "for each branch in the database a ref with that commit"
	const hint = "see what the backup leaves out: excludes such as **/tmp drop the branches of those names; and copy the database and the repositories at the same time, with the forge stopped or from one file system snapshot"
	var wrong findings
	count, more := 0, 0
	for _, r := range repositories {
		rows, err := branchRows(ctx, db, r.id)
		if err != nil {
			j.cannotTell(ForgejoBranches, wanted, err, "Forgejo has the table since v1.21: start the forge once with a newer version")
			return
		}
		if !r.there {
			for range rows {
				wrong.add("branches of %.200q: there is no repository", r.name)
			}
			continue
		}
		if strange := r.strange(); strange != "" {
			wrong.add("branches of %.200q: git is not let at it: it %s", r.name, strange)
			continue
		}
		refs, err := map[string]string(nil), r.trouble
		if err == nil {
			refs, err = j.gitRefs(ctx, r.dir)
		}
		if err != nil {
			j.cannotTell(ForgejoBranches, wanted, fmt.Errorf("%.200q: %w", r.name, files.WithoutPath(err)), "install git on the runner, or look at the repository")
			return
		}
		for _, name := range slices.Sorted(maps.Keys(rows)) {
			count++
			switch commit, there := refs[name]; {
			case !there:
				wrong.add("%.200q of %.200q has no ref", name, r.name)
			case commit != rows[name]:
				wrong.add("%.200q of %.200q is at another commit (%.12s, not %.12q)", name, r.name, commit, rows[name])
			}
		}
		for name := range refs {
			if _, known := rows[name]; !known {
				more++
			}
		}
		if !r.empty && len(rows) == 0 && len(refs) == 0 {
			wrong.add("%.200q is not empty and has neither a branch in the database nor a ref", r.name)
		}
	}
	got := fmt.Sprintf("%d branches", count)
	if more > 0 { // pushed after the dump
		got += fmt.Sprintf(", and %d refs that no row knows", more)
	}
	switch {
	case wrong.count > 0:
		j.refuse(ForgejoBranches, wanted, fmt.Sprintf("%d wrong of %s\n%s", wrong.count, got, wrong.String()), hint)
	case count == 0:
		j.cannotTell(ForgejoBranches, wanted, errors.New("no branch in the database"), "a forge with nothing in it proves nothing: see whether this is the database that it uses")
	default:
		j.prove(ForgejoBranches, wanted, got)
	}
}

func branchRows(ctx context.Context, db *sql.DB, id int64) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, `SELECT name, COALESCE(commit_id, '') FROM branch WHERE repo_id = ? AND COALESCE(is_deleted, 0) = 0`, id)
	if err != nil {
		return nil, sqliteError(ctx, err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var name, commit string
		if err := rows.Scan(&name, &commit); err != nil {
			return nil, sqliteError(ctx, err)
		}
		out[name] = commit
	}
	return out, sqliteRowsErr(ctx, rows)
}
