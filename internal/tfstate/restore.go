package tfstate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"

	"filippo.io/age"
)

// The places from which an archive is taken.
const (
	FromAny     = "any" // here if its bytes hold here, else off the machine
	FromLocal   = "local"
	FromOffsite = "offsite"
)

// IsArchive reports whether name could be that of an archive.
func IsArchive(name string) bool { return archiveName.MatchString(name) }

// Opened is an archive whose bytes were read and opened with the key in this
// run, and are the state that its manifest speaks of.
type Opened struct {
	Manifest *Manifest
	// Where is the place from which it was read.
	Where string

	store      Store
	identities []age.Identity
}

// Open reads the archive of that name to its end, from the first of the places
// where it holds, and keeps none of it. What is wrong with the others is told.
func (a *Archives) Open(ctx context.Context, name, from string) (*Opened, error) {
	var errs []error
	for _, store := range a.places(from) {
		m, err := a.manifestOf(ctx, store, name)
		if err == nil {
			if err = unheld(a.openAt(ctx, store, m)); err == nil {
				for _, e := range errs {
					a.Logf("warning: another copy of this archive is not whole: %v", e)
				}
				return &Opened{Manifest: m, Where: store.Location(name), store: store, identities: a.Identities}, nil
			}
		}
		errs = append(errs, err)
	}
	if errs == nil {
		return nil, verdict.CannotTell(ArchiveThere, "the archive "+name, errors.New("there is no place off the machine"), "set offsite to where the copies are, or from: local")
	}
	return nil, errors.Join(errs...)
}

// places are the stores that are meant, the nearest first.
func (a *Archives) places(from string) []Store {
	var out []Store
	if from != FromOffsite {
		out = append(out, a.Local)
	}
	if from != FromLocal && a.Offsite != nil {
		out = append(out, a.Offsite)
	}
	return out
}

func (a *Archives) manifestOf(ctx context.Context, store Store, name string) (*Manifest, error) {
	m, err := readManifest(ctx, store, name)
	if err == nil && m.Stack != a.Stack {
		err = fmt.Errorf("it is of the stack %q, not of %q", m.Stack, a.Stack)
	}
	if err != nil {
		return nil, verdict.CannotTell(ArchiveThere, "the archive "+store.Location(name), err, "take a name from mode: list; see whether the place can be read")
	}
	return m, nil
}

// openAt holds one copy against its manifest, as an Audit does.
func (a *Archives) openAt(ctx context.Context, store Store, m *Manifest) []verdict.Check {
	checks := (&Audit{Stack: a.Stack, Local: a.Local, Offsite: store, Identities: a.Identities}).open(ctx, m)
	for i := range checks {
		if checks[i].ID == ArchiveBytes && checks[i].Verdict == verdict.Disproven && store == Store(a.Local) {
			checks[i].Hint = "the copy on the runner is damaged or was changed: take the one off the machine (from: offsite), and look at the disk"
		}
	}
	return checks
}

// unheld joins the checks that are not proven into one error.
func unheld(checks []verdict.Check) error {
	var errs []error
	for _, c := range checks {
		if c.Verdict != verdict.Proven {
			errs = append(errs, &verdict.Refusal{Check: c})
		}
	}
	return errors.Join(errs...)
}

