package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edge-actions/internal/tfplan"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
)

// RestoreRequest is what Restore and Rehearse are asked for.
type RestoreRequest struct {
	// Archive is the name of the archive; empty in a rehearsal is the newest
	// good one. From is the place from which it is taken.
	Archive, From string
	Options       tofu.PlanOptions // of the plan afterwards, without Out
	// Scratch is a private directory for what must not outlive the run.
	Scratch string
	Run     string // for people, in the journal
}

// Restored is what is known after a restore, failed ones too.
type Restored struct {
	Archive string
	// Serial is that of the state as it is now; 0 if nothing was written.
	Serial uint64
	// Before and After are the archives of what was there and of what is there
	// now. KeptPath is what was there and was no state.
	Before, After *tfstate.Backup
	KeptPath      string
	Drift         *tfplan.Drift
}

// Restore puts the state of an archive into its place again: after all guards,
// after a backup of what is there, under OpenTofu's own lock, with a serial
// that no state of this stack ever had, so that no plan from before fits. Then
// it archives the state and looks at the world.
func (s *Stack) Restore(ctx context.Context, req RestoreRequest) (*Restored, error) {
	out := &Restored{Archive: req.Archive}
	unlock, err := s.holdRestores(ctx)
	if err != nil {
		return out, err
	}
	defer unlock()
	s.restoring = true
	if err := s.open(ctx, s.accepts("vanished")); err != nil {
		return out, err
	}
	archive, live, serial, err := s.mayRestore(ctx, req)
	if err != nil {
		return out, err
	}
	if err := s.backupBefore(ctx, live, out); err != nil {
		return out, err
	}
	if err := s.overwrite(ctx, req, archive, live, serial); err != nil {
		return out, err
	}
	now, err := tfstate.Inspect(ctx, s.source)
	if err != nil {
		return out, err
	}
	// A push counts the serial up once more.
	want := archive.Manifest.State
	if now.Absent || now.Broken != nil || now.Serial < serial || now.Lineage != want.Lineage || !want.Encrypted && !now.Encrypted && now.Instances != want.Instances {
		return out, verdict.Refuse("restored", fmt.Sprintf("the state of %s with serial %d", req.Archive, serial), describe(now), "somebody wrote it meanwhile: look at the state, and restore again")
	}
	out.Serial = now.Serial
	s.Report.Prove("restored", fmt.Sprintf("the state of %s with a serial above all others", req.Archive), describe(now))
	return out, errors.Join(s.backupRestored(ctx, now, out), s.refresh(ctx, req, out))
}

func (s *Stack) accepts(guard string) bool { return slices.Contains(s.Archives.Accept, guard) }

// mayRestore answers all that must hold before anything is changed, and says
// all that does not at once.
func (s *Stack) mayRestore(ctx context.Context, req RestoreRequest) (archive *tfstate.Opened, live tfstate.Live, serial uint64, err error) {
	var errs []error
	if err := s.noApplyRuns(); err != nil {
		errs = append(errs, err)
	}
	history, err := s.Archives.History(ctx)
	errs = append(errs, err)
	archive, err = s.Archives.Open(ctx, req.Archive, req.From)
	errs = append(errs, err)
	live, err = tfstate.Inspect(ctx, s.source)
	if verdict.Has(err, tfstate.Unreadable) {
		err = verdict.CannotTell(tfstate.Unreadable, "the state in "+s.source.String()+" to be read", errors.New(verdict.ChecksOf(err)[0].Got),
			"mend the connection; if what the backend holds is damaged, keep a copy of it, remove it there, and run again with accept_state: vanished")
	}
	if errs = append(errs, err); errors.Join(errs...) != nil {
		return nil, live, 0, errors.Join(errs...)
	}
	m := archive.Manifest
	s.Report.Prove("archive", "the archive "+req.Archive+", read to its end and opened with the key",
		fmt.Sprintf("%s: serial %d, lineage %s, %s", archive.Where, m.State.Serial, m.State.Lineage, m.Reason))
	if err := s.fits(m, live, history.Newest); err != nil {
		return nil, live, 0, err
	}
	return archive, live, max(live.Serial, history.Serial, m.State.Serial) + 1, nil
}

// fits holds the archive against what is there, or was last.
func (s *Stack) fits(m *tfstate.Manifest, live tfstate.Live, newest *tfstate.Manifest) error {
	var errs []error
	guard := func(name, wanted, got, hint string) {
		c := verdict.Check{ID: "state-" + name, Verdict: verdict.Disproven, Wanted: wanted, Got: got, Hint: hint + "; if it is meant to be so, set accept_state: " + name + " for this one run"}
		switch {
		case s.accepts(name):
			c.Waived = "accept_state: " + name
		case s.halfway != nil && s.halfway.Archive == m.Name:
			c.Waived = "the restore of it that was killed"
		default:
			errs = append(errs, &verdict.Refusal{Check: c})
			return
		}
		s.Report.Add(c)
	}
	lineage := live.Lineage
	if live.Absent {
		guard("vanished", "a state to restore over", "none in "+s.source.String(), "check path, workspace and backend_config: a mistyped one shows no state either")
	}
	if live.Absent || live.Broken != nil {
		lineage = m.State.Lineage
		if newest != nil { // none, if all there is could not be written
			lineage = newest.State.Lineage
		}
	}
	if lineage != m.State.Lineage {
		guard("lineage", fmt.Sprintf("an archive of the lineage %q", lineage), fmt.Sprintf("%q", m.State.Lineage), "it is an archive of another state")
	}
	return errors.Join(errs...)
}

