package tfstate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/verdict"
)

// lockInfo is the content of the file that OpenTofu puts beside a local state
// while it holds the lock (internal/states/statemgr/locker.go, v1.12).
type lockInfo struct {
	ID        string
	Operation string
	Info      string
	Who       string
	Version   string
	Created   time.Time
	Path      string
}

func (l *lockInfo) String() string {
	return fmt.Sprintf("%q by %q since %s", l.Operation, l.Who, l.Created.Format(time.RFC3339))
}

// locked is a local state under OpenTofu's own lock. All reading goes through
// its one descriptor: POSIX drops the lock of a process as soon as it closes
// any descriptor of the file.
type locked struct {
	*os.File
	info  string // path of the lock info file
	stale *lockInfo
}

// lockFile takes OpenTofu's lock on the local state at path, waiting up to
// timeout for another holder. It returns ErrNoState if there is none:
// unlike OpenTofu it creates none.
//
// The lock is a POSIX write lock on the state file itself; flock(2) would not
// exclude tofu. The info file is written too, because tofu -lock-timeout only
// waits for a holder that shows an ID.
func lockFile(ctx context.Context, path, operation string, timeout time.Duration) (*locked, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoState
	}
	if err != nil {
		return nil, err
	}
	l := &locked{File: f, info: lockInfoPath(path)}
	deadline := time.Now().Add(timeout)
	for {
		err = fcntlLock(f, syscall.F_WRLCK)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) {
			f.Close()
			return nil, fmt.Errorf("locking the state: %w", err)
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			f.Close()
			holder := "somebody who left no lock info"
			if info := readLockInfo(l.info); info != nil {
				holder = info.String()
			}
			return nil, verdict.Refuse("state-locked", fmt.Sprintf("the lock on the state %q within %s", path, timeout),
				"held: "+holder, "wait for that run to end, or raise lock_timeout")
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	// Whoever left this is gone: the kernel gave us the lock.
	l.stale = readLockInfo(l.info)
	if err := l.writeInfo(path, operation); err != nil {
		return nil, errors.Join(fmt.Errorf("writing the lock info: %w", err), l.Unlock())
	}
	// tofu may have replaced the file while we waited for it.
	if same, err := l.isAt(path); err != nil || !same {
		refusal := verdict.Refuse("state-moved", fmt.Sprintf("the state %q to stay in place while it is locked", path), "another file there now", "find out what replaces the state file, then run again")
		return nil, errors.Join(refusal, l.Unlock())
	}
	return l, nil
}

// Unlock gives the lock back, info first, as tofu does.
func (l *locked) Unlock() error {
	err := os.Remove(l.info)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, fcntlLock(l.File, syscall.F_UNLCK), l.Close())
}

func (l *locked) isAt(path string) (bool, error) {
	there, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	here, err := l.Stat()
	return err == nil && os.SameFile(here, there), err
}

func (l *locked) writeInfo(path, operation string) error {
	var id [16]byte
	rand.Read(id[:])
	info := lockInfo{ID: hex.EncodeToString(id[:]), Operation: operation, Info: "edge-actions", Created: time.Now().UTC(), Path: path}
	if u, err := user.Current(); err == nil {
		host, _ := os.Hostname()
		info.Who = u.Username + "@" + host
	}
	data, err := json.Marshal(info)
	if err != nil {
		return err
	}
	// As tofu writes it, and not through a synced rename: until the ID is
	// there, a tofu that asks for the lock does not wait for it but fails.
	return os.WriteFile(l.info, data, 0o600)
}

// lockInfoPath follows OpenTofu: a leading dot of the state's name is dropped.
func lockInfoPath(state string) string {
	dir, name := filepath.Split(state)
	return filepath.Join(dir, "."+strings.TrimPrefix(name, ".")+".lock.info")
}

func readLockInfo(path string) *lockInfo {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var info lockInfo
	if json.NewDecoder(io.LimitReader(f, 64<<10)).Decode(&info) != nil || info.ID == "" {
		return nil
	}
	return &info
}

func fcntlLock(f *os.File, kind int16) error {
	return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: kind, Whence: io.SeekStart})
}
