package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"edge-actions/internal/action"
	"edge-actions/internal/fleet"
	"edge-actions/internal/node"
	"edge-actions/internal/verdict"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	v := &fleet.Validation{Spec: fleet.ReadSpec(in, a), Log: fleet.Log{Logf: a.Logf, Fence: a.Fence}}
	v.Expect, v.Policy = fleet.ReadChecks(in, append(node.Running(), node.RootRefused))
	fleet.ReadExpected(in, v)
	v.KubeconfigPath, v.KubeconfigServer = in.RunnerPath("kubeconfig_path"), in.Text("kubeconfig_server")
	if v.KubeconfigPath != "" && len(v.Spec.Nodes) > 1 {
		in.Wrong("kubeconfig_path", "one node, whose kubeconfig it is", fmt.Sprintf("%d nodes", len(v.Spec.Nodes)), "run the step for one node")
	}
	if v.KubeconfigServer != "" {
		if v.KubeconfigPath == "" {
			in.Wrong("kubeconfig_path", "the file for the kubeconfig that kubeconfig_server is for", "nothing", "set the input kubeconfig_path")
		}
		if _, err := node.Kubeconfig(nil, v.KubeconfigServer); verdict.Has(err, "kubeconfig-server") {
			in.Wrong("kubeconfig_server", "a host name or an address, without a port", fmt.Sprintf("%q", v.KubeconfigServer), "correct the input kubeconfig_server")
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	a.Report.Subject = strings.Join(v.Spec.Nodes, ", ")
	results, checks := v.Validate(ctx)
	a.Report.Add(checks...)
	healthy := len(results) > 0
	for _, r := range results {
		a.Report.Add(verdict.About(r.Name, r.Checks)...)
		healthy = healthy && r.Verdict == verdict.Proven
	}
	encoded, err := json.Marshal(results)
	if err != nil {
		return err
	}
	a.SetOutput("nodes", string(encoded))
	a.SetOutput("healthy", strconv.FormatBool(healthy))
	if len(results) != 1 {
		return nil
	}
	r := results[0]
	a.SetOutput("system_path", r.SystemPath)
	a.SetOutput("boot_id", r.BootID)
	if r.Generation > 0 {
		a.SetOutput("generation", strconv.Itoa(r.Generation))
	}
	if r.Kubeconfig {
		a.SetOutput("kubeconfig_path", v.KubeconfigPath)
	}
	return nil
}
