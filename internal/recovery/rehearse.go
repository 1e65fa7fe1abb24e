package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/restic"
	"edge-actions/internal/verdict"
)

// Rehearsal is one restore that is not meant to stay. It is data alone: it may
// have come from another machine.
type Rehearsal struct {
	Repository restic.Repository
	// Program is restic, PassEnvironment what it may see besides the usual.
	Program         string
	PassEnvironment []string
	// Timeout is for each command of restic's.
	Timeout time.Duration
	// RepositoryID is the repository's own id, 64 hex digits.
	RepositoryID string
	Want         Want
	// Include are the absolute paths to restore; without any, all is.
	Include []string
	// ScratchRoot is where the fresh directory is made, and made itself if it is
	// not there; it may begin with "~/".
	ScratchRoot string
	AllowTmpfs  bool
	Run         string // owner/repo#run.attempt
	// LimitKiB is KiB a second for downloads, 0 for no limit.
	LimitKiB int
}

// Place is the machine on which a rehearsal is made: this one.
type Place struct {
	Environ []string
	// Assert judges what lies in the scratch; work is a directory beside it. It
	// may be nil.
	Assert func(ctx context.Context, restored, work string) []verdict.Check
	Logf   func(format string, args ...any)
}

// Rehearsed is what a rehearsal measured.
type Rehearsed struct {
	SnapshotID string
	Age        time.Duration
	// Bytes and Files are what was restored; Files counts directories and links
	// too.
	Bytes, Files uint64
	// The parts of the recovery time. Restic verifies right after it has
	// written, so where one ends and the other begins is by its own progress.
	List, Restore, Verify, Assert time.Duration
	// Whole is an estimate of the time for the whole snapshot, by its size; zero
	// if the whole was restored.
	Whole time.Duration
}

// RTO is the time from nothing to data that was proven.
func (r *Rehearsed) RTO() time.Duration { return r.List + r.Restore + r.Verify + r.Assert }

// Client asks the rehearsal's repository from this machine.
func (r *Rehearsal) Client(environ []string) (*restic.Client, error) {
	local := restic.Local{Path: r.Program, Env: restic.Environ(environ, r.PassEnvironment...), Nice: true}
	return restic.New(local, r.Repository, restic.Options{Timeout: r.Timeout})
}

// rehearsal is one while it is made.
type rehearsal struct {
	*Rehearsal
	Place
	client *restic.Client
}

// Rehearse restores a snapshot and looks at what came back. Nothing of it is
// left afterwards, on any path; what a killed run left is removed first.
func (r *Rehearsal) Rehearse(ctx context.Context, place Place) (*Rehearsed, []verdict.Check) {
	out := &Rehearsed{}
	made, err := r.at(place)
	if err != nil {
		return out, verdict.ChecksOf(err)
	}
	checks := made.sweep()
	began := time.Now()
	snapshot, more := made.choose(ctx)
	out.List = time.Since(began)
	checks = append(checks, more...)
	if snapshot == nil {
		return out, checks
	}
	out.SnapshotID, out.Age = snapshot.ID, max(r.Want.Now.Sub(snapshot.Time), 0)
	scratch, err := NewScratch(made.ScratchRoot, r.Run, snapshot.Paths, r.AllowTmpfs)
	if err != nil {
		return out, append(checks, verdict.ChecksOf(err)...)
	}
	checks = append(checks, made.inside(ctx, out, snapshot, scratch)...)
	return out, append(checks, remove(scratch))
}

// at finds what belongs to the machine.
func (r *Rehearsal) at(place Place) (*rehearsal, error) {
	here := *r
	if rest, ok := strings.CutPrefix(here.ScratchRoot, "~/"); ok {
		here.ScratchRoot = filepath.Join(home(place.Environ), rest)
	}
	client, err := here.Client(place.Environ)
	if err != nil {
		return nil, verdict.CannotTell(restic.Failed, "a repository that restic can be asked for", err, "correct the inputs that name it")
	}
	if err := apart(here.ScratchRoot, here.Want.Paths); err != nil { // before it is made
		return nil, err
	}
	if err := os.MkdirAll(here.ScratchRoot, 0o700); err != nil {
		return nil, verdict.CannotTell(Scratch, "a directory for rehearsals", err, "correct the input scratch_dir")
	}
	return &rehearsal{Rehearsal: &here, Place: place, client: client}, nil
}

func home(environ []string) (dir string) {
	for _, kv := range environ {
		if value, ok := strings.CutPrefix(kv, "HOME="); ok {
			dir = value
		}
	}
	return dir
}

func (r *rehearsal) sweep() []verdict.Check {
	n, err := SweepScratch(r.ScratchRoot)
	if err != nil {
		return []verdict.Check{verdict.CannotTell(CleanedUp, "nothing left of earlier rehearsals", err, "look into "+r.ScratchRoot).Check}
	}
	if n > 0 {
		r.Logf("removed what %d killed rehearsals left", n)
	}
	return nil
}

