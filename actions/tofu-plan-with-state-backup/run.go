package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"edge-actions/internal/action"
	"edge-actions/internal/files"
	"edge-actions/internal/stack"
	"edge-actions/internal/stacks"
	"edge-actions/internal/tfplan"
	"edge-actions/internal/tofu"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	drift := in.OneOf("mode", "plan", "drift") == "drift"
	config, choice := stack.ReadConfig(a, in), stacks.ReadChoice(in)
	req := stack.PlanRequest{
		Fmt: in.Bool("fmt"), Validate: in.Bool("validate"), Guard: stack.ReadGuard(in), OutDir: in.RunnerPath("plan_dir"),
		Options: tofu.PlanOptions{
			Targets: in.Lines("target"), Excludes: in.Lines("exclude"), Replace: in.Lines("replace"),
			Parallelism: in.Int("parallelism", 1, 1000), LockTimeout: config.LockTimeout,
			Destroy: in.Bool("destroy"), RefreshDisabled: !in.Bool("refresh"), VarFiles: varFiles(a, in),
		},
	}
	variables, allowDrift := in.Text("variables"), in.Lines("allow_drift")
	check(in, config, choice, drift, req.Options, allowDrift)
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
	r, err := choice.Find(ctx, a, config, secrets)
	if err != nil {
		return err
	}
	if drift {
		allow, err := r.Allowed("allow_drift", allowDrift)
		if err != nil {
			return err
		}
		return r.Drift(ctx, stack.DriftRequest{Options: req.Options, Allow: allowDrift, OutDir: req.OutDir, Scratch: secrets}, allow)
	}
	allow, err := r.Allowed("allow_destroy", req.Guard.Allow)
	if err != nil {
		return err
	}
	return r.Plan(ctx, req, allow)
}

// check records which inputs do not go together.
func check(in *action.Inputs, config *stack.Config, choice stacks.Choice, drift bool, o tofu.PlanOptions, allowDrift []string) {
	never := func(name string, set bool, with string) {
		if set {
			in.Wrong(name, "nothing with "+with, "a value", "leave it out, or run without "+with)
		}
	}
	if choice.Several() {
		config.CheckSeveral(in)
		for name, set := range map[string]bool{"target": len(o.Targets) > 0, "exclude": len(o.Excludes) > 0, "replace": len(o.Replace) > 0, "destroy": o.Destroy} {
			never(name, set, "stacks")
		}
	}
	if !drift {
		for _, name := range []string{"age_recipients", "offsite"} {
			if in.Text(name) == "" {
				in.Wrong(name, "a value, for the backup before the plan", "nothing", "set the input "+name)
			}
		}
		never("allow_drift", len(allowDrift) > 0, "mode: plan")
		return
	}
	never("replace", len(o.Replace) > 0, "mode: drift")
	never("destroy", o.Destroy, "mode: drift")
	never("refresh", o.RefreshDisabled, "mode: drift")
	for _, line := range allowDrift {
		address := line
		if choice.Several() { // it begins with a stack
			_, address, _ = strings.Cut(line, " ")
		}
		for range tfplan.BadAddresses([]string{address}) {
			in.Wrong("allow_drift", "one address a line, with * for a part of a name", fmt.Sprintf("%q", line), "correct the line")
		}
	}
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
