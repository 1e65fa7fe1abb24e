package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/colmena"
	"edge-actions/internal/fleet"
	"edge-actions/internal/nixos"
	"edge-actions/internal/node"
	"edge-actions/internal/verdict"
	"edge-actions/internal/versions"

	"filippo.io/age"
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
	goal := in.OneOf("goal", "switch", "boot", goalBootstrap)
	d.Goal = nixos.Goal(goal)
	if canary := in.Text("canary"); canary != "" && !slices.Contains(d.Spec.Nodes, canary) {
		in.Wrong("canary", fmt.Sprintf("one of the nodes %q", d.Spec.Nodes), fmt.Sprintf("%q", canary), "correct the input canary")
	}
	d.Canary, d.UploadKeys = in.Text("canary"), in.Bool("upload_keys")
	readAgeKey(in, d)
	cli := &colmena.CLI{
		Dir: in.WorkspaceDir("path"), Config: in.Text("config"), Impure: in.Bool("impure"), BuildOnTarget: in.Bool("build_on_target"), NixOptions: nixOptions(in),
		EvalTimeout: in.Duration("eval_timeout", time.Second, 24*time.Hour), BuildTimeout: in.Duration("build_timeout", time.Second, 24*time.Hour),
		Env: colmena.Environ(a.Environ()),
	}
	d.Colmena = cli
	if strings.HasPrefix(cli.Config, "-") || strings.ContainsAny(cli.Config, "\n\t ") {
		in.Wrong("config", "a file or a flake, without blanks", fmt.Sprintf("%q", cli.Config), "correct the input config")
	}
	path, colmenaVersion, nixVersion := in.Text("colmena_path"), in.Constraint("colmena_version"), in.Constraint("nix_version")
	if err := in.Err(); err != nil {
		return err
	}
	a.Report.Subject = strings.Join(d.Spec.Nodes, ", ")
	if err := tools(ctx, a, cli, path, goal, colmenaVersion, nixVersion); err != nil {
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

func readAgeKey(in *action.Inputs, d *fleet.Deployment) {
	d.AgeRecipient, d.ReplaceAgeKey = in.Text("age_recipient"), in.Bool("age_key_replace")
	if _, err := age.ParseX25519Recipient(d.AgeRecipient); d.AgeRecipient != "" && err != nil {
		in.Wrong("age_recipient", "a public age key (age1…)", fmt.Sprintf("%q", d.AgeRecipient), "give what age-keygen -y prints for the node's key")
	}
	file := in.KeyFile("age_key_file")
	if file == "" {
		return
	}
	text, err := fleet.KeyFile(file)
	if err == nil {
		d.AgeKey, err = nixos.ParseAgeKey(text)
	}
	if err != nil {
		in.Wrong("age_key_file", "a file with one private age key", fmt.Sprintf("%q: %v", file, err), "make one with age-keygen -o FILE, and give its recipient to .sops.yaml")
		return
	}
	if d.AgeRecipient != "" && d.AgeRecipient != d.AgeKey.Recipient() {
		in.Wrong("age_key_file", "the key of "+d.AgeRecipient, "that of "+d.AgeKey.Recipient(), "give the key of the recipient that .sops.yaml names, or correct age_recipient")
	}
}

func nixOptions(in *action.Inputs) [][2]string {
	var out [][2]string
	for _, line := range in.Lines("nix_options") {
		name, value, _ := strings.Cut(line, " ")
		if strings.HasPrefix(name, "-") || value == "" {
			in.Wrong("nix_options", "lines NAME VALUE", fmt.Sprintf("%q", line), "give the name of the option of nix.conf, without dashes")
			continue
		}
		out = append(out, [2]string{name, strings.TrimSpace(value)})
	}
	return out
}

// tools finds the programs and holds their versions against the constraints.
func tools(ctx context.Context, a *action.Action, cli *colmena.CLI, path, goal string, colmenaVersion, nixVersion versions.Constraint) error {
	type tool struct {
		name, path, install string
		constraint          versions.Constraint
		found               *string
	}
	needed := []tool{
		{"colmena", path, "install Colmena on the runner (nix profile install nixpkgs#colmena), or set colmena_path", colmenaVersion, &cli.Path},
		{"nix-instantiate", "nix-instantiate", "install Nix on the runner (https://nixos.org/download)", nixVersion, new(string)},
	}
	if goal == goalBootstrap {
		needed = append(needed, tool{"nixos-rebuild", "nixos-rebuild", "install nixos-rebuild on the runner (nix profile install nixpkgs#nixos-rebuild)", versions.Constraint{}, &cli.Rebuild})
	}
	for _, t := range needed {
		found, err := exec.LookPath(t.path)
		if err == nil {
			found, err = filepath.Abs(found)
		}
		if err != nil {
			return verdict.CannotTell("tool-missing", t.name+" on PATH or at its path", err, t.install)
		}
		*t.found = found
		if t.name == "nixos-rebuild" { // it has no version of its own
			a.Report.Prove("tool-version", t.name, found)
			continue
		}
		version, err := colmena.CheckVersion(ctx, found, t.name, cli.Env, t.constraint, t.install)
		if err != nil {
			return err
		}
		a.Report.Prove("tool-version", t.name+" "+t.constraint.String(), t.name+" "+version)
	}
	return nil
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
