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

	"edge-actions/internal/files"
	"edge-actions/internal/tfplan"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
)

// ApplyRequest is what Apply is asked for.
type ApplyRequest struct {
	PlanPath, ReceiptPath, ReceiptSHA256 string
	Guard                                tfplan.Guard
	Parallelism                          int
	// Timeout is when tofu is asked to stop; Grace what it has to save the
	// state then.
	Timeout, Grace time.Duration
	Run            string // for people, in the record
}

// Outcome is how an apply ended.
type Outcome string

const (
	// Applied: this run applied the plan.
	Applied Outcome = "applied"
	// Recovered: an earlier run applied the plan and was killed before it could
	// say so; this one found it.
	Recovered Outcome = "recovered"
)

// ApplyResult is what is known after an apply, failed ones too.
type ApplyResult struct {
	Outcome Outcome
	Backup  *tfstate.Backup
	// ErroredPath is the state that tofu could not write to its backend.
	ErroredPath string
}

// Apply first finishes what an earlier, killed run has begun, then applies the
// plan if its receipt holds, and backs the state up in every case.
func (s *Stack) Apply(ctx context.Context, req ApplyRequest) (*ApplyResult, error) {
	res := &ApplyResult{}
	receipt, receiptErr := tfplan.ReadReceipt(req.ReceiptPath, req.ReceiptSHA256)
	if err := s.open(ctx, receiptErr == nil && receipt.State.Absent); err != nil {
		return res, errors.Join(receiptErr, err)
	}
	if receiptErr == nil && receipt.State.Absent {
		s.noneYet()
	}
	// Whatever is wrong with this plan: an apply that was begun comes first.
	if mine, err := s.finishEarlier(ctx, req, res); err != nil || mine {
		return res, err
	}
	if receiptErr != nil {
		return res, receiptErr
	}
	if err := s.check(ctx, receipt, req); err != nil {
		return res, err
	}
	r, err := claim(s.applies(), s.job(receipt, req), req.PlanPath)
	if errors.Is(err, errUsed) {
		return res, verdict.Refuse("plan-changed", "a plan that was not used yet", err.Error(), "run the plan step again and apply that plan")
	}
	if err != nil {
		return res, fmt.Errorf("recording the apply: %w", err)
	}
	os.Remove(req.PlanPath) // used up, and a secret; the record has its copy
	if err := r.spawn(append(s.CLI.Env, "TF_DATA_DIR="+s.CLI.DataDir), nil); err != nil {
		return res, verdict.CannotTell("apply-failed", "tofu to start", err, "nothing was changed; run the plan step again")
	}
	res.Outcome = Applied
	return res, s.follow(ctx, r, req, res, "")
}

func (s *Stack) applies() string { return filepath.Join(s.Dir, "applies") }

func (s *Stack) job(receipt *tfplan.Receipt, req ApplyRequest) job {
	dir := filepath.Join(s.applies(), req.ReceiptSHA256)
	args := []string{"apply", "-json", "-input=false", "-no-color", fmt.Sprintf("-lock-timeout=%s", s.LockTimeout)}
	if req.Parallelism > 0 {
		args = append(args, fmt.Sprintf("-parallelism=%d", req.Parallelism))
	}
	return job{
		Receipt: receipt, ReceiptSHA256: req.ReceiptSHA256, Run: req.Run, Created: time.Now().UTC(), Path: s.CLI.Path, Dir: s.CLI.Dir,
		Args: append(args, filepath.Join(dir, planCopy)), Timeout: req.Timeout, Grace: req.Grace,
	}
}

// check holds the plan against the world as it is now.
func (s *Stack) check(ctx context.Context, receipt *tfplan.Receipt, req ApplyRequest) error {
	lock, err := s.lockFileSHA256()
	if err != nil {
		return err
	}
	now, err := tfstate.Look(ctx, s.source)
	if err != nil {
		return err
	}
	err = receipt.Check(tfplan.World{
		PlanPath: req.PlanPath, State: tfplan.StateID(now), Stack: s.Name, Commit: s.Commit, TofuVersion: s.CLI.Version,
		LockFileSHA256: lock, Workspace: s.Workspace, Backend: s.backend.String(),
	})
	if err != nil {
		return err
	}
	s.Report.Prove("receipt", "the world for which the plan was made", receipt.State.String())
	if !receipt.State.Absent {
		// The archive is of exactly the state that is there now: the receipt
		// has just been held against it.
		if err := s.Archives.Verify(ctx, receipt.Backup.ID, receipt.Backup.SHA256); err != nil {
			return err
		}
		s.Report.Prove("backup-before", "an archive of the state before the apply", receipt.Backup.ID+" is whole")
	}
	plan, err := s.read(ctx, req.PlanPath)
	if err != nil {
		return verdict.CannotTell("plan-changed", "a plan that can be read", err, "run the plan step again")
	}
	if err := req.Guard.Check(plan); err != nil {
		return err
	}
	s.Report.Prove("protected", fmt.Sprintf("nothing protected is lost, at most %d deletions", req.Guard.MaxDestroy), plan.Counts().Headline())
	return nil
}

// finishEarlier reports the applies that a killed run left behind and backs
// the state up. mine is true if one of them was of this very plan.
func (s *Stack) finishEarlier(ctx context.Context, req ApplyRequest, res *ApplyResult) (mine bool, err error) {
	records, err := uncollected(s.applies())
	if err != nil {
		return false, err
	}
	for _, r := range records {
		s.Logf("found an apply that an earlier run (%s, %s) began and could not finish reporting", r.Run, r.Created.Format(time.RFC3339))
		if r.ReceiptSHA256 == req.ReceiptSHA256 {
			res.Outcome = Recovered
			return true, s.follow(ctx, r, req, res, "")
		}
		other := &ApplyResult{}
		if err := s.follow(ctx, r, req, other, "-earlier"); err != nil {
			res.Backup = other.Backup
			return false, err
		}
	}
	return false, nil
}