// noApplyRuns refuses while an apply of this stack goes on: a backend without
// locks would not.
func (s *Stack) noApplyRuns() error {
	records, err := uncollected(s.applies())
	for _, r := range records {
		alive, aliveErr := r.alive()
		if err = errors.Join(err, aliveErr); alive {
			return verdict.Refuse("state-locked", "no apply of this stack", fmt.Sprintf("one that %s began at %s still runs", r.Run, r.Created.Format(time.RFC3339)), "wait for its end; tofu-apply reports it")
		}
	}
	return err
}

// backupBefore archives what is to be overwritten. What is no state can't be
// an archive, and must not stop the restore that is to mend it: it is kept as
// it is, sealed for the same keys.
func (s *Stack) backupBefore(ctx context.Context, live tfstate.Live, out *Restored) error {
	switch {
	case live.Absent:
		return nil
	case live.Broken != nil && live.Size == 0:
		s.Report.Add(verdict.Check{ID: "backup-before", Verdict: verdict.Proven, Wanted: "what is there to be kept", Got: "nothing is: 0 bytes"})
		return nil
	case live.Broken != nil:
		path, err := s.Archives.Keep(ctx, s.source, filepath.Join(s.Dir, "broken"))
		if err != nil {
			return err
		}
		out.KeptPath = path
		s.Report.Prove("backup-before", "what is there to be kept", fmt.Sprintf("it is no whole state (%v); its %d bytes are in %s, on the runner only", live.Broken, live.Size, path))
		return nil
	}
	archives := *s.Archives
	archives.Accept = tfstate.Guards // whatever is odd about it is why it is restored over
	b, err := archives.Make(ctx, s.source, tfstate.BeforeRestore)
	if err != nil {
		return err
	}
	if b.State.SHA256 != live.SHA256 {
		return verdict.Refuse("state-moved", "the state that was looked at: "+describe(live), tfplan.StateID(b.State).String(), "somebody wrote it meanwhile: find out who, then run again")
	}
	out.Before = b
	s.addBackup(b, "-before")
	return nil
}

func (s *Stack) addBackup(b *tfstate.Backup, suffix string) {
	for _, c := range b.Checks {
		c.ID += suffix
		s.Report.Add(c)
	}
}

// overwrite puts the state of the archive into its place.
func (s *Stack) overwrite(ctx context.Context, req RestoreRequest, archive *tfstate.Opened, live tfstate.Live, serial uint64) error {
	fill := func(w io.Writer) error { return archive.CopyWithSerial(ctx, w, serial) }
	file, local := s.source.(tfstate.File)
	if local && !filepath.IsAbs(archive.Manifest.Backend) { // else it was a file already
		fill = func(w io.Writer) error {
			n := tfstate.NewIndenter(w)
			return errors.Join(archive.CopyWithSerial(ctx, n, serial), n.Flush())
		}
	}
	// An encrypted state carries its serial inside as well: OpenTofu alone can
	// write another one.
	if archive.Manifest.State.Encrypted || local && live.Encrypted {
		path, written, err := s.convert(ctx, req, archive, serial, local)
		if err != nil {
			return err
		}
		defer os.Remove(path)
		serial = written
		fill = func(w io.Writer) error { return copyFile(w, path) }
	}
	if !local {
		return s.push(ctx, req, archive.Manifest, live, serial, fill)
	}
	return file.Replace(ctx, tfstate.Rewrite{
		Journal: s.journal(), Was: live, Serial: serial, Lineage: archive.Manifest.State.Lineage, Fill: fill, Archive: req.Archive, Run: req.Run,
	})
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// backupRestored archives the state as it is now.
func (s *Stack) backupRestored(ctx context.Context, now tfstate.Live, out *Restored) error {
	archives := *s.Archives
	if s.halfway != nil { // the last archive is of the empty state that made room
		archives.Accept = append(slices.Clone(archives.Accept), "lineage")
	}
	b, err := archives.Make(ctx, s.source, tfstate.AfterRestore)
	if err != nil {
		return err
	}
	out.After = b
	s.addBackup(b, "-after")
	if b.State.SHA256 != now.SHA256 {
		return verdict.Refuse("state-moved", "the state that was restored: "+describe(now), tfplan.StateID(b.State).String(), "somebody wrote it since: look at its plan")
	}
	return nil
}

// refresh holds the restored state against the world. That the two differ is
// to be expected, and is shown; that nobody can say is not.
func (s *Stack) refresh(ctx context.Context, req RestoreRequest, out *Restored) error {
	dir, err := privateTemp(req.Scratch, "refresh-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	req.Options.RefreshOnly = true
	path := filepath.Join(dir, "refresh.tfplan")
	if _, err := s.makePlan(ctx, req.Options, path); err != nil {
		return err
	}
	found, err := readShown(ctx, s.CLI, path, tfplan.ReadDrift)
	if err != nil {
		return verdict.CannotTell("plan-failed", "a plan that can be read", err, "the state was restored; look at it by hand: tofu plan -refresh-only")
	}
	found.Stack, out.Drift = s.Name, found
	s.Report.Prove("refresh", "the restored state, held against the world", found.Headline())
	return nil
}

func describe(l tfstate.Live) string {
	switch {
	case l.Absent:
		return "no state"
	case l.Broken != nil:
		return "no whole state: " + l.Broken.Error()
	}
	return tfplan.StateID{SHA256: l.SHA256, Serial: l.Serial, Lineage: l.Lineage}.String()
}
