package main

import (
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/colmenatest"
	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/realtools"
)

// rightJob is a job with right inputs, and with no host behind them.
func rightJob(t *testing.T) *jobtest.Job {
	t.Helper()
	j := jobtest.New(t, metadata, run)
	key := filepath.Join(j.Home, "identity")
	realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	j.Inputs["nodes"], j.Inputs["identity_file"], j.Inputs["tailnet"] = "edge-1, edge-2", key, "off"
	j.Inputs["host_keys"] = "edge-1 " + strings.TrimSpace(read(t, key+".pub"))
	return j
}

func TestWrongInputs(t *testing.T) {
	key := rightJob(t).Inputs["identity_file"]
	jobtest.RefusesEach(t, rightJob, append([]jobtest.Wrong{
		{Input: "path", Value: "nowhere", Wanted: "a directory in the checkout"},
		{Input: "config", Value: "-f x", Wanted: "a file or a flake"},
		{Input: "goal", Value: "test", Wanted: "one of switch, boot, bootstrap"},
		{Input: "canary", Value: "edge-3", Wanted: "one of the nodes"},
		{Input: "confirm_timeout", Value: "1s", Wanted: "a time from 5s"},
		{Input: "activate_timeout", Value: "10m", Wanted: "less than confirm_timeout"},
		{Input: "boot_timeout", Value: "2h", Wanted: "0s to 1h0m0s"},
		{Input: "recover_timeout", Value: "x", Wanted: "with its unit"},
		{Input: "eval_timeout", Value: "0", Wanted: "with its unit"},
		{Input: "build_timeout", Value: "x", Wanted: "with its unit"},
		{Input: "age_key_file", Value: "/nowhere", Wanted: "a file that only the runner's user can read"},
		{Input: "age_key_file", Value: key, Wanted: "a file with one private age key"},
		{Input: "age_recipient", Value: "age1x", Wanted: "a public age key"},
		{Input: "age_key_replace", Value: "yes", Wanted: "one of true, false"},
		{Input: "upload_keys", Value: "yes", Wanted: "one of true, false"},
		{Input: "build_on_target", Value: "1", Wanted: "one of true, false"},
		{Input: "impure", Value: "1", Wanted: "one of true, false"},
		{Input: "nix_options", Value: "--max-jobs 1", Wanted: "lines NAME VALUE"},
		{Input: "colmena_path", Value: "/nowhere/colmena", Wanted: "colmena on PATH", Check: "tool-missing"},
		{Input: "colmena_version", Value: "newest", Wanted: "a version constraint"},
		{Input: "nix_version", Value: "newest", Wanted: "a version constraint"},
	}, jobtest.WrongWays...), jobtest.Wrong{Input: "nixos_rebuild_path"}) // which only a first deploy needs, below
}

func TestNoNixosRebuild(t *testing.T) {
	j := rightJob(t)
	bin := colmenatest.Install(t)
	j.Inputs["goal"], j.Inputs["colmena_path"], j.Inputs["nixos_rebuild_path"] = "bootstrap", filepath.Join(bin, "colmena"), "/nowhere/nixos-rebuild"
	r := j.Do()
	r.Want("", ": tool-missing=unproven")
	r.Says("/nowhere/nixos-rebuild", "set nixos_rebuild_path")
}

func TestWrongInputsTogether(t *testing.T) {
	jobtest.RefusesTogether(t, rightJob(t), map[string]string{
		"nodes": "edge-*", "max_parallel": "0", "goal": "test", "ports": "x", "waive": "x", "confirm_timeout": "x", "user": "a b", "path": "nowhere",
	})
}
