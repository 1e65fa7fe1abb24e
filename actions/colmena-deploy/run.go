package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/fleet"
	"edge-actions/internal/nixos"
	"edge-actions/internal/node"
	"edge-actions/internal/verdict"
)

// goalBootstrap is the first deploy of a host.
const goalBootstrap = "bootstrap"

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	d := &fleet.Deployment{Spec: fleet.ReadSpec(in, a), Log: fleet.Log{Logf: a.Logf, Fence: a.Fence}}
	d.Expect, d.Policy = fleet.ReadChecks(in, node.Running())
	d.Times = nixos.Times{
		Confirm: in.Duration("confirm_timeout", 5*time.Second, 2*time.Hour), Activate: in.Duration("activate_timeout", time.Second, 2*time.Hour),
		Recover: in.Duration("recover_timeout", time.Second, 2*time.Hour),
	}
	if d.Times.Activate >= d.Times.Confirm && d.Times.Confirm > 0 {
		in.Wrong("activate_timeout", "less than confirm_timeout, "+d.Times.Confirm.String(), d.Times.Activate.String(), "leave time for the health checks")
	}
	d.Boot = in.Duration("boot_timeout", 0, time.Hour)
	goal := in.OneOf("goal", "switch", "boot", goalBootstrap)
	d.Goal = nixos.Goal(goal)
	if canary := in.Text("canary"); canary != "" && !slices.Contains(d.Spec.Nodes, canary) {
		in.Wrong("canary", fmt.Sprintf("one of the nodes %q", d.Spec.Nodes), fmt.Sprintf("%q", canary), "correct the input canary")
	}
	d.Canary, d.UploadKeys = in.Text("canary"), in.Bool("upload_keys")
	fleet.ReadAgeKey(in, d)
	tools := fleet.ReadHive(in, a, d)
	tools.Rebuild, d.Colmena.BuildOnTarget = goal == goalBootstrap, in.Bool("build_on_target")
	if err := in.Err(); err != nil {
		return err
	}
	a.Report.Subject = strings.Join(d.Spec.Nodes, ", ")
	found, err := tools.Find(ctx)
	a.Report.Add(found...)
	if err != nil {
		return err
	}
	dir, remove, err := a.SecretDir()
	if err != nil {
		return err
	}
	defer remove()
	d.Dir = dir
	deploy := d.Deploy
	if goal == goalBootstrap {
		deploy = d.Bootstrap
	}
	results, checks, err := deploy(ctx)
	a.Report.Add(checks...)
	for _, r := range results {
		a.Report.Add(verdict.About(r.Name, r.Checks)...)
	}
	publish(a, results)
	return err
}

// publish sets the outputs.
func publish(a *action.Action, results []*fleet.NodeResult) {
	if len(results) == 0 {
		return
	}
	encoded, err := json.Marshal(results)
	if err == nil {
		a.SetOutput("nodes", string(encoded))
	}
	a.SetOutput("outcome", string(fleet.Outcome(results)))
	a.SetOutput("changed", strconv.FormatBool(slices.ContainsFunc(results, func(r *fleet.NodeResult) bool { return r.Changed })))
	if len(results) > 1 {
		a.Summarize(fleet.Table(results))
		fence := a.Fence("")
		fmt.Fprint(fence, fleet.Text(results))
		fence.Close()
		return
	}
	r := results[0]
	a.SetOutput("system_path", r.SystemPath)
	a.SetOutput("previous_system_path", r.PreviousSystemPath)
	if r.Generation > 0 {
		a.SetOutput("generation", strconv.Itoa(r.Generation))
	}
}
