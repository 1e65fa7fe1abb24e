package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/signature"

	"golang.org/x/crypto/ssh"
)

// Ledger is where entries are added.
type Ledger struct {
	// Dir is made if its parent is there.
	Dir    string
	Signer ssh.Signer
	// Former are keys besides the signer's own by which the head may be signed:
	// after a change of keys, the one before.
	Former []signature.Signer
	// Wait is how long other jobs may hold the ledger.
	Wait time.Duration
	Logf func(format string, args ...any)
}

// Append adds an entry: it sets its number, what it follows and the time. What
// it returns is on disk, and the ledger ends with it. After an error, the entry
// is not there; after a kill it is there whole or not at all, and the next
// append finds its way.
func (l *Ledger) Append(ctx context.Context, e Entry) (Mark, error) {
	if err := l.makeDir(); err != nil {
		return Mark{}, err
	}
	unlock, err := lock(ctx, l.Dir, syscall.LOCK_EX, l.Wait)
	if err != nil {
		return Mark{}, err
	}
	defer unlock()
	if err := l.sweep(); err != nil {
		return Mark{}, err
	}
	last, err := l.head()
	if err != nil {
		return Mark{}, err
	}
	f, err := os.OpenFile(filepath.Join(l.Dir, EntriesFile), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return Mark{}, err
	}
	defer f.Close()
	if last, err = l.catchUp(f, last); err != nil {
		return Mark{}, err
	}
	e.Schema, e.Seq, e.Previous, e.Time = Schema, last.Seq+1, last.SHA256, stamp(time.Now())
	line, err := seal("entry", e, l.Signer)
	if err != nil {
		return Mark{}, err
	}
	next := head{Schema: HeadSchema, Seq: e.Seq, SHA256: digest(line), Offset: last.Size, Size: last.Size + int64(len(line)), Time: e.Time}
	if err := l.add(f, line, last, next); err != nil {
		return Mark{}, err
	}
	return next.mark(), nil
}

// add writes the line and then the head. If one of them fails, the line is taken
// back, so that nothing says proven of a step that is red.
func (l *Ledger) add(f *os.File, line []byte, last, next head) error {
	_, err := f.Write(line)
	if err == nil {
		err = f.Sync()
	}
	if err == nil && last.Seq == 0 {
		err = files.SyncDir(l.Dir) // the file is new
	}
	if err == nil {
		if err = l.writeHead(next); err == nil {
			return nil
		}
		// It may be in its place all the same, with only its name not synced;
		// without the line it would speak of one that is gone.
		if now, readErr := readHead(l.Dir, l.keys()); readErr == nil && now.mark() == next.mark() {
			return nil
		}
	}
	if undo := f.Truncate(last.Size); undo != nil {
		return errors.Join(err, fmt.Errorf("taking the entry back: %w", undo))
	}
	return errors.Join(err, f.Sync())
}

func (l *Ledger) makeDir() error {
	err := os.Mkdir(l.Dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		err = nil
	} else if err == nil {
		err = files.SyncDir(filepath.Dir(l.Dir))
	}
	if err != nil {
		return err
	}
	if err := files.CheckPrivateDir(l.Dir); err != nil {
		return fmt.Errorf("%q %w", l.Dir, err)
	}
	return nil
}

// sweep removes heads that a kill left half-written.
func (l *Ledger) sweep() error {
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), files.TempPrefix) {
			if err := os.Remove(filepath.Join(l.Dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Ledger) keys() keyring {
	return newKeyring(append([]signature.Signer{{Key: l.Signer.PublicKey()}}, l.Former...)...)
}

// head reads the head, and makes that of a new ledger. It is verified: an entry
// after a head that somebody made would turn their ledger into ours.
func (l *Ledger) head() (head, error) {
	h, err := readHead(l.Dir, l.keys())
	unknown, unread := (*signature.UnknownKeyError)(nil), (*fs.PathError)(nil)
	switch {
	case err == nil || errors.As(err, &unread):
		return h, err
	case errors.As(err, &unknown):
		return head{}, find(ForeignKey, 0, 0, "its head is signed, %s, and the runner's own key is %s", unknown, ssh.FingerprintSHA256(l.Signer.PublicKey()))
	case !errors.Is(err, errNoHead):
		return head{}, find(Edited, 0, 0, "%s: %v", HeadFile, err)
	}
	// The head comes first, so that entries without one are never ours.
	info, err := os.Lstat(filepath.Join(l.Dir, EntriesFile))
	if err == nil && info.Size() > 0 {
		return head{}, find(Headless, 0, 0, "%s of %d bytes without %s", EntriesFile, info.Size(), HeadFile)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return head{}, err
	}
	h = newHead(time.Now())
	return h, l.writeHead(h)
}

// catchUp holds the end of the file against the head. After a kill the file is
// ahead of it: by whole entries, which count, and by a torn one, which is set
// aside.
func (l *Ledger) catchUp(f *os.File, last head) (head, error) {
	info, err := f.Stat()
	if err != nil {
		return head{}, err
	}
	size := info.Size()
	if size < last.Size {
		return head{}, find(Truncated, 0, 0, "%s has %d bytes, and its head says %d with %d entries", EntriesFile, size, last.Size, last.Seq)
	}
	line := make([]byte, last.Size-last.Offset)
	if _, err := f.ReadAt(line, last.Offset); err != nil {
		return head{}, err
	}
	if last.Seq > 0 && digest(line) != last.SHA256 {
		return head{}, find(Edited, last.Seq, last.Offset, "it is not the line that the head names")
	}
	lines, keys := newLines(io.NewSectionReader(f, last.Size, size-last.Size), last.Seq+1, last.Size), l.keys()
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return head{}, err
		}
		it := judge(line, keys)
		if it.wrong != nil {
			return head{}, it.wrong
		}
		if it.entry.Seq != last.Seq+1 || it.entry.Previous != last.SHA256 {
			return head{}, find(Edited, line.number, line.offset, "it does not follow the entry before it")
		}
		last = head{Schema: HeadSchema, Seq: it.entry.Seq, SHA256: it.sum, Offset: line.offset, Size: line.offset + int64(len(line.text)), Time: it.entry.Time}
		l.Logf("Entry %d of the ledger was written by a run that was ended before it could say so; it counts.", last.Seq)
	}
	if last.Size == size {
		return last, nil
	}
	return last, l.setAside(f, last.Size, size)
}

// setAside moves the bytes of a torn line to a file of their own.
func (l *Ledger) setAside(f *os.File, from, to int64) error {
	name := tornPrefix + time.Now().UTC().Format("20060102T150405.000000000Z")
	err := files.WriteFrom(filepath.Join(l.Dir, name), func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(f, from, to-from))
		return err
	})
	if err != nil {
		return fmt.Errorf("setting a torn entry aside: %w", err)
	}
	l.Logf("The last entry of the ledger was torn by a kill: its %d bytes are set aside as %s.", to-from, name)
	if err := f.Truncate(from); err != nil {
		return err
	}
	return f.Sync()
}
