package tfstate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
)

// Rewrite is a local state that is to be replaced as a whole.
type Rewrite struct {
	// Journal is the path of the record, on the runner, by which a later run
	// finds a write that was killed.
	Journal string
	// Was is what must still be in the state's place.
	Was Live
	// Serial and Lineage are those of the new state.
	Serial  uint64
	Lineage string
	// Fill writes the new state.
	Fill func(io.Writer) error
	// Archive and Run say where it comes from and who writes it.
	Archive, Run string
}

// rewriting is the journal of a write that is under way.
type rewriting struct {
	State   string    `json:"state"` // its path
	Was     Digest    `json:"was"`   // empty if there was none
	New     Digest    `json:"new"`   // empty until it lies beside the state
	Serial  uint64    `json:"serial"`
	Archive string    `json:"archive"`
	Run     string    `json:"run"`
	Created time.Time `json:"created"`
}

// mark is the first byte of a state while it is overwritten. No reader takes
// such a file for a state, nor for the absence of one, which an empty file
// would be to OpenTofu: it would plan to create everything again.
const mark = '#'

// besidePath is where the new state lies until it is in its place.
func besidePath(state string) string {
	dir, name := filepath.Split(state)
	return filepath.Join(dir, "."+strings.TrimPrefix(name, ".")+".restore")
}

// Replace puts a whole new state into the place of the old one, under
// OpenTofu's own lock, through the locked descriptor: a rename would lose what
// a tofu that waits for the lock writes to the old file.
//
// A kill at any moment leaves the old state, the new one, or a file that
// begins with the mark and that Finish completes from the copy beside it.
func (f File) Replace(ctx context.Context, w Rewrite) (err error) {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return err
	}
	j := rewriting{State: f.Path, Serial: w.Serial, Archive: w.Archive, Run: w.Run, Created: time.Now().UTC()}
	if !w.Was.Absent {
		j.Was = w.Was.Digest
	}
	// The record comes first, then the copy, then the record of the copy: there
	// is never a state in clear of which nobody knows.
	err = j.record(w.Journal)
	if err == nil {
		if j.New, err = fill(besidePath(f.Path), w); err != nil {
			err = fmt.Errorf("writing the new state beside the old one: %w", err)
		}
	}
	if err == nil {
		err = j.record(w.Journal)
	}
	if err != nil {
		return errors.Join(err, j.drop(w.Journal))
	}
	begun, err := f.overwrite(ctx, &j, w.Was.Absent)
	if err != nil && begun {
		return verdict.CannotTell("restore-failed", "the state to be written in place", err,
			"mend the disk, then run any action of this stack: it finishes the write from the copy beside the state; until then the state begins with # and nobody takes it for one")
	}
	return errors.Join(err, j.drop(w.Journal))
}

func (j *rewriting) record(path string) error {
	data, err := json.MarshalIndent(j, "", "  ")
	if err == nil {
		err = files.Write(path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("recording the write: %w", err)
	}
	return nil
}

// fill writes the new state beside the old one and makes sure of what it is.
// Its name is a fixed one, so that a kill leaves nothing under another.
func fill(path string, w Rewrite) (Digest, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Digest{}, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Digest{}, err
	}
	defer f.Close()
	sum, scan := newDigester(), newScanner()
	if err := w.Fill(io.MultiWriter(f, sum, scan)); err != nil {
		return Digest{}, err
	}
	meta, err := scan.Meta()
	if err == nil && (meta.Serial != w.Serial || meta.Lineage != w.Lineage) {
		err = fmt.Errorf("it has serial %d and lineage %q, not %d and %q", meta.Serial, meta.Lineage, w.Serial, w.Lineage)
	}
	return sum.Digest(), errors.Join(err, f.Sync(), f.Close(), files.SyncDir(filepath.Dir(path)))
}

