package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/verdict"
)

// journal is where a restore of a local state is recorded while it writes.
func (s *Stack) journal() string { return filepath.Join(s.Dir, "restore.json") }

// pushDir is the record of a push to another backend.
func (s *Stack) pushDir() string { return filepath.Join(s.Dir, "push") }

// holdRestores keeps every other run on this machine from restoring, and from
// taking this restore for one that was killed.
func (s *Stack) holdRestores(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.Dir, "restore.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(s.LockTimeout); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, s.sweepPartial()
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking the restores: %w", err)
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			f.Close()
			return nil, verdict.Refuse("state-locked", fmt.Sprintf("no restore of stack %q within %s", s.Name, s.LockTimeout), "one that goes on", "wait for its end, or raise lock_timeout")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// sweepPartial removes the records that a killed run did not get to their end.
// Only restores write into this directory, and no other one does now.
func (s *Stack) sweepPartial() error {
	found, err := filepath.Glob(filepath.Join(s.Dir, files.TempPrefix+"*"))
	for _, path := range found {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// finishRestore settles what a killed restore has left, before anybody reads
// the state. All that is needed for it is on the machine, so each action does
// it: a plan that only refused would leave the state in pieces until somebody
// came.
func (s *Stack) finishRestore(ctx context.Context) error {
	if !there(s.journal()) && !there(s.pushDir()) {
		return nil
	}
	if !s.restoring {
		unlock, err := s.holdRestores(ctx)
		if err != nil {
			return err
		}
		defer unlock()
	}
	var how []string
	if file, ok := s.source.(tfstate.File); ok {
		said, err := file.Finish(ctx, s.journal())
		if err != nil {
			return err
		}
		how = append(how, said)
	} else if there(s.journal()) {
		return verdict.CannotTell("restore-unfinished", "the backend of the restore that was killed", errors.New("the configuration has another one now"), "run tofu-state-restore with the configuration from then, or remove "+s.journal()+" if that state is whole")
	}
	said, err := s.finishPush(ctx)
	if err != nil {
		return err
	}
	for _, what := range append(how, said) {
		if what != "" {
			s.Report.Prove("restore-earlier", "what a killed restore has left to be settled", what)
		}
	}
	return nil
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
