package assert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
)

// restoredTree is what a snapshot was restored to, as something that nothing
// leads out of: a restored link to /etc/shadow is the backup's word about this
// machine, and this machine's file proves nothing about the backup.
type restoredTree struct {
	dir  string // absolute, without links
	root *os.Root
}

func openRestored(dir string) (*restoredTree, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return nil, err
	}
	return &restoredTree{dir: real, root: root}, nil
}

func (t *restoredTree) close() { t.root.Close() }

// inTree turns a path of the snapshot into one below the root.
func inTree(p string) string {
	if rel := strings.TrimPrefix(path.Clean("/"+p), "/"); rel != "" {
		return rel
	}
	return "."
}

var (
	errNotRegular = errors.New("is not a regular file")
	errNotDir     = errors.New("is not a directory")
)

// open opens a regular file of the snapshot for reading.
func (t *restoredTree) open(p string) (*os.File, fs.FileInfo, error) {
	// Looked at first: to open a restored device is to use it, and a watchdog's
	// begins to count down with it.
	info, err := t.root.Stat(inTree(p))
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := t.root.OpenFile(inTree(p), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err = f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// read returns the content of a small file.
func (t *restoredTree) read(p string, max int64) ([]byte, error) {
	f, info, err := t.open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > max {
		return nil, fmt.Errorf("has %d bytes, more than the %d that it can have", info.Size(), max)
	}
	return io.ReadAll(io.LimitReader(f, max))
}

// size is that of a regular file, or -1 if there is nothing at its place.
func (t *restoredTree) size(p string) (int64, error) {
	f, info, err := t.open(p)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	f.Close()
	return info.Size(), nil
}

// isDir returns an error unless p is a directory.
func (t *restoredTree) isDir(p string) error {
	info, err := t.root.Stat(inTree(p))
	if err == nil && !info.IsDir() {
		err = errNotDir
	}
	return err
}

// path is where a program finds what is at p. It has no link in it any more,
// so the program ends up at the same place.
func (t *restoredTree) path(p string) (string, error) {
	if _, err := t.root.Stat(inTree(p)); err != nil { // refuses a way out
		return "", err
	}
	real, err := filepath.EvalSymlinks(filepath.Join(t.dir, inTree(p)))
	if err != nil {
		return "", err
	}
	if !files.Inside(t.dir, real) {
		return "", errLeadsOut
	}
	return real, nil
}

// resolved is the path in the snapshot that p ends up at: what SQLite keeps
// beside a database is beside the file, and not beside a link to it.
func (t *restoredTree) resolved(p string) (string, error) {
	real, err := t.path(p)
	return strings.TrimPrefix(real, t.dir), err
}

// copyTo copies a regular file of the snapshot to a path outside of it.
func (t *restoredTree) copyTo(ctx context.Context, p, to string) error {
	from, _, err := t.open(p)
	if err != nil {
		return err
	}
	defer from.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, &untilDone{ctx, from})
	return errors.Join(err, out.Close())
}

// untilDone reads for as long as its context lasts.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}

var errLeadsOut = errors.New("path escapes from parent")

// leadsOut reports whether err is of a path that a link led out of the tree;
// os.Root has no name for that error but its text.
func leadsOut(err error) bool {
	var p *fs.PathError
	return errors.Is(err, errLeadsOut) || errors.As(err, &p) && p.Err.Error() == errLeadsOut.Error()
}

// missing says why something of the snapshot cannot be looked at. What is not
// there, or is something else, is disproven; what cannot be read is unproven.
func (j *judge) missing(id, wanted, p string, err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		j.refuse(id, wanted, fmt.Sprintf("%.300q did not come back", p), "see whether it is in the snapshot (restic ls) and among what was included, and correct the backup or the path")
	case leadsOut(err):
		j.refuse(id, wanted, fmt.Sprintf("%.300q leads out of what was restored through a link", p), "name the place that the link points to, and back that up")
	case errors.Is(err, errNotRegular), errors.Is(err, errNotDir), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		j.refuse(id, wanted, fmt.Sprintf("%.300q %v", p, files.WithoutPath(err)), "correct the path, or the backup")
	default:
		j.add(verdict.CannotTell(id, wanted, fmt.Errorf("%.300q: %w", p, files.WithoutPath(err)), "see why it cannot be read").Check)
	}
}
