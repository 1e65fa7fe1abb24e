package stacks

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"edge-actions/internal/files"
	"edge-actions/internal/stack"
	"edge-actions/internal/tfplan"
)

// Plan plans every stack, with a backup and a receipt each, and sets the
// outputs. allow are the deletions that are allowed, by stack.
func (r *Run) Plan(ctx context.Context, req stack.PlanRequest, allow map[string][]string) error {
	results, err := r.Each(ctx, Work{Verb: "planned", Do: func(ctx context.Context, t *Task) error {
		s, err := t.Open()
		if err != nil {
			return err
		}
		req := req
		if !r.Single {
			req.OutDir = filepath.Join(req.OutDir, t.Name)
			req.Guard.Allow = allow[t.Name]
		}
		planned, err := s.Plan(ctx, req)
		t.Result.planned(planned)
		if planned.Plan != nil {
			fence := t.Fence("plan")
			fmt.Fprint(fence, planned.Plan.Text())
			fence.Close()
		}
		return err
	}})
	if results == nil {
		return err
	}
	r.planOutputs(results)
	return r.finish(results, "plan", err)
}

// planOutputs sets the numbers of all stacks together, and of a single one
// what its apply needs.
func (r *Run) planOutputs(results []*Result) {
	var sum tfplan.Counts
	changes, planned := false, false
	for _, one := range results {
		if one.Counts == nil {
			continue
		}
		planned, changes = true, changes || *one.Changes
		sum = sum.Plus(*one.Counts)
	}
	a := r.Action
	if planned || len(results) == 0 { // none: no stack has changed
		a.SetOutput("changes", strconv.FormatBool(changes))
		for name, value := range map[string]int{
			"to_add": sum.Add, "to_change": sum.Change, "to_destroy": sum.Destroy, "to_replace": sum.Replace,
			"to_move": sum.Move, "to_import": sum.Import, "to_forget": sum.Forget,
		} {
			a.SetOutput(name, strconv.Itoa(value))
		}
	}
	if r.Single {
		one := results[0]
		r.set(map[string]string{
			"plan_path": one.PlanPath, "plan_sha256": one.PlanSHA256, "receipt_path": one.ReceiptPath, "receipt_sha256": one.ReceiptSHA256,
		})
		r.backupOutputs(one)
	}
}

// set sets those of the outputs that there are.
func (r *Run) set(outputs map[string]string) {
	for name, value := range outputs {
		if value != "" {
			r.Action.SetOutput(name, value)
		}
	}
}

// backupOutputs sets what the actions say of the backup of a single stack.
func (r *Run) backupOutputs(one *Result) {
	r.set(map[string]string{
		"data_dir": one.DataDir, "backup_path": one.BackupPath, "backup_sha256": one.BackupSHA256,
		"state_serial": one.StateSerial, "state_lineage": one.StateLineage,
	})
	if one.BackupPath != "" {
		r.Action.SetOutput("offsite_path", one.OffsitePath)
	}
}

// finish writes the results, the summary and the comment. failed is the error
// of a single stack, which goes on.
func (r *Run) finish(results []*Result, what string, failed error) error {
	text := comment(results, what, r.Single)
	r.Text = text
	r.Action.Summarize(text)
	dir, err := r.Action.TempDir("comment")
	if err != nil {
		return errors.Join(failed, err)
	}
	path := filepath.Join(dir, "comment.md")
	if err := files.Write(path, []byte(text)); err != nil {
		return errors.Join(failed, err)
	}
	r.Action.SetOutput("comment_path", path)
	if r.Single {
		return failed
	}
	return errors.Join(failed, r.outputs(results))
}
