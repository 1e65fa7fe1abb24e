package main

import (
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/colmenatest"
	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/testing/realtools"
)

// rightJob is a job with right inputs, and with no host behind them.
func rightJob(t *testing.T) *jobtest.Job {
	t.Helper()
	j := jobtest.New(t, metadata, run)
	key := filepath.Join(j.Home, "identity")
	realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	cloud := ocitest.New(t)
	config, err := cloud.WriteConfig(j.Home)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(j.Workspace, "nixos-infect"), "true\n")
	for name, value := range map[string]string{
		"node": "edge-1", "identity_file": key, "host_keys": "edge-1 " + strings.TrimSpace(read(t, key+".pub")), "method": "nixos-infect", "instance_id": "ocid1.instance.oc1..x",
		"oci_config_file": config, "oci_endpoint": cloud.URL, "infect_script": "nixos-infect", "infect_sha256": "a17fcf0a2f50e2d495e4f90ce263410edc183add6c62699a2facbccf60410f74",
		"runner_dir": filepath.Join(j.Home, "state"),
	} {
		j.Inputs[name] = value
	}
	return j
}

func TestWrongInputs(t *testing.T) {
	wrong := []jobtest.Wrong{
		{Input: "mode", Value: "dry", Wanted: "one of apply, plan"},
		{Input: "method", Value: "kickstart", Wanted: "one of nixos-infect, nixos-anywhere, adopt"},
		{Input: "node", Value: "edge-1 edge-2", Wanted: "one node"},
		{Input: "node", Value: "edge-*", Wanted: "no pattern"},
		{Input: "path", Value: "nowhere", Wanted: "a directory in the checkout"},
		{Input: "config", Value: "-f x", Wanted: "a file or a flake"},
		{Input: "instance_id", Value: "edge-1", Wanted: "an OCID of an instance"},
		{Input: "instance_id", Value: "", Wanted: "the instance's OCID, or a handoff"},
		{Input: "access", Value: "open", Wanted: "one of nsg, bastion, direct"},
		{Input: "nsg_id", Value: "edge-ssh", Wanted: "an OCID of a network security group"},
		{Input: "lease_ttl", Value: "5h", Wanted: "a time from 5m0s to 4h0m0s"},
		{Input: "source", Value: "0.0.0.0/0", Wanted: "one address, or a /32"},
		{Input: "source", Value: "198.51.100.0/24", Wanted: "one address, or a /32"},
		{Input: "source", Value: "10.0.0.1", Wanted: "a public address"},
		{Input: "source", Value: "home", Wanted: "one address, or a /32"},
		{Input: "source_urls", Value: "https://one.example.org", Wanted: "two URLs at least"},
		{Input: "source_urls", Value: "http://one.example.org https://two.example.org", Wanted: "https URLs"},
		{Input: "bastion_id", Value: "ocid1.bastion.oc1..x", Wanted: "nothing unless access is bastion"},
		{Input: "bastion_host_key", Value: "ssh-rsa nonsense", Wanted: "ssh-rsa AAAA…"},
		{Input: "bastion_port", Value: "0", Wanted: "a whole number from 1"},
		{Input: "login_users", Value: "ubuntu -oProxyCommand=x", Wanted: "names of login users"},
		{Input: "open_timeout", Value: "1", Wanted: "with its unit"},
		{Input: "transition_timeout", Value: "1d", Wanted: "with its unit"},
		{Input: "boot_timeout", Value: "x", Wanted: "with its unit"},
		{Input: "stable", Value: "1h", Wanted: "a time from"},
		{Input: "recover_timeout", Value: "x", Wanted: "with its unit"},
		{Input: "probe_timeout", Value: "1s", Wanted: "a time from 3s"},
		{Input: "poll", Value: "1", Wanted: "with its unit"},
		{Input: "infect_script", Value: "../nixos-infect", Wanted: "a file in the checkout"},
		{Input: "infect_script", Value: "", Wanted: "the path of nixos-infect"},
		{Input: "infect_sha256", Value: "abc", Wanted: "64 lower-case hex digits"},
		{Input: "infect_sha256", Value: strings.Repeat("0", 64), Wanted: "the sha256 of nixos-infect"},
		{Input: "infect_env", Value: "NO_REBOOT=", Wanted: "no NO_REBOOT"},
		{Input: "infect_env", Value: "A B=c", Wanted: "lines NAME=VALUE"},
		{Input: "infect_env", Value: "BASH_ENV=/tmp/x", Wanted: "variables of nixos-infect"},
		{Input: "anywhere_flake", Value: ".#edge-1", Wanted: "nothing unless method is nixos-anywhere"},
		{Input: "anywhere_args", Value: "--no-substitute-on-destination", Wanted: "nothing unless method is nixos-anywhere", Check: "input-anywhere_flake"},
		{Input: "architecture", Value: "arm64", Wanted: "aarch64 or x86_64"},
		{Input: "min_memory_mib", Value: "x", Wanted: "a whole number"},
		{Input: "root_label", Value: "a b", Wanted: "the label of a file system"},
		{Input: "esp_label", Value: "a/b", Wanted: "the label of a file system"},
		{Input: "min_esp_mib", Value: "-1", Wanted: "a whole number"},
		{Input: "min_esp_free_mib", Value: "-1", Wanted: "a whole number"},
		{Input: "age_key_file", Value: "/nowhere", Wanted: "a file that only the runner's user can read"},
		{Input: "age_recipient", Value: "age1x", Wanted: "a public age key"},
		{Input: "age_key_replace", Value: "yes", Wanted: "one of true, false"},
		{Input: "eval_timeout", Value: "0", Wanted: "with its unit"},
		{Input: "build_timeout", Value: "x", Wanted: "with its unit"},
		{Input: "impure", Value: "1", Wanted: "one of true, false"},
		{Input: "nix_options", Value: "--max-jobs 1", Wanted: "lines NAME VALUE"},
		{Input: "colmena_path", Value: "/nowhere/colmena", Wanted: "colmena on PATH", Check: "tool-missing"},
		{Input: "colmena_version", Value: "newest", Wanted: "a version constraint"},
		{Input: "nix_version", Value: "newest", Wanted: "a version constraint"},
		{Input: "runner_dir", Value: "state", Wanted: "an absolute path that outlives the job"},
	}
	for _, w := range jobtest.WrongWays {
		switch w.Input {
		case "handoff_path", "handoff_sha256", "handoff_signer", "hosts", "host_keys", "machine_ids", "identity_file", "ssh_config", "known_hosts", "connect_timeout",
			"require", "waive", "max_clock_skew", "min_boot_free_mib", "min_store_free_mib":
			wrong = append(wrong, w)
		}
	}
	// Each of these is wrong only beside another: tried below.
	beside := []jobtest.Wrong{{Input: "bastion_host"}, {Input: "anywhere_path"}, {Input: "nixos_rebuild_path"}}
	jobtest.RefusesEach(t, rightJob, append(wrong, jobtest.WrongCloud...), beside...)
}

