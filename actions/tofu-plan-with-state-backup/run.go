package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"edge-actions/internal/action"
	"edge-actions/internal/files"
	"edge-actions/internal/stack"
	"edge-actions/internal/tofu"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	config := stack.ReadConfig(a, in)
	req := stack.PlanRequest{
		Fmt: in.Bool("fmt"), Validate: in.Bool("validate"), Guard: stack.ReadGuard(in), OutDir: in.RunnerPath("plan_dir"),
		Options: tofu.PlanOptions{
			Targets: in.Lines("target"), Excludes: in.Lines("exclude"), Replace: in.Lines("replace"),
			Parallelism: in.Int("parallelism", 1, 1000), LockTimeout: config.LockTimeout,
			Destroy: in.Bool("destroy"), RefreshDisabled: !in.Bool("refresh"), VarFiles: varFiles(a, in),
		},
	}
	variables := in.Text("variables")
	if err := in.Err(); err != nil {
		return err
	}
	secrets, remove, err := a.SecretDir()
	if err != nil {
		return err
	}
	defer remove()
	if variables != "" {
		path := filepath.Join(secrets, "variables.tfvars")
		if err := files.Write(path, []byte(variables+"\n")); err != nil {
			return err
		}
		req.Options.VarFiles = append(req.Options.VarFiles, path)
	}
	if req.OutDir == "" {
		if req.OutDir, err = a.TempDir("plan"); err != nil {
			return err
		}
	}
	s, err := config.Open(ctx, a, secrets)
	if err != nil {
		return err
	}
	planned, err := s.Plan(ctx, req)
	outputs(a, s, planned)
	return err
}

// varFiles returns the paths of the input var_files, each a private file that
// lies outside the checkout.
func varFiles(a *action.Action, in *action.Inputs) []string {
	paths := in.Lines("var_files")
	for _, path := range paths {
		if err := errors.Join(a.CheckLasting(path), files.CheckSecret(path)); err != nil {
			in.Wrong("var_files", "absolute paths of private files on the runner, one a line", fmt.Sprintf("%q, which %v", path, err), "correct the path or the mode; commit what is not secret as *.auto.tfvars")
		}
	}
	return paths
}

// outputs sets what is known, which after a failure is not everything.
func outputs(a *action.Action, s *stack.Stack, p *stack.Planned) {
	stack.SetBackupOutputs(a, s, p.Backup)
	if p.Plan != nil {
		fence := a.Fence("plan")
		fmt.Fprint(fence, p.Plan.Text())
		fence.Close()
		a.Summarize(p.Plan.Markdown())
		n := p.Plan.Counts()
		a.SetOutput("changes", strconv.FormatBool(p.Changed))
		for name, value := range map[string]int{
			"to_add": n.Add, "to_change": n.Change, "to_destroy": n.Destroy, "to_replace": n.Replace,
			"to_move": n.Move, "to_import": n.Import, "to_forget": n.Forget,
		} {
			a.SetOutput(name, strconv.Itoa(value))
		}
	}
	if p.PlanPath != "" {
		a.SetOutput("plan_path", p.PlanPath)
		a.SetOutput("plan_sha256", p.Receipt.Plan.SHA256)
		a.SetOutput("receipt_path", p.ReceiptPath)
		a.SetOutput("receipt_sha256", p.ReceiptSHA256)
	}
}
