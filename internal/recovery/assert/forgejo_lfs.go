package assert

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"

	"edge-actions/internal/files"
)

// lfsHashed is how many objects are hashed without max_hashed.
const lfsHashed = 2000

var lfsOid = regexp.MustCompile(`^[0-9a-f]{64}$`)

// lfs holds the rows against the objects. All are looked at by size; of many,
// every n-th in the order of their hashes is read.
func (f *Forgejo) lfs(ctx context.Context, j *judge, db *sql.DB) {
	wanted := fmt.Sprintf("each LFS object of the database below %.300q, with its size and its hash", f.LFS)
	if err := j.tree.isDir(f.LFS); err != nil {
		j.missing(ForgejoLFS, wanted, f.LFS, err)
		return
	}
	var count int64
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT DISTINCT oid, size FROM lfs_meta_object)`).Scan(&count); err != nil {
		j.cannotTell(ForgejoLFS, wanted, sqliteError(ctx, err), "see whether this is the database of Forgejo")
		return
	}
	if count == 0 {
		j.cannotTell(ForgejoLFS, wanted, errors.New("no LFS object in the database"), "leave lfs out if the forge has none")
		return
	}
	most := cmp.Or(f.MaxHashed, lfsHashed)
	step := (count + most - 1) / most
	if step > 1 {
		wanted = fmt.Sprintf("each LFS object of the database below %.300q, with its size, and a sample of them with its hash", f.LFS)
	}
	rows, err := db.QueryContext(ctx, `SELECT DISTINCT oid, size FROM lfs_meta_object ORDER BY oid, size`)
	if err != nil {
		j.cannotTell(ForgejoLFS, wanted, sqliteError(ctx, err), "see whether this is the database of Forgejo")
		return
	}
	defer rows.Close()
	var wrong findings
	var seen, hashed, bytes int64
	for ; rows.Next(); seen++ {
		var oid string
		var size int64
		if err := rows.Scan(&oid, &size); err != nil {
			j.cannotTell(ForgejoLFS, wanted, sqliteError(ctx, err), "see whether this is the database of Forgejo")
			return
		}
		read := seen%step == 0
		what, err := f.object(ctx, j, oid, size, read)
		if err != nil {
			j.cannotTell(ForgejoLFS, wanted, fmt.Errorf("%d of %d objects: %w", seen, count, deadlineOf(ctx, files.WithoutPath(err))), "give a smaller max_hashed, or see why the object cannot be read")
			return
		}
		if what != "" {
			wrong.add("%.80q %s", oid, what)
		} else if bytes += size; read {
			hashed++
		}
	}
	if err := sqliteRowsErr(ctx, rows); err != nil {
		j.cannotTell(ForgejoLFS, wanted, err, "run it again with more time")
		return
	}
	got := fmt.Sprintf("%d objects, %d bytes; read and hashed: %d", count, bytes, hashed)
	if step > 1 {
		got += fmt.Sprintf(" (every %d. in the order of their hashes)", step)
	}
	if wrong.count > 0 {
		j.refuse(ForgejoLFS, wanted, fmt.Sprintf("%d wrong of %s\n%s", wrong.count, got, wrong.String()), "see whether the mirror of the LFS objects is older than the database, and whether the forge still has them")
		return
	}
	j.prove(ForgejoLFS, wanted, got)
}

// object says what is wrong with one object, "" if nothing is.
func (f *Forgejo) object(ctx context.Context, j *judge, oid string, size int64, read bool) (string, error) {
	if !lfsOid.MatchString(oid) { // it becomes a path
		return "is no hash", nil
	}
	file, info, err := j.tree.open(path.Join(f.LFS, oid[:2], oid[2:4], oid[4:]))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "did not come back", nil
	case leadsOut(err):
		return "leads out of what was restored through a link", nil
	case errors.Is(err, errNotRegular):
		return errNotRegular.Error(), nil
	case err != nil:
		return "", err
	}
	defer file.Close()
	if info.Size() != size {
		return fmt.Sprintf("has %d bytes, not %d", info.Size(), size), nil
	}
	if !read {
		return "", nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, &untilDone{ctx, file}); err != nil {
		return "", err
	}
	if hex.EncodeToString(h.Sum(nil)) != oid {
		return "has another hash", nil
	}
	return "", nil
}
