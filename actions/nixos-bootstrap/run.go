package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/bootstrap"
	"edge-actions/internal/cloud"
	"edge-actions/internal/ingress"
	"edge-actions/internal/nixos"
	"edge-actions/internal/verdict"
)

func run(ctx context.Context, a *action.Action) error { return through(ctx, a, closing, work) }

// closing is how much of a lease is kept for shutting the door.
const closing = 3 * time.Minute

// through opens a door, has something done while it is open, and shuts it
// whatever becomes of that.
func through(ctx context.Context, a *action.Action, closing time.Duration, work func(context.Context, *action.Action, *bootstrap.Job, string) error) (err error) {
	// Open until it is proven otherwise, whatever happens before it is looked at.
	a.SetOutput("public_ssh", "open")
	in := a.Inputs()
	mode := in.OneOf("mode", "apply", "plan")
	job := bootstrap.ReadJob(ctx, in, a)
	if err := in.Err(); err != nil {
		return err
	}
	a.Report.Subject = job.Door.Node
	release, err := job.Door.Keeper.Claim(job.Door.Node)
	if err != nil {
		return err
	}
	defer release()
	found, err := job.Tools.Find(ctx)
	a.Report.Add(found...)
	if err != nil {
		return err
	}
	dir, remove, err := a.SecretDir()
	if err != nil {
		return err
	}
	defer remove()
	job.Deploy.Dir, job.Door.Dir = dir, dir

	before := job.Door.Before(ctx)
	a.Report.Add(before...)
	if len(before) > 0 && verdict.Of(before) != verdict.Proven {
		return nil // nothing was opened, and the checks say what stands open
	}
	// Whatever happens from here on, and while there is a lease to do it in.
	limited, cancel := job.Door.Limit(ctx, closing)
	defer cancel()
	defer func() {
		if cause := context.Cause(limited); ctx.Err() == nil && verdict.Has(cause, ingress.Expired) && !verdict.Has(err, ingress.Expired) {
			err = errors.Join(err, cause)
		}
	}()
	defer func() {
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), closing)
		defer stop()
		checks, closed := job.Door.Close(last)
		a.Report.Add(checks...)
		if closed {
			a.SetOutput("public_ssh", "closed")
		}
	}()
	opened, err := job.Door.Open(limited)
	a.Report.Add(opened...)
	if err != nil {
		return err
	}
	job.Reach()
	return work(limited, a, job, mode)
}

// work is what is done while the door is open.
func work(ctx context.Context, a *action.Action, job *bootstrap.Job, mode string) error {
	p, err := job.Plan(ctx)
	if err != nil {
		return err
	}
	a.SetOutput("stage", string(p.Seen.Stage))
	a.SetOutput("host_key", p.Seen.HostKey())
	a.SetOutput("boot_id", p.Seen.BootID)
	a.SetOutput("changed", "false")
	a.Report.Add(p.Checks...)
	a.Logf("what is to be done with %s (%s, %s):", job.Door.Node, p.Seen.Stage, job.Target())
	for i, step := range p.Steps {
		a.Logf("  %d. %s", i+1, step)
	}
	if verdict.Of(p.Checks) != verdict.Proven {
		a.Logf("nothing is done: see the checks that are not proven")
		return nil
	}
	if mode == "plan" {
		a.Logf("nothing is done: mode is plan")
		return nil
	}
	r, checks, err := job.Run(ctx, p)
	a.Report.Add(checks...)
	a.SetOutput("changed", strconv.FormatBool(job.Changed || r != nil && r.Changed))
	if r == nil {
		return err
	}
	a.SetOutput("outcome", string(r.Outcome))
	if r.Outcome == nixos.Converged || r.Outcome == nixos.Unchanged {
		a.SetOutput("system_path", r.SystemPath)
		if r.Generation > 0 {
			a.SetOutput("generation", strconv.Itoa(r.Generation))
		}
	}
	return err
}

// post shuts the doors of runs that are dead: usually there is none, and after
// a cancel there is that of the step before it.
func post(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	keeper := bootstrap.ReadKeeper(in, a)
	if err := in.Err(); err != nil { // nobody knows then where to look
		return err
	}
	if !keeper.Left() {
		a.Report.Prove(ingress.Closed, "no door that the step left open", "none")
		return nil
	}
	c := cloud.Connect(ctx, in, cloud.ReadOptions(in, a))
	if err := in.Err(); err != nil {
		return err
	}
	keeper.Cloud = c
	checks := keeper.Orphans(ctx)
	if len(checks) == 0 {
		a.Report.Prove(ingress.Closed, "no door that a dead run left open", "none; what is remembered is of runs that live, and theirs to close")
	}
	a.Report.Add(checks...)
	return nil
}