// overwrite takes the lock, makes sure that the state is the one that was
// looked at, and writes. begun is true if what is there now is neither the old
// nor the new state.
func (f File) overwrite(ctx context.Context, j *rewriting, absent bool) (begun bool, err error) {
	if absent {
		made, err := os.OpenFile(f.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return false, verdict.Refuse("state-moved", "still no state at "+f.Path, err.Error(), "find out who made one, and look at it")
		}
		made.Close()
	}
	l, err := lockFile(ctx, f.Path, "edge-actions restore", f.LockTimeout)
	if errors.Is(err, ErrNoState) {
		err = verdict.Refuse("state-moved", "the state that was looked at", "none any more", "find out who took it away, then run again")
	}
	if err != nil {
		return false, err
	}
	// The file that was made above stays whatever happens: a tofu may wait for
	// its lock, and would write to one that has no name any more.
	defer func() { err = errors.Join(err, l.Unlock()) }()
	if l.stale != nil && f.Stale != nil {
		f.Stale(l.stale.String())
	}
	if now, err := digestOf(l.File, -1); err != nil {
		return false, err
	} else if now != j.Was && (now.Size > 0 || !absent) {
		return false, verdict.Refuse("state-moved", fmt.Sprintf("the state that was looked at, sha256 %.12s…", j.Was.SHA256), fmt.Sprintf("sha256 %.12s…", now.SHA256), "somebody wrote it meanwhile: find out who, then run again")
	}
	return j.write(l.File)
}

// write brings the bytes from beside into the locked file.
func (j *rewriting) write(state *os.File) (begun bool, err error) {
	src, err := os.Open(besidePath(j.State))
	if err != nil {
		return false, err
	}
	defer src.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(src, first); err != nil {
		return false, err
	}
	info, err := state.Stat()
	if err != nil {
		return false, err
	}
	old := info.Size()
	if old == 0 {
		if _, err := state.WriteAt([]byte{mark}, 0); err != nil {
			return false, errors.Join(err, state.Truncate(0))
		}
	}
	// What is behind the old end comes first: if there is no room for it, the
	// old state is whole again by cutting it off.
	grown := min(max(old, 1), j.New.Size)
	err = copyRange(state, src, grown, j.New.Size)
	if err == nil {
		err = state.Sync()
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("making room for the new state: %w", err), state.Truncate(old))
	}
	for _, step := range []func() error{
		func() error { _, err := state.WriteAt([]byte{mark}, 0); return err },
		state.Sync,
		func() error { return copyRange(state, src, 1, grown) },
		func() error { return state.Truncate(j.New.Size) },
		state.Sync,
		func() error { _, err := state.WriteAt(first, 0); return err },
		state.Sync,
	} {
		if err := step(); err != nil {
			return true, err
		}
	}
	readPastCache(state)
	got, err := digestOf(state, -1)
	if err == nil && got != j.New {
		err = fmt.Errorf("it reads back with sha256 %s, not %s", got.SHA256, j.New.SHA256)
	}
	return err != nil, err
}

// copyRange copies the bytes from an offset up to another.
func copyRange(dst io.WriterAt, src io.ReaderAt, from, to int64) error {
	n, err := io.Copy(io.NewOffsetWriter(dst, from), io.NewSectionReader(src, from, to-from))
	if err == nil && n != to-from {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// digestOf is of the first size bytes, or of all.
func digestOf(f *os.File, size int64) (Digest, error) {
	if size < 0 {
		info, err := f.Stat()
		if err != nil {
			return Digest{}, err
		}
		size = info.Size()
	}
	sum := newDigester()
	_, err := io.Copy(sum, io.NewSectionReader(f, 0, size))
	return sum.Digest(), err
}

// drop removes the copy first: a record without it harms nobody, a copy
// without its record would be found by nobody.
func (j *rewriting) drop(journal string) error {
	var errs []error
	for _, path := range []string{besidePath(j.State), journal} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, files.SyncDir(filepath.Dir(journal)))...)
}