// choose asks for the repository's id and for its snapshots at once: each takes
// restic half a second for the key alone.
func (r *rehearsal) choose(ctx context.Context) (*restic.Snapshot, []verdict.Check) {
	ctx, cancel := context.WithCancel(ctx)
	var all []restic.Snapshot
	var unlisted error
	listed := make(chan struct{})
	go func() {
		defer close(listed)
		all, unlisted = r.client.Snapshots(ctx)
	}()
	defer func() { cancel(); <-listed }() // no restic outlives this
	config, err := r.client.Config(ctx)
	if err != nil {
		return nil, verdict.ChecksOf(err)
	}
	checks := []verdict.Check{CheckIdentity(config.ID, r.RepositoryID)}
	if verdict.Of(checks) != verdict.Proven {
		return nil, checks
	}
	if <-listed; unlisted != nil {
		return nil, append(checks, verdict.ChecksOf(unlisted)...)
	}
	s, more := Choose(all, r.Want)
	return s, append(checks, more...)
}

// size is what a restore of the snapshot takes, by its own summary: who could
// write that could have written the snapshot too, and a restore that is larger
// ends at the disk's end, red. Before restic 0.17 there was none.
func (r *rehearsal) size(ctx context.Context, s *restic.Snapshot) (restic.Stats, error) {
	if n := s.Summary; n != nil && n.TotalFilesProcessed > 0 {
		return restic.Stats{Bytes: n.TotalBytesProcessed, Files: n.TotalFilesProcessed + n.DirsNew + n.DirsChanged + n.DirsUnmodified}, nil
	}
	return r.client.RestoreSize(ctx, s.ID)
}

// inside is what happens while there is a scratch.
func (r *rehearsal) inside(ctx context.Context, out *Rehearsed, s *restic.Snapshot, scratch *ScratchDir) []verdict.Check {
	size, err := r.size(ctx, s)
	if err != nil {
		return verdict.ChecksOf(err)
	}
	var checks []verdict.Check
	if len(r.Include) == 0 { // how much a part takes is not known before
		c := RoomFor(scratch.Dir, size.Bytes, size.Files)
		if checks = append(checks, c); c.Verdict != verdict.Proven {
			return checks
		}
	}
	r.Logf("restoring %s of %s (%d files, %d bytes in all) into a scratch that is removed afterwards", short(s.ID), stamp(s.Time), size.Files, size.Bytes)
	entries := list(ctx, r.client.WithTimeout(2*r.Timeout), s.ID)
	defer entries.stop()
	began, written, said := time.Now(), time.Time{}, time.Now()
	sum, err := r.client.Restore(ctx, s.ID, scratch.Dir, restic.RestoreOptions{
		Include: r.Include, Verify: true, LimitDownloadKiB: r.LimitKiB,
		Progress: func(p restic.Progress) {
			if written.IsZero() && p.Bytes > 0 && p.BytesRestored >= p.Bytes {
				written = time.Now()
			}
			if time.Since(said) > 30*time.Second {
				said = time.Now()
				r.Logf("%d of %d files, %d of %d bytes", p.FilesRestored, p.Files, p.BytesRestored, p.Bytes)
			}
		},
	})
	ended := time.Now()
	if written.IsZero() {
		written = ended
	}
	out.Restore, out.Verify = written.Sub(began), ended.Sub(written)
	if err != nil {
		return append(checks, verdict.ChecksOf(err)...)
	}
	out.Bytes, out.Files = sum.BytesRestored, sum.FilesRestored
	checks = append(checks, verdict.Check{ID: Restored, Verdict: verdict.Proven, Wanted: "all that was asked for, restored and read again by restic", Got: fmt.Sprintf("%d files, %d bytes in %s", sum.FilesRestored, sum.BytesRestored, ended.Sub(began).Round(time.Millisecond))})
	began = time.Now()
	checks = append(checks, compare(entries, scratch.Dir, r.Include)...)
	out.Verify += time.Since(began)
	began = time.Now()
	// What did not come back whole has nothing to say.
	if r.Assert != nil && verdict.Of(checks) != verdict.Disproven {
		work, err := scratch.Work()
		if err != nil {
			checks = append(checks, verdict.ChecksOf(err)...)
		} else {
			checks = append(checks, r.Assert(ctx, scratch.Dir, work)...)
		}
	}
	out.Assert = time.Since(began)
	if len(r.Include) > 0 && out.Bytes > 0 && size.Bytes > out.Bytes {
		part := out.Restore + out.Verify
		out.Whole = out.List + out.Assert + time.Duration(float64(part)*float64(size.Bytes)/float64(out.Bytes))
	}
	return checks
}

func remove(s *ScratchDir) verdict.Check {
	const wanted = "nothing left of the rehearsal"
	if err := s.Remove(); err != nil {
		return verdict.CannotTell(CleanedUp, wanted, errors.Unwrap(err), "remove "+s.top+" by hand: it holds what was backed up").Check
	}
	return verdict.Check{ID: CleanedUp, Verdict: verdict.Proven, Wanted: wanted, Got: "nothing"}
}
