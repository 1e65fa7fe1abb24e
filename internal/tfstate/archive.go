// Package tfstate knows the state of OpenTofu: how to read it while nobody
// writes it, how to keep archives of it that are whole, encrypted, copied off
// the machine and proved, and when the state is not what the last archive lets
// expect. It refuses to call anything a backup that it has not read back.
package tfstate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"

	"filippo.io/age"
)

// Archives keeps the archives of one state.
type Archives struct {
	// Local is the directory on the runner, for this stack alone.
	Local Dir
	// Offsite is where each archive is copied to; nil if the operator waived it.
	Offsite Store
	// Recipients are who can decrypt, RecipientNames how the manifest lists them.
	Recipients     []age.Recipient
	RecipientNames []string
	// Identities, if any, open the archives in the proof instead of the key
	// that is in memory anyway: then the recipients are proved, too.
	Identities []age.Identity

	Stack, Workspace, TofuVersion string
	Run                           Run

	// Accept names the Guards that the operator overrides in this run.
	Accept []string
	// ShrinkPercent is how much of its instances a state may lose between two
	// archives, 0 to 100. Deletions that went through an apply don't count.
	ShrinkPercent int
	// RetainCount archives are kept, and all that are younger than RetainDays
	// days. 0 is no limit of that kind; both 0 keeps all.
	RetainCount, RetainDays int
	LockTimeout             time.Duration
	// Logf prints one line for the operator.
	Logf func(format string, args ...any)
}

// The reasons for which an archive is made.
const (
	ForPlan    = "plan"
	AfterApply = "after-apply"
	Errored    = "errored"
	// BeforeRestore is of what a restore overwrites, AfterRestore of what it
	// has written.
	BeforeRestore = "before-restore"
	AfterRestore  = "after-restore"
)

// Backup is an archive that was made and proved in this run.
type Backup struct {
	Manifest    *Manifest
	Path        string // of the archive's directory on the runner
	OffsitePath string // empty if there is no copy off the machine
	State       Snapshot
	Checks      []verdict.Check
}

// Make archives the state in src and proves the archive. The error carries
// every check that did not hold. Where there is no state and that was
// accepted, the backup has no manifest.
func (a *Archives) Make(ctx context.Context, src Source, reason string) (*Backup, error) {
	unlock, err := a.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := a.sweep(); err != nil {
		return nil, err
	}
	last, err := a.baseline(ctx)
	if err != nil {
		return nil, err
	}
	stage, err := a.Local.stage()
	if err != nil {
		return nil, fmt.Errorf("making room for the archive: %w", err)
	}
	defer os.RemoveAll(stage) // renamed away if all went well

	b := &Backup{}
	s, err := a.sealInto(ctx, filepath.Join(stage, ArchiveFile), src)
	if err == nil && errors.Is(s.metaErr, ErrNoState) {
		err = ErrNoState
	}
	absent := errors.Is(err, ErrNoState)
	if err != nil && !absent {
		return nil, err
	}
	// A plan that was killed leaves 0 bytes where there was no state before, and
	// nothing was made. Where there was one, they are what is left of it.
	empty := reason == ForPlan && last == nil && s != nil && errors.Is(s.metaErr, errEmpty)
	absent = absent || empty
	var now *snapshot
	if !absent {
		if s.metaErr != nil {
			return nil, notWhole(src, s.metaErr)
		}
		now = &snapshot{s.state, s.meta}
	}
	shrink := 100
	var unwritten *Manifest
	if reason == ForPlan {
		shrink = a.ShrinkPercent
		if unwritten, err = a.unwritten(ctx, now, last); err != nil {
			return nil, err
		}
	}
	checks := guards(now, last, unwritten, shrink)
	if empty {
		saysEmpty(checks)
	}
	accepted := accept(checks, a.Accept)
	if err := unaccepted(checks); err != nil {
		return nil, err
	}
	b.Checks = checks
	if absent {
		b.State = Snapshot{Absent: true}
		return b, nil
	}
	m := a.manifest(s, src, reason, accepted)
	if err := a.finish(stage, m); err != nil {
		return nil, fmt.Errorf("writing the archive %s: %w", m.Name, err)
	}
	b.Manifest, b.Path = m, a.Local.Location(m.Name)
	b.State = Snapshot{SHA256: m.State.SHA256, Serial: m.State.Serial, Lineage: m.State.Lineage}
	if err := a.prove(ctx, b, s); err != nil {
		return nil, err
	}
	a.retain(ctx, m)
	a.sweepUploads(ctx, m)
	return b, nil
}

