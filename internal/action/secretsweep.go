package action

import (
	"context"
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
)

// SweepSecretFiles removes the directories whose job is over: of runs that
// were killed, of earlier jobs in this workspace, and what is expired; and of
// this very job if own is set. It returns how many it removed, and how many of
// other jobs it left.
func (a *Action) SweepSecretFiles(ctx context.Context, own bool) (removed, left int, err error) {
	root, err := a.keptRoot()
	if err != nil {
		return 0, 0, err
	}
	register, unlock, err := a.lockRegister(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer unlock()
	return a.sweepKeptDirs(root, register, own)
}

// sweepKeptDirs is to be called with the register locked.
func (a *Action) sweepKeptDirs(root, register string, own bool) (removed, left int, err error) {
	dirs, err := keptDirs(root, register)
	for _, dir := range dirs {
		gone, sweepErr := a.sweepKept(dir, own)
		switch {
		case sweepErr != nil:
			err = errors.Join(err, fmt.Errorf("sweeping %q: %w", dir, sweepErr))
		case gone:
			removed++
		default:
			left++
			continue
		}
		if sweepErr == nil {
			sweepErr = os.Remove(filepath.Join(register, filepath.Base(dir)))
		}
		if sweepErr != nil && !errors.Is(sweepErr, fs.ErrNotExist) {
			err = errors.Join(err, sweepErr)
		}
	}
	return removed, left, err
}

// keptDirs lists the directories that there may be: those in root, since a
// register can be lost, and those in the register. It forgets the ones that
// the runner removed with its job.
func keptDirs(root, register string) ([]string, error) {
	here, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range here {
		if strings.HasPrefix(e.Name(), keptPrefix) {
			dirs = append(dirs, filepath.Join(root, e.Name()))
		}
	}
	entries, err := os.ReadDir(register)
	for _, e := range entries {
		path := filepath.Join(register, e.Name())
		if strings.HasPrefix(e.Name(), files.TempPrefix) {
			os.Remove(path) // half an entry, of a run that was killed before it made anything
			continue
		}
		if !strings.HasPrefix(e.Name(), keptPrefix) {
			continue
		}
		data, readErr := os.ReadFile(path)
		dir := string(data)
		switch {
		case readErr != nil:
			err = errors.Join(err, readErr)
		case !filepath.IsAbs(dir) || filepath.Base(dir) != e.Name() || slices.Contains(dirs, dir):
		default:
			if _, statErr := os.Lstat(dir); errors.Is(statErr, fs.ErrNotExist) {
				os.Remove(path) // what is left of it is found again next time
				continue
			}
			dirs = append(dirs, dir)
		}
	}
	return dirs, err
}

// sweepKept removes dir if it is ours and its job is over.
func (a *Action) sweepKept(dir string, own bool) (gone bool, err error) {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false, err // a link, or a file: not made here
	}
	alive, err := os.OpenFile(filepath.Join(dir, aliveFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		// Killed between two steps of making it, which happen under the lock
		// that is held now: it is empty, or not of our making.
		return removeUnmarked(dir)
	}
	if err != nil {
		return false, err
	}
	defer alive.Close()
	if syscall.Flock(int(alive.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false, nil // being written
	}
	data, err := os.ReadFile(filepath.Join(dir, keptMarker))
	if errors.Is(err, fs.ErrNotExist) {
		// The marker is there before the first secret and until after the last.
		return removeUnmarked(dir)
	}
	if err != nil {
		return false, err
	}
	var m keptFile
	if json.Unmarshal(data, &m) != nil || m.Schema != keptSchema || m.Token != filepath.Base(dir) {
		return false, nil // not made here, or by a later version
	}
	if !a.over(m, own) {
		return false, nil
	}
	return true, removeKept(dir)
}

// over reports whether the files of m are nobody's any more.
func (a *Action) over(m keptFile, own bool) bool {
	me := a.keptJob()
	switch {
	case !m.Kept: // and its maker is gone, since its lock was free
		return true
	case time.Now().After(m.Expires):
		return true
	case runnerGone(m.Runner): // killed, or the machine went down
		return true
	case me.Workspace == "" || m.Job.Workspace != me.Workspace:
		return false // nothing says that the other job has ended
	case m.Job == me:
		return own
	default: // its workspace is ours now
		return true
	}
}

// removeKept removes dir with its marker last: whoever is killed in the middle
// of it leaves something that the next one knows.
func removeKept(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.Name() != keptMarker && e.Name() != aliveFile {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return err
	}
	for _, name := range []string{keptMarker, aliveFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Remove(dir)
}

// removeUnmarked removes what a directory without a marker can hold if it was
// made here: its lock and half a marker.
func removeUnmarked(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.Name() != aliveFile && !strings.HasPrefix(e.Name(), files.TempPrefix) {
			return false, nil
		}
	}
	return true, os.RemoveAll(dir)
}
