package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lock takes the ledger for one writer (LOCK_EX) or for readers (LOCK_SH), and
// waits no longer than that. The kernel gives it back after a kill. It is
// flock(2): on a local disk, which is where a runner's state is.
func lock(ctx context.Context, dir string, how int, wait time.Duration) (unlock func(), err error) {
	flags := os.O_RDWR | os.O_CREATE
	if how == syscall.LOCK_SH {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), flags, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking the ledger: %w", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("another run held %q for %s", f.Name(), wait)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
