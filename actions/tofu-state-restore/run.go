package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/stack"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/verdict"
)

func run(ctx context.Context, a *action.Action) (err error) {
	defer func() {
		a.SetOutput("verdict", string(verdict.Of(slices.Concat(a.Report.Checks, verdict.ChecksOf(err)))))
	}()
	in := a.Inputs()
	config := stack.ReadRestore(a, in)
	if err := in.Err(); err != nil {
		return err
	}
	if config.Mode == stack.ModeList {
		return list(ctx, a, config)
	}
	s, remove, err := config.OpenRestore(ctx, a)
	if err != nil {
		return err
	}
	defer func() {
		if removed := remove(); removed != nil {
			err = errors.Join(err, verdict.CannotTell("cleaned-up", "nothing left of the state in clear", removed, "remove "+config.Request.Scratch))
		}
	}()
	if config.Mode == stack.ModeRehearse {
		return rehearse(ctx, a, s, config.Request)
	}
	return restore(ctx, a, s, config.Request)
}

func list(ctx context.Context, a *action.Action, config *stack.RestoreConfig) error {
	archives, err := config.OpenArchives(ctx, a)
	if err != nil {
		return err
	}
	all, err := archives.List(ctx, config.Request.From, config.Open, time.Now())
	if err != nil {
		return err
	}
	fence := a.Fence("archives")
	fmt.Fprint(fence, tfstate.Table(all))
	fence.Close()
	text, err := tfstate.ListJSON(all)
	if err != nil {
		return err
	}
	a.SetOutput("archives", text)
	good := ""
	for _, l := range all {
		a.Report.Add(verdict.About(l.Name, l.Checks)...)
		if good == "" && l.Good && l.Verdict == verdict.Proven {
			good = l.Name
		}
	}
	a.SetOutput("newest_good", good)
	if good == "" {
		return verdict.CannotTell("newest-good", fmt.Sprintf("a good archive among the newest %d", config.Open), errors.New("none that was opened"), "raise verify, or look at what is said of each")
	}
	a.Report.Prove("newest-good", "a good archive", good)
	return nil
}

func restore(ctx context.Context, a *action.Action, s *stack.Stack, req stack.RestoreRequest) error {
	res, err := s.Restore(ctx, req)
	a.SetOutput("archive", res.Archive)
	a.SetOutput("backup_path", res.KeptPath)
	if b := res.Before; b != nil {
		a.SetOutput("backup_path", b.Path)
		a.SetOutput("offsite_path", b.OffsitePath)
	}
	if res.Serial > 0 {
		a.SetOutput("serial", strconv.FormatUint(res.Serial, 10))
	}
	if res.After != nil {
		a.SetOutput("restored_path", res.After.Path)
	}
	if d := res.Drift; d != nil {
		fence := a.Fence("refresh")
		fmt.Fprint(fence, d.Text())
		fence.Close()
		a.Summarize(d.Markdown())
		a.SetOutput("drifted", strconv.FormatBool(len(d.Resources) > 0))
		a.SetOutput("drifted_resources", strconv.Itoa(len(d.Resources)))
	}
	return err
}

func rehearse(ctx context.Context, a *action.Action, s *stack.Stack, req stack.RestoreRequest) error {
	res, err := s.Rehearse(ctx, req)
	a.SetOutput("archive", res.Archive)
	if m := res.Manifest; m != nil {
		a.SetOutput("serial", strconv.FormatUint(m.State.Serial, 10))
		a.SetOutput("resources", strconv.Itoa(m.State.Resources))
	}
	if p := res.Plan; p != nil {
		fence := a.Fence("plan")
		fmt.Fprint(fence, p.Text())
		fence.Close()
		a.Summarize(p.Markdown())
		n := p.Counts()
		a.SetOutput("changes", strconv.FormatBool(res.Changed))
		for name, value := range map[string]int{"to_add": n.Add, "to_change": n.Change, "to_destroy": n.Destroy} {
			a.SetOutput(name, strconv.Itoa(value))
		}
	}
	return err
}
