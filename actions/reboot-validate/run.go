package main

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/fleet"
	"edge-actions/internal/node"
	"edge-actions/internal/verdict"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	r := &fleet.Reboot{Validation: fleet.Validation{Spec: fleet.ReadSpec(in, a), Log: fleet.Log{Logf: a.Logf, Fence: a.Fence}}}
	r.Expect, r.Policy = fleet.ReadChecks(in, append(node.AfterReboot(), node.RootRefused))
	fleet.ReadExpected(in, &r.Validation)
	r.Shutdown, r.Boot = in.Duration("shutdown_timeout", time.Second, time.Hour), in.Duration("boot_timeout", time.Second, 2*time.Hour)
	r.Ready, r.Stable = in.Duration("ready_timeout", time.Second, 2*time.Hour), in.Duration("stable_for", time.Second, time.Hour)
	if err := in.Err(); err != nil {
		return err
	}
	a.Report.Subject = strings.Join(r.Spec.Nodes, ", ")
	results, checks := r.Reboot(ctx)
	a.Report.Add(checks...)
	for _, res := range results {
		a.Report.Add(verdict.About(res.Name, res.Checks)...)
	}
	return publish(a, results)
}

func publish(a *action.Action, results []*fleet.RebootResult) error {
	encoded, err := json.Marshal(results)
	if err != nil {
		return err
	}
	a.SetOutput("nodes", string(encoded))
	outcome := fleet.Proven
	for _, r := range results {
		if r.Outcome != fleet.Proven {
			outcome = r.Outcome
			break
		}
	}
	if outcome == fleet.Untouched {
		outcome = fleet.Refused
	}
	a.SetOutput("outcome", outcome)
	if len(results) != 1 {
		return nil
	}
	r := results[0]
	a.SetOutput("system_path", r.SystemPath)
	a.SetOutput("boot_id", r.BootID)
	for name, seconds := range map[string]float64{
		"down_seconds": r.DownSeconds, "ssh_seconds": r.SSHSeconds, "node_ready_seconds": r.NodeReadySeconds, "workload_ready_seconds": r.WorkloadReadySeconds,
	} {
		if seconds > 0 {
			a.SetOutput(name, strconv.FormatFloat(seconds, 'f', 1, 64))
		}
	}
	return nil
}
