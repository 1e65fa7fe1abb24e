package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/testing/realtools"

	"github.com/google/go-cmp/cmp"
)

// newBareJob is a job with right inputs, and with no host behind them.
func newBareJob(t *testing.T) *job {
	t.Helper()
	j := &job{t: t, workspace: t.TempDir(), temp: t.TempDir(), home: t.TempDir()}
	key := filepath.Join(j.home, "identity")
	realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	j.inputs = map[string]string{"nodes": "edge-1, edge-2", "identity_file": key, "host_keys": "edge-1 " + strings.TrimSpace(read(t, key+".pub")), "tailnet": "off"}
	j.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + j.home, "RUNNER_TEMP=" + j.temp, "GITHUB_WORKSPACE=" + j.workspace, "GITHUB_OUTPUT=" + filepath.Join(j.temp, "output")}
	return j
}

// Every input has a value that is wrong, and the message names the input and
// the way out. Nobody is called.
func TestWrongInputs(t *testing.T) {
	tried := map[string]bool{}
	for _, tt := range []struct{ input, value, wanted string }{
		{"path", "nowhere", "a directory in the checkout"},
		{"config", "-f x", "a file or a flake"},
		{"nodes", "", "the names of the nodes, or a handoff"},
		{"nodes", "edge-*", "no pattern"},
		{"nodes", "@all", "no @tag"},
		{"nodes", "edge-1 edge-1", "each node once"},
		{"handoff_path", "handoff.json", "an absolute path"},
		{"handoff_sha256", "abc", "64 lower-case hex digits"},
		{"handoff_signer", "ssh-ed25519 x", "the handoff that handoff_sha256 or handoff_signer is of"},
		{"hosts", "edge-1 10.0.0.1", "NODE=VALUE"},
		{"hosts", "edge-1=a b", "no host name or address"},
		{"hosts", "edge-9=10.0.0.1", "names among the nodes"},
		{"host_keys", "edge-1 ssh-ed25519 nonsense", "NODE ssh-ed25519 AAAA…"},
		{"machine_ids", "edge-1=xyz", "no machine id"},
		{"user", "a b", "the name of a login user"},
		{"identity_file", "/nowhere", "outside the checkout"},
		{"identity_file", "identity", "is not absolute"},
		{"ssh_config", "/nowhere", "a file on the runner"},
		{"known_hosts", "/nowhere", "a file on the runner"},
		{"connect_timeout", "20", "with its unit"},
		{"max_parallel", "0", "a whole number from 1"},
		{"tailnet", "maybe", "one of required, off"},
		{"tailscale_path", "/nowhere/tailscale", "the command line of Tailscale"},
		{"key_margin", "a week", "with its unit"},
		{"goal", "test", "one of switch, boot, bootstrap"},
		{"canary", "edge-3", "one of the nodes"},
		{"confirm_timeout", "1s", "a time from 5s"},
		{"activate_timeout", "10m", "less than confirm_timeout"},
		{"recover_timeout", "x", "with its unit"},
		{"eval_timeout", "0", "with its unit"},
		{"build_timeout", "x", "with its unit"},
		{"age_key_file", "/nowhere", "a file that only the runner's user can read"},
		{"age_key_file", "IDENTITY", "a file with one private age key"},
		{"age_recipient", "age1x", "a public age key"},
		{"age_key_replace", "yes", "one of true, false"},
		{"upload_keys", "yes", "one of true, false"},
		{"build_on_target", "1", "one of true, false"},
		{"impure", "1", "one of true, false"},
		{"nix_options", "--max-jobs 1", "lines NAME VALUE"},
		{"colmena_path", "/nowhere/colmena", "colmena on PATH"},
		{"colmena_version", "newest", "a version constraint"},
		{"nix_version", "newest", "a version constraint"},
		{"require", "no-such-check", "ids of checks"},
		{"waive", "no-such-check", "ids of checks"},
		{"units", "k3s", "units with their types"},
		{"failed_units", "a/b.service", "units with their types"},
		{"containers", "HBBS", "names of containers"},
		{"deployments", "rustdesk", "namespace/name"},
		{"ports", "99999", "ports and ranges"},
		{"secrets", "../shadow", "paths below /run/secrets"},
		{"max_clock_skew", "1", "with its unit"},
		{"min_boot_free_mib", "x", "a whole number"},
		{"min_store_free_mib", "-1", "a whole number"},
	} {
		t.Run(tt.input+" "+tt.value, func(t *testing.T) {
			tried[tt.input] = true
			j := newBareJob(t)
			if j.inputs[tt.input] = strings.Replace(tt.value, "IDENTITY", j.inputs["identity_file"], 1); tt.input == "tailscale_path" {
				j.inputs["tailnet"] = "required"
			}
			r := j.do()
			id := "input-" + tt.input
			switch {
			case tt.input == "colmena_path":
				id = "tool-missing"
			case tt.input == "handoff_signer":
				id = "input-handoff_path"
			case tt.input == "handoff_path":
				id = "input-handoff_sha256" // nothing vouches for it yet
				tt.wanted = "the handoff's sha256"
			}
			if r.code != 1 || r.outputs["failure_reason"] != id || !strings.Contains(r.log, tt.wanted) || r.outputs["outcome"] != "" {
				t.Errorf("exit code %d, failure_reason %q, want %q with %q:\n%s", r.code, r.outputs["failure_reason"], id, tt.wanted, r.log)
			}
		})
	}
	meta, err := action.ParseMetadata(metadata)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(meta.Inputs)), slices.Sorted(maps.Keys(tried))); diff != "" {
		t.Errorf("inputs without a wrong value here (-action.yml +tried):\n%s", diff)
	}
}

// All that is wrong with the inputs is said at once.
func TestWrongInputsTogether(t *testing.T) {
	j := newBareJob(t)
	wrong := map[string]string{"nodes": "edge-*", "max_parallel": "0", "goal": "test", "ports": "x", "waive": "x", "confirm_timeout": "x", "user": "a b", "path": "nowhere"}
	maps.Copy(j.inputs, wrong)
	r := j.do()
	for name := range wrong {
		if !strings.Contains(r.log, "input-"+name) {
			t.Errorf("nothing about %s:\n%s", name, r.log)
		}
	}
}
