package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/files"
	"edge-actions/internal/tfplan"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
)

// PlanRequest is what Plan is asked for.
type PlanRequest struct {
	Fmt, Validate bool
	Options       tofu.PlanOptions // without Out
	Guard         tfplan.Guard
	// OutDir is where the plan and its receipt go, in a directory of their own.
	OutDir string
}

// Planned is a plan that may be applied. On an error it holds what was found
// until then, for the outputs.
type Planned struct {
	Plan     *tfplan.Plan
	Changed  bool
	PlanPath string
	Receipt  *tfplan.Receipt
	// ReceiptPath and ReceiptSHA256 are what the apply step asks for.
	ReceiptPath, ReceiptSHA256 string
	Backup                     *tfstate.Backup
}

// Plan backs the state up, plans and writes the receipt.
func (s *Stack) Plan(ctx context.Context, req PlanRequest) (*Planned, error) {
	out := &Planned{}
	if err := s.open(ctx, slices.Contains(s.Archives.Accept, "new")); err != nil {
		return out, err
	}
	if err := s.lint(ctx, req); err != nil {
		return out, err
	}
	backup, err := s.Archives.Make(ctx, s.source, tfstate.ForPlan)
	if err != nil {
		return out, err
	}
	out.Backup = backup
	s.Report.Add(backup.Checks...)
	if backup.State.Absent {
		s.noneYet()
	}

	if err := sweepPlans(req.OutDir); err != nil {
		return out, fmt.Errorf("sweeping old plans: %w", err)
	}
	dir, err := privateTemp(req.OutDir, planPrefix)
	if err != nil {
		return out, err
	}
	planPath := filepath.Join(dir, "plan.tfplan")
	if err := s.plan(ctx, req, out, planPath); err != nil {
		// A plan that may not be applied must not lie around: it holds secrets.
		return out, errors.Join(err, os.RemoveAll(dir))
	}
	out.PlanPath, out.ReceiptPath = planPath, filepath.Join(dir, "receipt.json")
	if err := out.Receipt.Write(out.ReceiptPath); err != nil {
		return out, err
	}
	out.ReceiptSHA256, err = files.SHA256(out.ReceiptPath)
	return out, err
}

const planPrefix = "plan-"

// planAge is how long a plan that nobody applied is kept in plan_dir: a plan
// holds secrets.
const planAge = 7 * 24 * time.Hour

