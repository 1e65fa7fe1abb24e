package main

import (
	"context"
	"fmt"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/stack"
	"edge-actions/internal/stacks"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	config, receipts, atOnce := stack.ReadConfig(a, in), stacks.ReadReceipts(in), in.Int("stacks_at_once", 1, 64)
	req := stack.ApplyRequest{
		PlanPath: in.Text("plan_path"), ReceiptPath: in.Text("receipt_path"), ReceiptSHA256: in.SHA256("receipt_sha256"),
		Guard: stack.ReadGuard(in), Parallelism: in.Int("parallelism", 1, 1000),
		Timeout: in.Duration("apply_timeout", time.Second, 24*time.Hour), Grace: in.Duration("stop_grace", time.Second, time.Hour),
		Run: fmt.Sprintf("run %s, attempt %s", a.Getenv("GITHUB_RUN_ID"), a.Getenv("GITHUB_RUN_ATTEMPT")),
	}
	for _, name := range []string{"plan_path", "receipt_path", "receipt_sha256"} {
		switch given := in.Text(name) != ""; {
		case !given && !receipts.Several():
			in.Wrong(name, "a value, or receipts for several stacks", "nothing", "set the input "+name)
		case given && receipts.Several():
			in.Wrong(name, "nothing with receipts", "a value", "leave one of them out")
		}
	}
	if receipts.Several() {
		config.CheckSeveral(in)
	}
	if err := in.Err(); err != nil {
		return err
	}
	secrets, remove, err := a.SecretDir()
	if err != nil {
		return err
	}
	defer remove()
	r, planned, err := receipts.Run(a, config, secrets, atOnce)
	if err != nil {
		return err
	}
	allow, err := r.Allowed("allow_destroy", req.Guard.Allow)
	if err != nil {
		return err
	}
	return r.Apply(ctx, req, planned, allow)
}
