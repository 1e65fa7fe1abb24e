package tfstate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"edge-actions/internal/verdict"
)

// Finish ends a Replace that was killed, under OpenTofu's own lock, and says
// how; it returns "" if there was none. The caller makes sure that the run
// that began it is gone.
//
// A state that was not touched yet stays, and the write is forgotten: a cancel
// means stop. One that was touched is completed, since only the new state is
// whole then. One that somebody has written since is theirs.
func (f File) Finish(ctx context.Context, journal string) (how string, err error) {
	data, err := os.ReadFile(journal)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var j rewriting
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	if err == nil && j.State != f.Path {
		err = fmt.Errorf("it is of the state %q", j.State)
	}
	if err != nil {
		return "", verdict.CannotTell("restore-unfinished", "the record of a restore that was killed, of the state "+f.Path, err, "look at "+journal+" and at the state; run tofu-state-restore, or remove the record if the state is whole")
	}
	l, err := lockFile(ctx, f.Path, "edge-actions restore", f.LockTimeout)
	if errors.Is(err, ErrNoState) {
		return fmt.Sprintf("the restore of %s by %s was killed before it made the state; there is still none", j.Archive, j.Run), j.drop(journal)
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.Unlock()) }()
	touched, err := j.touched(l.File)
	if err != nil {
		return "", err
	}
	if !touched {
		return fmt.Sprintf("the restore of %s by %s was killed before or after it wrote; the state is whole", j.Archive, j.Run), j.drop(journal)
	}
	if err := j.complete(l.File); err != nil {
		return "", verdict.CannotTell("restore-unfinished", fmt.Sprintf("the restore of %s, which was killed in the middle, to be finished", j.Archive), err,
			"run tofu-state-restore with mode: restore and archive: "+j.Archive)
	}
	return fmt.Sprintf("the restore of %s by %s was killed in the middle; it was finished, the state has serial %d", j.Archive, j.Run, j.Serial), j.drop(journal)
}

// touched reports whether the file is in the middle of the write, and puts it
// right where it has only grown.
func (j *rewriting) touched(state *os.File) (bool, error) {
	if j.New.Size == 0 {
		return false, nil // there was not even a copy yet
	}
	info, err := state.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() == 0 {
		return true, nil // made and not begun, or it was empty before
	}
	first := make([]byte, 1)
	if _, err := state.ReadAt(first, 0); err != nil {
		return false, err
	}
	if first[0] == mark {
		return true, nil
	}
	if j.Was.Size > 0 && info.Size() > j.Was.Size {
		was, err := digestOf(state, j.Was.Size)
		if err == nil && was == j.Was {
			err = errors.Join(state.Truncate(j.Was.Size), state.Sync())
		}
		return false, err
	}
	return false, nil
}

func (j *rewriting) complete(state *os.File) error {
	beside, err := os.Open(besidePath(j.State))
	if err != nil {
		return err
	}
	defer beside.Close()
	if got, err := digestOf(beside, -1); err != nil || got != j.New {
		return errors.Join(err, fmt.Errorf("the copy beside the state has sha256 %.12s…, not %.12s…", got.SHA256, j.New.SHA256))
	}
	_, err = j.write(state)
	return err
}