// lock keeps other runs on this machine away from the stack's archives.
func (a *Archives) lock(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(a.Local.Path, 0o700); err != nil {
		return nil, fmt.Errorf("making the archive directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(a.Local.Path, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(a.LockTimeout); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking the archives: %w", err)
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			f.Close()
			return nil, verdict.Refuse("state-locked", fmt.Sprintf("the archives of stack %q within %s", a.Stack, a.LockTimeout),
				"another run is writing them", "wait for that run to end, or raise lock_timeout")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (a *Archives) sweep() error {
	err := a.Local.sweep()
	if d, ok := a.Offsite.(Dir); ok {
		err = errors.Join(err, d.sweep())
	}
	if err != nil {
		return fmt.Errorf("sweeping what an earlier run left half-done: %w", err)
	}
	return nil
}

// baseline is the newest archive of the state, looked for off the machine when
// there is none here: a new runner must not take a lost state for a new stack.
func (a *Archives) baseline(ctx context.Context) (*Manifest, error) {
	for _, store := range []Store{a.Local, a.Offsite} {
		if store == nil {
			continue
		}
		names, err := archiveNames(ctx, store)
		for i := 0; i < len(names) && err == nil; i++ {
			var m *Manifest
			if m, err = readManifest(ctx, store, names[i]); err == nil && m.Reason != Errored {
				return m, nil
			}
		}
		if err != nil {
			return nil, verdict.CannotTell("backup-unproven", "the newest archive in "+store.Location(""), err, "make the place readable again, or move the damaged archive away")
		}
	}
	return nil, nil
}

// archiveNames returns the names in a store, newest first. Other names are
// somebody else's.
func archiveNames(ctx context.Context, store Store) ([]string, error) {
	names, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !archiveName.MatchString(n) })
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

func readManifest(ctx context.Context, store Store, name string) (*Manifest, error) {
	r, err := store.Open(ctx, name, ManifestFile)
	if err != nil {
		return nil, fmt.Errorf("opening the manifest of %s: %w", name, err)
	}
	m, err := ParseManifest(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("archive %s: %w", name, err)
	}
	if m.Name != name {
		return nil, fmt.Errorf("archive %s has the manifest of %s", name, m.Name)
	}
	return m, nil
}

// sealInto writes the archive file and makes it durable.
func (a *Archives) sealInto(ctx context.Context, path string, src Source) (s *sealed, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = src.Read(ctx, func(r io.Reader) error {
		s, err = seal(ctx, f, r, a.Recipients)
		return err
	})
	if err != nil {
		if verdict.Has(err, "state-locked", "state-moved", Unreadable) || errors.Is(err, ErrNoState) {
			return nil, err
		}
		return nil, unproven(fmt.Sprintf("an archive of the state %s in %s", src, filepath.Dir(path)), err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return nil, unproven("the archive to reach the disk", err)
	}
	return s, nil
}

func (a *Archives) manifest(s *sealed, src Source, reason string, accepted []string) *Manifest {
	now := time.Now().UTC()
	m := &Manifest{
		Schema: ManifestSchema, Name: newName(now, s.meta.Serial, s.state.SHA256), Created: now,
		Stack: a.Stack, Workspace: a.Workspace, Backend: src.String(),
		Reason: reason, Accepted: accepted, TofuVersion: a.TofuVersion, Run: a.Run,
	}
	m.State.Digest, m.State.Meta = s.state, s.meta
	m.Archive.Digest, m.Archive.Compression, m.Archive.Encryption, m.Archive.Recipients = s.archive, "zstd", "age", a.RecipientNames
	return m
}

// finish adds the checksums and the manifest and gives the archive its name.
func (a *Archives) finish(stage string, m *Manifest) error {
	data, err := m.encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	sums := checksums(map[string]string{ArchiveFile: m.Archive.SHA256, ManifestFile: hex.EncodeToString(sum[:])})
	if err := files.Write(filepath.Join(stage, ChecksumsFile), sums); err != nil {
		return err
	}
	if err := files.Write(filepath.Join(stage, ManifestFile), data); err != nil {
		return err
	}
	return a.Local.commit(stage, m.Name)
}

// prove copies the archive off the machine and reads every copy back. The
// farthest one is decrypted, unpacked and compared with the state; the archive
// here is the same bytes if its digest is, and is read while the copy is made.
func (a *Archives) prove(ctx context.Context, b *Backup, s *sealed) error {
	name := b.Manifest.Name
	open := func(r io.Reader) error { return s.check(r, a.Identities...) }
	if a.Offsite == nil {
		if err := a.readBack(ctx, a.Local, name, open); err != nil {
			return unproven("the archive "+b.Path+" to be the state", err)
		}
		b.prove(s)
		return nil
	}
	local := make(chan error, 1)
	go func() {
		local <- a.readBack(ctx, a.Local, name, func(r io.Reader) error { return sameDigest(r, s.archive) })
	}()
	err := a.Offsite.Put(ctx, name, b.Path)
	if err != nil {
		err = unproven("a copy of the archive at "+a.Offsite.Location(name), err)
	} else if err = a.readBack(ctx, a.Offsite, name, open); err != nil {
		// A copy that is wrong must never be taken for one that is right.
		err = errors.Join(unproven("the copy at "+a.Offsite.Location(name)+" to be the state", err), a.Offsite.Remove(ctx, name))
	}
	if localErr := <-local; localErr != nil {
		err = errors.Join(err, unproven("the archive "+b.Path+" to be the state", localErr))
	}
	if err != nil {
		return err
	}
	b.OffsitePath = a.Offsite.Location(name)
	b.Checks = append(b.Checks, proven("backup-offsite", "a copy off the machine that gives the state back", b.OffsitePath+" was read back, decrypted, unpacked and compared"))
	b.prove(s)
	return nil
}

// prove adds the check that says what was archived.
func (b *Backup) prove(s *sealed) {
	b.Checks = append(b.Checks, proven("backup", "an archive that gives the state back",
		fmt.Sprintf("%s: serial %d, %s, sha256 of the state %.12s…, %d -> %d bytes", b.Manifest.Name, s.meta.Serial, resources(s.meta), s.state.SHA256, s.state.Size, s.archive.Size)))
}

func (a *Archives) readBack(ctx context.Context, store Store, name string, check func(io.Reader) error) error {
	r, err := store.Open(ctx, name, ArchiveFile)
	if err != nil {
		return err
	}
	return errors.Join(check(r), r.Close())
}

// Verify returns nil only if the archive of that name is here and off the
// machine with the digests of its manifest. It is how a later stage makes sure
// of a backup that an earlier one proved.
func (a *Archives) Verify(ctx context.Context, name, archiveSHA256 string) error {
	for _, store := range []Store{a.Local, a.Offsite} {
		if store == nil {
			continue
		}
		m, err := readManifest(ctx, store, name)
		if err == nil && m.Archive.SHA256 != archiveSHA256 {
			err = fmt.Errorf("its manifest speaks of sha256 %q", m.Archive.SHA256)
		}
		if err == nil {
			err = a.readBack(ctx, store, name, func(r io.Reader) error { return sameDigest(r, m.Archive.Digest) })
		}
		if err != nil {
			return unproven(fmt.Sprintf("the archive %s with sha256 %.12s…", store.Location(name), archiveSHA256), err)
		}
	}
	return nil
}

func sameDigest(r io.Reader, want Digest) error {
	sum := newDigester()
	if _, err := io.Copy(sum, r); err != nil {
		return err
	}
	if got := sum.Digest(); got != want {
		return fmt.Errorf("its sha256 is %s (%d bytes), not %s (%d bytes)", got.SHA256, got.Size, want.SHA256, want.Size)
	}
	return nil
}

func unproven(wanted string, err error) error {
	return verdict.CannotTell("backup-unproven", wanted, err, "mend the place (room, mode, connection) and run again; nothing was changed")
}

func proven(id, wanted, got string) verdict.Check {
	return verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: got}
}

// unaccepted joins the checks that nobody accepted into one error.
func unaccepted(checks []verdict.Check) error {
	var errs []error
	for _, c := range checks {
		if c.Waived == "" {
			errs = append(errs, &verdict.Refusal{Check: c})
		}
	}
	return errors.Join(errs...)
}
