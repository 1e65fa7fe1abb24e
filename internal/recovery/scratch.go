package recovery

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
)

// scratchPrefix begins the name of each rehearsal's directory, and markerName
// is the file in it that makes it ours to remove.
const (
	scratchPrefix = "edge-actions-rehearsal-"
	markerName    = ".edge-actions-rehearsal.json"
	markerSchema  = "edge-actions/rehearsal/v1"
)

// ScratchDir is a fresh directory for one rehearsal: root's or the runner's
// alone, with a marker and a lock that the process holds for as long as it
// lives.
type ScratchDir struct {
	// Dir is where restic restores to.
	Dir  string
	top  string
	lock *os.File
}

type scratchMarker struct {
	Schema string    `json:"schema"`
	Name   string    `json:"name"` // of the directory, so that a copied marker makes nothing ours
	Run    string    `json:"run"`
	Made   time.Time `json:"made"`
}

// NewScratch makes a directory below root, which must exist, be a directory
// itself and not a link to one, and have nothing to do with any of the paths
// that are in the snapshot: a restore into or around live data is no rehearsal.
func NewScratch(root, run string, paths []string, allowTmpfs bool) (*ScratchDir, error) {
	const wanted, hint = scratchWanted, scratchHint
	info, err := os.Lstat(root)
	switch {
	case !filepath.IsAbs(root) || filepath.Clean(root) != root:
		return nil, verdict.Refuse(Scratch, wanted, fmt.Sprintf("%q, which is no absolute path in its shortest form", root), hint)
	case err != nil:
		return nil, verdict.CannotTell(Scratch, wanted, err, hint)
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, verdict.Refuse(Scratch, wanted, fmt.Sprintf("%q, which is a symbolic link", root), hint)
	case !info.IsDir():
		return nil, verdict.Refuse(Scratch, wanted, fmt.Sprintf("%q, which is no directory", root), hint)
	}
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, verdict.CannotTell(Scratch, wanted, err, hint)
	}
	if real == "/" {
		return nil, verdict.Refuse(Scratch, wanted, `"/"`, hint)
	}
	if err := apart(real, paths); err != nil {
		return nil, err
	}
	if tmpfs, err := onTmpfs(real); err != nil {
		return nil, verdict.CannotTell(Scratch, wanted, err, hint)
	} else if tmpfs && !allowTmpfs {
		return nil, verdict.Refuse(Scratch, "a directory on a disk", fmt.Sprintf("%q, which is on tmpfs", real), "give one on a disk, or set allow_tmpfs: a restore that fills the memory takes the machine with it")
	}
	return makeScratch(real, run)
}

const (
	scratchWanted = "a directory for the rehearsal, apart from all paths of the snapshot"
	scratchHint   = "give an empty directory on a disk with room, away from what is backed up"
)

// apart refuses a place that is one of the paths, in one or around one. It need
// not be there.
func apart(root string, paths []string) error {
	for _, p := range paths {
		for _, form := range forms(p) {
			if files.Inside(form, root) || files.Inside(root, form) {
				return verdict.Refuse(Scratch, scratchWanted, fmt.Sprintf("%q, and the snapshot has %q", root, p), scratchHint)
			}
		}
	}
	return nil
}

// forms are a path as it is written, and as it is on this machine.
func forms(p string) []string {
	p = filepath.Clean(p)
	if real, err := filepath.EvalSymlinks(p); err == nil && real != p {
		return []string{p, real}
	}
	return []string{p}
}

// within reports whether path is dir or below it.
func within(dir, path string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

func makeScratch(root, run string) (*ScratchDir, error) {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	s := &ScratchDir{top: filepath.Join(root, scratchPrefix+hex.EncodeToString(b))}
	s.Dir = filepath.Join(s.top, "restored")
	if err := os.Mkdir(s.top, 0o700); err != nil {
		return nil, verdict.CannotTell(Scratch, "a fresh directory in "+root, err, "correct its mode, or give another one")
	}
	err := func() (err error) {
		// The lock first: what carries a marker and no lock is a dead run's.
		if s.lock, err = os.OpenFile(filepath.Join(s.top, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
			return err
		}
		if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return err
		}
		data, err := json.Marshal(scratchMarker{Schema: markerSchema, Name: filepath.Base(s.top), Run: run, Made: time.Now().UTC()})
		if err != nil {
			return err
		}
		return errors.Join(files.Write(filepath.Join(s.top, markerName), data), os.Mkdir(s.Dir, 0o700))
	}()
	if err != nil {
		err = errors.Join(err, s.Remove())
		return nil, verdict.CannotTell(Scratch, "a fresh directory in "+root, err, "correct its mode, or give another one")
	}
	return s, nil
}

// Work is a directory beside the restored tree, for what assertions make.
func (s *ScratchDir) Work() (string, error) {
	dir := filepath.Join(s.top, "work")
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return dir, err
}

// Remove takes the directory away with all that is in it. The marker goes
// last: a removal that is cut half-way is ended by the next run.
func (s *ScratchDir) Remove() error {
	err := removeScratch(s.top)
	if s.lock != nil {
		s.lock.Close()
	}
	return err
}

func removeScratch(top string) error {
	entries, err := os.ReadDir(top)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != markerName && e.Name() != "lock" {
			errs = append(errs, removeAll(filepath.Join(top, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(top)
}

// removeAll removes a tree in which directories may not be writable.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	walked := filepath.WalkDir(path, func(p string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return nil
	})
	return errors.Join(os.RemoveAll(path), walked)
}

// SweepScratch removes what killed rehearsals left below root: directories of
// our name, with our marker, of the runner's user, whose lock is free. It
// returns how many, and is silent about a root that is not there.
func SweepScratch(root string) (removed int, err error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), scratchPrefix) {
			continue
		}
		ok, err := sweepOne(filepath.Join(root, e.Name()))
		if ok {
			removed++
		}
		errs = append(errs, err)
	}
	return removed, errors.Join(errs...)
}

func sweepOne(top string) (bool, error) {
	if files.CheckPrivateDir(top) != nil {
		return false, nil // somebody else's
	}
	data, err := os.ReadFile(filepath.Join(top, markerName))
	if errors.Is(err, fs.ErrNotExist) {
		// Killed before its marker was whole: then there is nothing else yet.
		entries, err := os.ReadDir(top)
		if err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "lock" && !strings.HasPrefix(e.Name(), files.TempPrefix) }) {
			return false, err
		}
	} else if err != nil {
		return false, err
	} else {
		var m scratchMarker
		if json.Unmarshal(data, &m) != nil || m.Schema != markerSchema || m.Name != filepath.Base(top) {
			return false, nil
		}
	}
	lock, err := os.OpenFile(filepath.Join(top, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false, nil // at work
	}
	return true, removeScratch(top)
}
