package stacks

import (
	"context"
	"errors"
	"fmt"

	"edge-actions/internal/stack"
	"edge-actions/internal/tfplan"
	"edge-actions/internal/verdict"
)

// Nothing is the outcome of a stack whose plan has no changes: it is not
// applied.
const Nothing = "nothing"

// Apply applies the plans of every stack, each before those that come after
// it, and sets the outputs. planned are the results of the plan step by the
// stack's name; allow are the deletions that are allowed, by stack.
func (r *Run) Apply(ctx context.Context, req stack.ApplyRequest, planned map[string]*Result, allow map[string][]string) error {
	results, err := r.Each(ctx, Work{Verb: "applied", Do: func(ctx context.Context, t *Task) error {
		req := req
		if !r.Single {
			p := planned[t.Name]
			if p.Verdict != verdict.Proven || p.ReceiptPath == "" {
				return verdict.CannotTell("not-planned", "a plan that holds", fmt.Errorf("the plan step says %s %s", p.Verdict, p.FailureReason), "mend it and run the plan step again")
			}
			req.PlanPath, req.ReceiptPath, req.ReceiptSHA256 = p.PlanPath, p.ReceiptPath, p.ReceiptSHA256
			req.Guard.Allow = allow[t.Name]
			t.Result.Changes, t.Result.Counts = p.Changes, p.Counts
			if nothing, err := r.nothing(t, req); nothing || err != nil {
				return err
			}
		}
		s, err := t.Open()
		if err != nil {
			return err
		}
		res, err := s.Apply(ctx, req)
		t.Result.Outcome, t.Result.ErroredPath = string(res.Outcome), res.ErroredPath
		t.Result.backup(res.Backup)
		return err
	}})
	if results == nil {
		return err
	}
	if r.Single {
		one := results[0]
		r.Action.SetOutput("outcome", one.Outcome)
		r.Action.SetOutput("errored_state_path", one.ErroredPath)
		r.backupOutputs(one)
		return err
	}
	r.Action.Summarize(comment(results, "apply", false))
	return errors.Join(err, r.outputs(results))
}

// nothing proves that a stack has nothing to apply: its receipt says so, it is
// of this stack and this commit, and no earlier apply waits to be taken up.
// Whatever is wrong with the receipt, the apply itself says.
func (r *Run) nothing(t *Task, req stack.ApplyRequest) (bool, error) {
	receipt, err := tfplan.ReadReceipt(req.ReceiptPath, req.ReceiptSHA256)
	if err != nil || !receipt.Nothing() || receipt.Stack != t.Name || receipt.Commit != r.Action.Getenv("GITHUB_SHA") {
		return false, nil
	}
	if pending, err := t.Config.Pending(); pending || err != nil {
		return false, err
	}
	t.Result.Outcome = Nothing
	t.Report.Prove("apply", "the plan to be applied", "nothing to apply: its receipt says that nothing changes")
	return true, nil
}