func TestNoNixosRebuild(t *testing.T) {
	j := rightJob(t)
	j.Inputs["colmena_path"], j.Inputs["nixos_rebuild_path"] = filepath.Join(colmenatest.Install(t), "colmena"), "/nowhere/nixos-rebuild"
	r := j.Do()
	r.Want("", "tool-missing=unproven")
	r.Says("/nowhere/nixos-rebuild", "set nixos_rebuild_path")
	if r.Outputs["public_ssh"] == "closed" {
		t.Error("closed, and nobody looked")
	}
}

func TestWrongInputsTogether(t *testing.T) {
	jobtest.RefusesTogether(t, rightJob(t), map[string]string{
		"mode": "x", "node": "edge-*", "method": "x", "access": "x", "source": "x", "lease_ttl": "x", "esp_label": "/", "waive": "x", "oci_auth": "x", "path": "nowhere",
	})
	t.Run("a bastion", func(t *testing.T) {
		j := rightJob(t)
		j.Inputs["access"] = "bastion"
		jobtest.RefusesTogether(t, j, map[string]string{"bastion_id": "edge", "bastion_host_key": "", "bastion_host": "a b"})
	})
	t.Run("nixos-anywhere", func(t *testing.T) {
		j := rightJob(t)
		j.Inputs["method"] = "nixos-anywhere"
		for _, args := range []string{"--debug --ssh-option x", "--target-host\troot@other", "--debug -i x", "-L --phases kexec", "root@other", "--debug --extra-files /x"} {
			j := rightJob(t)
			j.Inputs["method"], j.Inputs["anywhere_args"] = "nixos-anywhere", args
			r := j.Do()
			if !strings.Contains(strings.Join(r.Not(), " "), "input-anywhere_args=disproven") {
				t.Errorf("%q: %q", args, r.Not())
			}
		}
		jobtest.RefusesTogether(t, j, map[string]string{"anywhere_path": "/nowhere", "anywhere_flake": "-x", "anywhere_args": "--target-host root@other", "infect_script": "nixos-infect"})
	})
}
