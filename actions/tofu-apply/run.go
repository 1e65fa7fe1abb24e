package main

import (
	"context"
	"fmt"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/stack"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	config := stack.ReadConfig(a, in)
	req := stack.ApplyRequest{
		PlanPath: in.Text("plan_path"), ReceiptPath: in.Text("receipt_path"), ReceiptSHA256: in.SHA256("receipt_sha256"),
		Guard: stack.ReadGuard(in), Parallelism: in.Int("parallelism", 1, 1000),
		Timeout: in.Duration("apply_timeout", time.Second, 24*time.Hour), Grace: in.Duration("stop_grace", time.Second, time.Hour),
		Run: fmt.Sprintf("run %s, attempt %s", a.Getenv("GITHUB_RUN_ID"), a.Getenv("GITHUB_RUN_ATTEMPT")),
	}
	if err := in.Err(); err != nil {
		return err
	}
	secrets, remove, err := a.SecretDir()
	if err != nil {
		return err
	}
	defer remove()
	s, err := config.Open(ctx, a, secrets)
	if err != nil {
		return err
	}
	res, err := s.Apply(ctx, req)
	a.SetOutput("outcome", string(res.Outcome))
	a.SetOutput("errored_state_path", res.ErroredPath)
	stack.SetBackupOutputs(a, s, res.Backup)
	return err
}