// sweepPlans removes the plans that are older than planAge, and what a killed
// run left of one.
func sweepPlans(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, planPrefix+"*"))
	for _, path := range found {
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() && time.Since(info.ModTime()) > planAge {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}

// lint runs the checks that need no state.
func (s *Stack) lint(ctx context.Context, req PlanRequest) error {
	var errs []error
	for _, c := range []struct {
		id, wanted, hint string
		on               bool
		run              func(context.Context) error
	}{
		{"fmt", "formatted configuration", "run tofu fmt -recursive and commit, or set fmt: false", req.Fmt, s.CLI.Fmt},
		{"validate", "a valid configuration", "correct the configuration", req.Validate, s.CLI.Validate},
	} {
		if !c.on {
			s.Report.Add(verdict.Check{ID: c.id, Verdict: verdict.Unproven, Got: "not looked at", Waived: c.id + ": false"})
			continue
		}
		if _, err := s.fenced("tofu "+c.id, func() (bool, error) { return true, c.run(ctx) }); err != nil {
			errs = append(errs, verdict.Refuse(c.id, c.wanted, briefly(err), c.hint))
			continue
		}
		s.Report.Prove(c.id, c.wanted, "")
	}
	return errors.Join(errs...)
}

// briefly is the error without the child's words, which the log has already.
func briefly(err error) string {
	if code := command.Code(err); code >= 0 {
		return fmt.Sprintf("exit code %d, see the lines above", code)
	}
	return err.Error()
}

// plan makes the plan file and fills in what is known of it.
func (s *Stack) plan(ctx context.Context, req PlanRequest, out *Planned, planPath string) error {
	changed, err := s.makePlan(ctx, req.Options, planPath)
	if err != nil {
		return err
	}
	out.Changed = changed
	if out.Plan, err = s.read(ctx, planPath); err != nil {
		return verdict.CannotTell("plan-failed", "a plan that can be read", err, "look at the plan by hand: tofu plan")
	}
	counts := out.Plan.Counts()
	if !changed && counts.Any() {
		return verdict.Refuse("plan-failed", "one answer from tofu", fmt.Sprintf("exit code 0, no changes, and a plan with changes (%s)", counts.Headline()), "look for a wrapper around tofu that changes its exit code")
	}
	if err := req.Guard.Check(out.Plan); err != nil {
		return err
	}
	s.Report.Prove("protected", fmt.Sprintf("nothing protected is lost, at most %d deletions", req.Guard.MaxDestroy), counts.Headline())
	return s.receipt(ctx, out, planPath, counts)
}

// makePlan makes the plan file, once the state is free.
func (s *Stack) makePlan(ctx context.Context, o tofu.PlanOptions, planPath string) (changed bool, err error) {
	o.Out = planPath
	changed, warnings, err := s.CLI.Plan(ctx, o)
	if verdict.Has(err, "state-locked", "plan-failed") && s.unreachable(ctx) {
		s.warn(warnings)
		return false, verdict.CannotTell(tfstate.Unreadable, "a plan with the state in "+s.source.String(), errors.New(verdict.ChecksOf(err)[0].Got), "see whether the backend answers and takes the credentials, then run again; nothing was changed")
	}
	// OpenTofu waits only for a holder that shows an ID, and there is a moment
	// at each end of every lock in which none does.
	for start := time.Now(); verdict.Has(err, "state-locked") && time.Since(start) < s.LockTimeout && ctx.Err() == nil; {
		time.Sleep(200 * time.Millisecond)
		changed, warnings, err = s.CLI.Plan(ctx, o)
	}
	s.warn(warnings)
	return changed, err
}

func (s *Stack) read(ctx context.Context, planPath string) (*tfplan.Plan, error) {
	return readShown(ctx, s.CLI, planPath, tfplan.ReadJSON)
}

// receipt ties the plan to the state. The state is looked at again: it must
// still be the one that was archived before the plan was made.
func (s *Stack) receipt(ctx context.Context, out *Planned, planPath string, counts tfplan.Counts) error {
	now, err := tfstate.Look(ctx, s.source)
	if err != nil {
		return err
	}
	if now != out.Backup.State {
		return verdict.Refuse("state-moved", "the state to stay as it was archived: "+tfplan.StateID(out.Backup.State).String(), tfplan.StateID(now).String(), "another run wrote it during the plan; run again")
	}
	r := &tfplan.Receipt{
		Created: time.Now().UTC(), Stack: s.Name, State: tfplan.StateID(now), Commit: s.Commit, TofuVersion: s.CLI.Version,
		Workspace: s.Workspace, Backend: s.backend.String(), Counts: counts, NoChanges: !out.Changed,
	}
	if r.Plan.SHA256, err = files.SHA256(planPath); err != nil {
		return err
	}
	if r.LockFileSHA256, err = s.lockFileSHA256(); err != nil {
		return err
	}
	if m := out.Backup.Manifest; m != nil {
		r.Backup.ID, r.Backup.SHA256 = m.Name, m.Archive.SHA256
	}
	out.Receipt = r
	s.Report.Prove("plan", "a plan for the state that was archived", fmt.Sprintf("%s; %s", counts.Headline(), r.State))
	return nil
}

func (s *Stack) warn(warnings []tofu.Diagnostic) {
	if len(warnings) == 0 {
		return
	}
	w := s.Fence("tofu")
	defer w.Close()
	for _, d := range warnings {
		fmt.Fprintln(w, d)
	}
}