// CopyTo writes the state in the archive to w. It is an error unless what came
// out is, to the last byte, what the manifest speaks of.
func (o *Opened) CopyTo(ctx context.Context, w io.Writer) error {
	return o.copy(ctx, func(r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// CopyWithSerial is CopyTo with another serial in the state.
func (o *Opened) CopyWithSerial(ctx context.Context, w io.Writer, serial uint64) error {
	return o.copy(ctx, func(r io.Reader) error { return CopySerial(w, r, serial) })
}

func (o *Opened) copy(ctx context.Context, use func(io.Reader) error) (err error) {
	r, err := o.store.Open(ctx, o.Manifest.Name, ArchiveFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	sum := newDigester()
	if err := unpack(r, o.identities, func(r io.Reader) error { return use(io.TeeReader(r, sum)) }); err != nil {
		return fmt.Errorf("%s: %w", o.Where, err)
	}
	if got := sum.Digest(); got != o.Manifest.State.Digest {
		return fmt.Errorf("%s gave sha256 %s the second time, not %s: it changes while it is read", o.Where, got.SHA256, o.Manifest.State.SHA256)
	}
	return nil
}

// History is what the archives of a stack say together, by name and by their
// newest manifest.
type History struct {
	// Serial is the highest of all.
	Serial uint64
	// Newest is the newest archive that is no errored state; nil if there is none.
	Newest *Manifest
}

// History looks at all archives, here and off the machine. A place that can't
// be listed is an error: what is not seen could have the higher serial.
func (a *Archives) History(ctx context.Context) (*History, error) {
	h := &History{}
	for _, store := range a.places(FromAny) {
		names, err := archiveNames(ctx, store)
		if err != nil {
			return nil, verdict.CannotTell(ArchiveThere, "the names of the archives in "+store.Location(""), err, "see whether the place can be reached and read from here")
		}
		for _, name := range names {
			n, err := serialOf(name)
			if err != nil {
				return nil, err
			}
			h.Serial = max(h.Serial, uint64(n))
		}
	}
	var err error
	h.Newest, err = a.baseline(ctx)
	return h, err
}

// NewestGood returns the name of the newest archive that is fit to be restored
// unasked: no errored state, nothing that an operator had to accept, and
// nothing that somebody overwrote on purpose.
func (a *Archives) NewestGood(ctx context.Context, from string) (string, error) {
	var names []string
	for _, store := range a.places(from) {
		found, err := archiveNames(ctx, store)
		if err != nil {
			return "", verdict.CannotTell(ArchiveThere, "the names of the archives in "+store.Location(""), err, "see whether the place can be reached and read from here")
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range slices.Backward(names) {
		var errs []error
		for _, store := range a.places(from) {
			m, err := a.manifestOf(ctx, store, name)
			if err == nil {
				if m.good() {
					return name, nil
				}
				errs = nil
				break
			}
			errs = append(errs, err)
		}
		if errs != nil {
			return "", errors.Join(errs...)
		}
	}
	return "", verdict.CannotTell(ArchiveThere, fmt.Sprintf("a good archive of the stack %q", a.Stack), fmt.Errorf("none among %d", len(names)), "see mode: list, and name the archive")
}

func (m *Manifest) good() bool {
	return m.Reason != Errored && m.Reason != BeforeRestore && len(m.Accepted) == 0
}

// Live is what is in a state's place now.
type Live struct {
	Absent bool
	Digest
	Meta
	// Broken says why it is no whole state; nil if it is one.
	Broken error
}

// Inspect reads what is there once, whole or not.
func Inspect(ctx context.Context, src Source) (Live, error) {
	sum, scan := newDigester(), newScanner()
	err := src.Read(ctx, func(r io.Reader) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(sum, scan)}, struct{ io.Reader }{r}, make([]byte, 256<<10))
		return err
	})
	if errors.Is(err, ErrNoState) {
		return Live{Absent: true}, nil
	}
	if err != nil {
		return Live{}, fmt.Errorf("reading the state %s: %w", src, err)
	}
	meta, err := scan.Meta()
	if errors.Is(err, ErrNoState) {
		return Live{Absent: true}, nil
	}
	return Live{Digest: sum.Digest(), Meta: meta, Broken: err}, nil
}

// Keep seals what is in a state's place, whole or not, into a file of its own
// in dir and reads it back. It is no archive: no run compares with it, and
// nobody but a person restores it.
func (a *Archives) Keep(ctx context.Context, src Source, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, files.TempPrefix)
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var s *sealed
	err = src.Read(ctx, func(r io.Reader) error {
		s, err = seal(ctx, f, r, a.Recipients)
		return err
	})
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		if _, err = f.Seek(0, io.SeekStart); err == nil {
			err = s.check(f, a.Identities...)
		}
	}
	if err != nil {
		return "", unproven("what is in the state's place to be kept in "+dir, err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s-broken-%.12s.tfstate.zst.age", time.Now().UTC().Format("20060102T150405.000Z"), s.state.SHA256))
	if err := os.Rename(f.Name(), path); err != nil {
		return "", err
	}
	return path, files.SyncDir(dir)
}
