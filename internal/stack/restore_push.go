package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
)

// push is what a push to a backend is to bring about.
type push struct {
	Archive string       `json:"archive"`
	Was     tfstate.Live `json:"was"`
	Serial  uint64       `json:"serial"` // or one more: OpenTofu counts a push as a change
	Lineage string       `json:"lineage"`
}

// roomFile is an empty state. Pushed first, it makes room for a state of any
// lineage: where there is none, OpenTofu would give the pushed one a new
// lineage and the serial 1 (internal/states/remote/state.go, seen with
// 1.12.6), and over another lineage it would only push by force.
const roomFile = "room.tfstate"

// push hands the state to OpenTofu, which locks the backend, refuses what is
// older, and encrypts where it is told to. It runs as an apply does, in a
// session of its own: a cancel must not end it half-way.
func (s *Stack) push(ctx context.Context, req RestoreRequest, m *tfstate.Manifest, live tfstate.Live, serial uint64, fill func(io.Writer) error) error {
	state, err := unlinked(req.Scratch, fill)
	if err != nil {
		return fmt.Errorf("taking the state out of the archive: %w", err)
	}
	defer state.Close()
	live.Broken = nil // was refused, and an error has no JSON
	j := job{
		Run: req.Run, Created: time.Now().UTC(), Path: s.CLI.Path, Dir: s.CLI.Dir, Timeout: s.CLI.Timeout, Grace: time.Minute,
		Args: tofu.PushArgs(s.LockTimeout, "-"), Stdin: true,
		Push: &push{Archive: m.Name, Was: live, Serial: serial, Lineage: m.State.Lineage},
	}
	room := ""
	if live.Absent || live.Lineage != m.State.Lineage {
		j.First = tofu.PushArgs(s.LockTimeout, filepath.Join(s.pushDir(), roomFile))
		room = fmt.Sprintf(`{"version":4,"terraform_version":%q,"serial":%d,"lineage":%q,"outputs":{},"resources":[],"check_results":null}`, s.CLI.Version, live.Serial+1, live.Lineage)
	}
	r, err := s.claimPush(j, room)
	if err != nil {
		return fmt.Errorf("recording the push: %w", err)
	}
	if err := r.spawn(append(s.CLI.Env, "TF_DATA_DIR="+s.CLI.DataDir), state); err != nil {
		return errors.Join(verdict.CannotTell("restore-failed", "tofu to start", err, "nothing was changed; run again"), os.RemoveAll(r.dir))
	}
	return s.followPush(ctx, r)
}

// unlinked returns an open file that has no name: whatever ends this run, the
// state in it is gone with the last process that reads it.
func unlinked(dir string, fill func(io.Writer) error) (*os.File, error) {
	f, err := os.CreateTemp(dir, "state-")
	if err != nil {
		return nil, err
	}
	err = os.Remove(f.Name())
	if err == nil {
		err = fill(f)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// claimPush makes the record, whole or not at all.
func (s *Stack) claimPush(j job, room string) (*record, error) {
	stage, err := os.MkdirTemp(s.Dir, files.TempPrefix)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(stage)
	if room != "" {
		if err := files.Write(filepath.Join(stage, roomFile), []byte(room)); err != nil {
			return nil, err
		}
	}
	if err := writeJSON(filepath.Join(stage, recordFile), j); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(s.pushDir()); err != nil { // of the one that made room
		return nil, err
	}
	if err := os.Rename(stage, s.pushDir()); err != nil {
		return nil, err
	}
	return &record{s.pushDir(), j}, files.SyncDir(s.Dir)
}

// followPush waits for the end of the push, shows what tofu said, and closes
// the record if the state is one or the other.
func (s *Stack) followPush(ctx context.Context, r *record) error {
	wanted := "the state of " + r.Push.Archive + " to be pushed"
	if err := s.await(ctx, r, r.Timeout+3*r.Grace); err != nil {
		return err
	}
	ended, err := r.ended()
	if err != nil {
		return err
	}
	_, err = s.fenced("tofu state push", func() (bool, error) {
		err := copyFile(s.CLI.Log, r.file(outputFile))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return true, err
	})
	switch {
	case err != nil:
		return err
	case ended == nil:
		return verdict.CannotTell("interrupted", wanted, errors.New("it was killed and nobody saw how far it came"), "run again: the next run looks at the state")
	case ended.Code != 0 || ended.Error != "":
		failed := verdict.Refuse("restore-failed", wanted, fmt.Sprintf("exit code %d %s, see the lines above", ended.Code, ended.Error), "mend what they say, and run again")
		_, err := s.finishPush(ctx)
		return errors.Join(failed, err)
	}
	return os.RemoveAll(r.dir)
}

func (s *Stack) await(ctx context.Context, r *record, limit time.Duration) error {
	wanted := "the push of " + r.Push.Archive + " to end"
	told := false
	for deadline := time.Now().Add(limit); ; {
		alive, err := r.alive()
		if err != nil || !alive {
			return err
		}
		if !told {
			s.Logf("a push of %s that %s began is under way: waiting for its end", r.Push.Archive, r.Run)
			told = true
		}
		if time.Now().After(deadline) {
			return verdict.CannotTell("state-locked", wanted, fmt.Errorf("it still runs after %s", limit), "wait for it; the next run of any action of this stack takes it up")
		}
		select {
		case <-ctx.Done():
			return verdict.CannotTell("interrupted", wanted, errors.New("the step was cancelled; the push goes on by itself"), "run again: it waits for that push")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// finishPush settles a push whose step was killed. Whether tofu came to its
// end is not asked of it but of the backend.
func (s *Stack) finishPush(ctx context.Context) (how string, err error) {
	r := &record{dir: s.pushDir()}
	err = readJSON(r.file(recordFile), &r.job)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && r.Push == nil {
		err = errors.New("it says nothing of a push")
	}
	if err != nil {
		return "", verdict.CannotTell("restore-unfinished", "the record of a push that was killed", err, "look at "+r.dir+" and at the state, then remove the record")
	}
	if err := s.await(ctx, r, s.LockTimeout); err != nil {
		return "", err
	}
	now, err := tfstate.Inspect(ctx, s.source)
	if err != nil {
		return "", err
	}
	p := r.Push
	switch {
	case !now.Absent && now.Lineage == p.Lineage && now.Serial >= p.Serial:
		how = fmt.Sprintf("the push of %s by %s, which nobody saw end, came to its end; the state has serial %d", p.Archive, r.Run, now.Serial)
	case now.Absent == p.Was.Absent && now.Digest == p.Was.Digest:
		how = fmt.Sprintf("the push of %s by %s was ended before it changed anything", p.Archive, r.Run)
	case r.First != nil && now.Resources == 0:
		// The empty state was pushed, and the other one was not. The record stays
		// until a restore is through: it is what lets only that one go on.
		s.halfway = p
		if !s.restoring {
			return "", verdict.CannotTell("restore-unfinished", "the state of "+p.Archive+" to be pushed", errors.New("its push ended when it had made room, and the state is empty"), "run tofu-state-restore with mode: restore and archive: "+p.Archive)
		}
		return fmt.Sprintf("the push of %s by %s ended when it had made room", p.Archive, r.Run), nil
	default:
		how = fmt.Sprintf("the push of %s by %s was ended, and somebody has written the state since", p.Archive, r.Run)
	}
	return how, os.RemoveAll(r.dir)
}
