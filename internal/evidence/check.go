package evidence

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"edge-actions/internal/signature"
	"edge-actions/internal/verdict"
)

// Summary is what a ledger is.
type Summary struct {
	// Entries are those that hold: all of them, or those before what is wrong.
	Entries int64
	// Last names the last of them; keep it elsewhere as the next check's witness.
	Last Mark
	// FirstTime and LastTime are of the first and the last of them.
	FirstTime, LastTime time.Time
	// Ahead are entries that the head does not name yet, of runs that were
	// killed in the middle of their last step.
	Ahead int64
	// SetAside are the files with entries that a kill tore.
	SetAside []string
}

// Options are what a check may be given besides.
type Options struct {
	// Witness is a state of this ledger that was seen before. With it, a ledger
	// that was set back together with its head is found.
	Witness *Mark
	// Each is given every entry that holds, in order, before the ledger as a
	// whole is judged. An error of it ends the check.
	Each func(*Entry) error
}

// readWait is how long a check waits for an append.
const readWait = 30 * time.Second

// batchBytes and batchLines bound what is in memory and verified at once.
const (
	batchBytes = 1 << 20
	batchLines = 256
)

// Check holds a ledger, or a copy of one, against the keys that may sign it. An
// error has a *Finding for the first line that is wrong, and one each for what
// is wrong with the end of it; without an error everything in the ledger is as
// it was written, and nothing is missing.
//
// It reads what was there when it began; appends go on meanwhile.
func Check(ctx context.Context, dir string, signers []signature.Signer, o Options) (Summary, error) {
	if len(signers) == 0 {
		return Summary{}, verdict.CannotTell("ledger-signers", "a key by which a ledger may be signed", errors.New("none"), "list the public key of the runner in allowed_signers")
	}
	keys := newKeyring(signers...)
	s, err := take(ctx, dir, keys)
	if err != nil {
		return Summary{}, err
	}
	if s.f != nil {
		defer s.f.Close()
	}
	w := &walk{snapshot: s, witness: o.Witness, each: o.Each, previous: firstPrevious(), next: 1}
	w.summary.SetAside = s.setAside
	w.summary.Last = Mark{SHA256: w.previous}
	if s.f != nil {
		if err := w.lines(ctx, keys); err != nil {
			return w.summary, err
		}
	}
	return w.summary, w.judge()
}

// snapshot is a ledger at one moment.
type snapshot struct {
	f        *os.File // nil if there is no file of entries
	size     int64
	head     head
	headErr  error
	setAside []string
}

// take reads the head and the size of the file between two appends. A copy has
// no lock, and nobody who appends.
func take(ctx context.Context, dir string, keys keyring) (s *snapshot, err error) {
	cannot := func(err error) error {
		return verdict.CannotTell("ledger-read", "to read the ledger", err, "correct the directory or its modes")
	}
	unlock, err := lock(ctx, dir, syscall.LOCK_SH, readWait)
	if err == nil {
		defer unlock()
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, cannot(err)
	}
	s = &snapshot{}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, cannot(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name.Name(), tornPrefix) {
			s.setAside = append(s.setAside, name.Name())
		}
	}
	s.head, s.headErr = readHead(dir, keys)
	if unread := (*fs.PathError)(nil); errors.As(s.headErr, &unread) {
		return nil, cannot(s.headErr)
	}
	if s.f, err = os.Open(filepath.Join(dir, EntriesFile)); errors.Is(err, os.ErrNotExist) {
		return s, nil
	} else if err != nil {
		return nil, cannot(err)
	}
	info, err := s.f.Stat()
	if err != nil {
		s.f.Close()
		return nil, cannot(err)
	}
	s.size = info.Size()
	return s, nil
}

// lines walks over the lines, a batch at a time: verified all at once, because
// that is what takes the time, and then joined one after the other.
func (w *walk) lines(ctx context.Context, keys keyring) error {
	r := newLines(io.NewSectionReader(w.f, 0, w.size), 1, 0)
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return verdict.CannotTell("ledger-read", "to read the ledger to its end", err, "run it again")
		}
		var batch []line
		for n := 0; more && n < batchBytes && len(batch) < batchLines; {
			l, err := r.next()
			broken := (*Finding)(nil)
			switch {
			case errors.Is(err, io.EOF):
				more = false
			case errors.As(err, &broken):
				w.tooLong, more = broken, false
			case err != nil:
				return verdict.CannotTell("ledger-read", "to read the ledger to its end", err, "look at the disk, then run it again")
			default:
				batch, n = append(batch, l), n+len(l.text)
			}
		}
		for _, it := range judgeAll(batch, keys) {
			if err := w.take(it); err != nil {
				return err
			}
		}
	}
	w.rest, w.restAt, w.next = r.left, r.offset, r.number
	return nil
}

func judgeAll(batch []line, keys keyring) []judged {
	out := make([]judged, len(batch))
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for n := range workers {
		group.Go(func() {
			for i := n; i < len(batch); i += workers {
				out[i] = judge(batch[i], keys)
			}
		})
	}
	group.Wait()
	return out
}