// follow shows what tofu says until it has ended, then backs the state up and
// closes the record. suffix tells the checks of another run's apply apart.
func (s *Stack) follow(ctx context.Context, r *record, req ApplyRequest, res *ApplyResult, suffix string) error {
	diagnostics, err := s.tail(ctx, r, req.Timeout+3*req.Grace)
	if err != nil {
		return err
	}
	told := there(r.file(toldFile))
	ended, err := r.ended()
	if err != nil {
		return err
	}
	if ended == nil { // else the supervisor did it
		if err := r.collectErrored(); err != nil {
			return err
		}
	}
	if _, err := os.Stat(r.file(erroredFile)); err == nil {
		res.ErroredPath = r.file(erroredFile)
	}
	failure := s.judge(ctx, r, ended, diagnostics, res)
	if failure == nil {
		s.Report.Prove("apply"+suffix, "tofu to apply the plan of "+r.Run, r.Receipt.Counts.Headline())
	}
	backupErr := s.backupAfter(ctx, r, res, suffix)
	if err := errors.Join(failure, afterApply(backupErr)); backupErr != nil {
		// Not closed: the next run tries the backup again. What is wrong with the
		// apply was said by then, and stops no other plan twice.
		return errors.Join(err, files.Write(r.file(toldFile), nil))
	}
	reason := verdict.Reason(failure)
	if err := writeJSON(r.file(collectedFile), map[string]any{"reason": reason, "backup": res.Backup.Path}); err != nil {
		return errors.Join(failure, err)
	}
	// What tofu printed may hold private values, and a killed supervisor could
	// not remove the plan.
	os.Remove(r.file(outputFile))
	os.Remove(r.file(planCopy))
	if failure != nil && told && suffix != "" {
		s.Report.Prove("apply"+suffix, "the failed apply of "+r.Run+" to be settled", "it was reported then ("+reason+"), and now the state is backed up")
		return nil
	}
	return failure
}

// backupAfter archives the state as the apply has left it, and beside it what
// tofu could not write.
func (s *Stack) backupAfter(ctx context.Context, r *record, res *ApplyResult, suffix string) error {
	archives := *s.Archives
	if r.Receipt.State.Absent {
		// The plan step was told that the stack is new; after a plan without
		// changes, or an apply that never began, it still is.
		archives.Accept = append(slices.Clone(archives.Accept), "new")
	}
	if res.ErroredPath != "" {
		// It may be ahead of the backend, or of another lineage: it is kept for
		// a person to look at and no later run compares with it.
		if err := tfstate.GiveLineage(res.ErroredPath); err != nil {
			return fmt.Errorf("reading the state that tofu could not write: %w", err)
		}
		errored := *s.Archives
		errored.Accept = tfstate.Guards
		b, err := errored.Make(ctx, tfstate.File{Path: res.ErroredPath, LockTimeout: s.LockTimeout}, tfstate.Errored)
		if err != nil {
			return err
		}
		s.Report.Prove("errored-state"+suffix, "the state that tofu could not write to be kept", b.Path)
	}
	b, err := archives.Make(ctx, s.source, tfstate.AfterApply)
	if err != nil {
		return err
	}
	res.Backup = b
	for _, c := range b.Checks {
		c.ID += "-after" + suffix
		s.Report.Add(c)
	}
	return nil
}

// tail shows the apply's messages until nobody runs it any more. When the step
// is cancelled it stops looking; the apply goes on.
func (s *Stack) tail(ctx context.Context, r *record, limit time.Duration) (errs []tofu.Diagnostic, err error) {
	w := s.Fence("tofu")
	defer func() { err = errors.Join(err, w.Close()) }()
	events := &tofu.Events{Handle: func(e tofu.Event) {
		if e.Diagnostic != nil {
			hidden := s.CLI.Hide(*e.Diagnostic)
			e.Diagnostic = &hidden
		}
		if e.Diagnostic != nil && e.Diagnostic.Severity == "error" {
			errs = append(errs, *e.Diagnostic)
		}
		switch {
		case e.Diagnostic != nil:
			fmt.Fprintln(w, *e.Diagnostic)
		case e.Message != "":
			fmt.Fprintln(w, e.Message)
		}
	}}
	var out *os.File
	defer func() { out.Close() }()
	deadline := time.Now().Add(limit)
	for {
		alive, err := r.alive()
		if err != nil {
			return errs, err
		}
		if out == nil {
			if out, err = os.Open(r.file(outputFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return errs, err
			}
		}
		if out != nil {
			if _, err := io.Copy(events, out); err != nil {
				return errs, err
			}
		}
		if !alive {
			return errs, nil
		}
		if time.Now().After(deadline) {
			return errs, verdict.CannotTell("interrupted", "the apply of "+r.Run+" to end", fmt.Errorf("it still runs after %s", limit), "look at the runner; the next run of this action takes it up")
		}
		select {
		case <-ctx.Done():
			return errs, verdict.CannotTell("interrupted", "the apply of "+r.Run+" to end", errors.New("the step was cancelled; the apply goes on by itself"), "run the workflow again: it waits for that apply and reports how it ended")
		case <-time.After(100 * time.Millisecond):
		}
	}
}
