package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"edge-actions/internal/action"
	"edge-actions/internal/files"
	"edge-actions/internal/review"
	"edge-actions/internal/stack"
	"edge-actions/internal/stacks"
	"edge-actions/internal/tfplan"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
)

// work is what the inputs ask for.
type work struct {
	a          *action.Action
	config     *stack.Config
	choice     stacks.Choice
	plan       stack.PlanRequest
	drift      bool
	variables  string
	allowDrift []string
}

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	drift := in.OneOf("mode", "plan", "drift") == "drift"
	config, choice := stack.ReadConfig(a, in), stacks.ReadChoice(in)
	w := &work{a: a, config: config, choice: choice, drift: drift, plan: stack.PlanRequest{
		Fmt: in.Bool("fmt"), Validate: in.Bool("validate"), Guard: stack.ReadGuard(in), OutDir: in.RunnerPath("plan_dir"),
		Options: tofu.PlanOptions{
			Targets: in.Lines("target"), Excludes: in.Lines("exclude"), Replace: in.Lines("replace"),
			Parallelism: in.Int("parallelism", 1, 1000), LockTimeout: config.LockTimeout,
			Destroy: in.Bool("destroy"), RefreshDisabled: !in.Bool("refresh"), VarFiles: varFiles(a, in),
		},
	}}
	w.variables, w.allowDrift = in.Text("variables"), in.Lines("allow_drift")
	to := review.Read(in, a)
	check(in, config, choice, drift, w.plan.Options, w.allowDrift)
	if err := in.Err(); err != nil {
		return err
	}
	found := review.Finding{Kind: "plan", Name: config.Name(), Choice: strings.Join(choice.Patterns, "\n")}
	if drift {
		found.Kind = "drift"
	}
	var err error
	found.Markdown, err = w.do(ctx)
	found.Checks = append(slices.Clone(a.Report.Checks), verdict.ChecksOf(err)...)
	// After all else: what is not shown takes nothing of it back.
	return errors.Join(err, to.Show(ctx, found))
}

// do plans, or looks for drift, and returns what came of it in Markdown, as far
// as anything did.
func (w *work) do(ctx context.Context) (text string, err error) {
	secrets, remove, err := w.a.SecretDir()
	if err != nil {
		return "", err
	}
	defer remove()
	if w.variables != "" {
		path := filepath.Join(secrets, "variables.tfvars")
		if err := files.Write(path, []byte(w.variables+"\n")); err != nil {
			return "", err
		}
		w.plan.Options.VarFiles = append(w.plan.Options.VarFiles, path)
	}
	if w.plan.OutDir == "" {
		if w.plan.OutDir, err = w.a.TempDir("plan"); err != nil {
			return "", err
		}
	}
	r, err := w.choice.Find(ctx, w.a, w.config, secrets)
	if err != nil {
		return "", err
	}
	if w.drift {
		allow, err := r.Allowed("allow_drift", w.allowDrift)
		if err != nil {
			return "", err
		}
		err = r.Drift(ctx, stack.DriftRequest{Options: w.plan.Options, Allow: w.allowDrift, OutDir: w.plan.OutDir, Scratch: secrets}, allow)
		return r.Text, err
	}
	allow, err := r.Allowed("allow_destroy", w.plan.Guard.Allow)
	if err != nil {
		return "", err
	}
	err = r.Plan(ctx, w.plan, allow)
	return r.Text, err
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
