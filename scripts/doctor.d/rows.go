package main

import (
	"context"

	"edge-actions/internal/oci"
)

// row says what an input means for the runner.
type row struct {
	// inputs are the first one, of which every action that has it is looked at,
	// and others that say how.
	inputs []string
	// unless says when nothing of it is needed.
	unless func(*use) bool
	look   func(context.Context, *use) []finding
	// because says why nothing is looked at.
	because string
}

// rows are all inputs that name something on a machine. A test holds them
// against the actions: an input that is not here fails it.
func rows() []row {
	onHost := func(u *use) bool { return u.has("run_on") } // and there nothing is the runner's
	return []row{
		{inputs: []string{"tofu_path", "tofu_version"}, unless: func(u *use) bool { return u.has("outputs_json") }, look: lookTofu},
		{inputs: []string{"terramate_path"}, unless: isEmpty("terramate_path"), look: lookProgram("terramate_path", "install Terramate (https://terramate.io/docs/installation), or leave terramate_path empty")},
		{inputs: []string{"changed_since"}, unless: isEmpty("changed_since"), look: lookGit("")},
		{inputs: []string{"git_path"}, look: lookGit("git_path")},
		{inputs: []string{"offsite", "rclone_path"}, look: lookOffsite},
		{inputs: []string{"restic_path"}, unless: onHost, look: lookRestic},
		{inputs: []string{"assertions"}, unless: onHost, look: lookAssertions},
		{inputs: []string{"contracts"}, look: lookContracts},
		{inputs: []string{"tailscale_path", "tailnet", "key_margin"}, unless: noTailnet, look: lookTailnet},
		{inputs: []string{"colmena_path", "colmena_version"}, look: lookColmena},
		{inputs: []string{"nix_version"}, look: lookNix},
		{inputs: []string{"nixos_rebuild_path"}, unless: func(u *use) bool { return u.action.Name == "colmena-deploy" && !u.is("goal", "bootstrap") },
			look: lookProgram("nixos_rebuild_path", "install nixos-rebuild (nix profile install nixpkgs#nixos-rebuild), or set nixos_rebuild_path")},
		{inputs: []string{"anywhere_path"}, unless: func(u *use) bool { return !u.is("method", "nixos-anywhere") },
			look: lookProgram("anywhere_path", "install nixos-anywhere (nix profile install nixpkgs#nixos-anywhere), or set anywhere_path")},

		{inputs: []string{"identity_file"}, look: lookSSHKey("identity_file")},
		{inputs: []string{"signing_key"}, look: lookSSHKey("signing_key")},
		{inputs: []string{"age_key_file"}, look: lookAgeKey("age_key_file")},
		{inputs: []string{"age_identity_file"}, look: lookAgeKey("age_identity_file")},
		{inputs: []string{"token_file"}, look: lookSecret("token_file")},
		{inputs: []string{"mirror_token_file"}, look: lookSecret("mirror_token_file")},
		{inputs: []string{"deliver_token_file"}, look: lookSecret("deliver_token_file")},
		{inputs: []string{"comment_token_file"}, look: lookSecret("comment_token_file")},
		{inputs: []string{"password_file"}, unless: onHost, look: lookSecret("password_file")},
		{inputs: []string{"repository_file"}, unless: onHost, look: lookSecret("repository_file")},
		{inputs: []string{"var_files"}, look: lookSecrets("var_files")},
		{inputs: []string{"backend_config"}, look: lookBackend},
		{inputs: []string{"oci_config_file", "oci_auth", "oci_profile", "oci_region", "oci_endpoint"}, unless: func(u *use) bool {
			_, asks := u.action.Input("oci_auth")
			auth, known := u.text("oci_auth")
			return !asks && u.empty("oci_config_file") || // OpenTofu's own business
				!u.is("verify", "oci") && u.action.Name == "emit-handoff" ||
				known && asks && auth != string(oci.ConfigFile) && auth != string(oci.SessionToken)
		}, look: lookOCI},
		{inputs: []string{"known_hosts"}, look: lookReadable("known_hosts")},
		{inputs: []string{"ssh_config"}, unless: func(u *use) bool { return u.has("ssh_config") && u.is("ssh_config", "none") }, look: lookReadable("ssh_config")},
		{inputs: []string{"cacert"}, unless: onHost, look: lookReadable("cacert")},
		{inputs: []string{"handoff_path"}, look: lookHandoff},

		{inputs: []string{"runner_dir"}, look: lookDir("runner_dir", false)},
		{inputs: []string{"state_dir"}, look: lookDir("state_dir", false)},
		{inputs: []string{"seen_dir"}, look: lookDir("seen_dir", false)},
		{inputs: []string{"deliver_dir"}, unless: isEmpty("deliver"), look: lookDir("deliver_dir", false)},
		{inputs: []string{"plan_dir"}, look: lookDir("plan_dir", false)},
		{inputs: []string{"handoff_dir"}, look: lookDir("handoff_dir", false)},
		{inputs: []string{"data_dir"}, look: lookDir("data_dir", false)},
		{inputs: []string{"scratch_dir", "allow_tmpfs"}, unless: onHost, look: lookDir("scratch_dir", true)},
		{inputs: []string{"kubeconfig_path"}, look: lookParent("kubeconfig_path")},
		{inputs: []string{"ledger"}, look: lookLedger},
		{inputs: []string{"allowed_signers"}, unless: func(u *use) bool { return u.action.Name == "verify-handoff" }, look: lookSigners}, // whose are text

		{inputs: []string{"output_dir"}, because: "is made if it is not there"},

		{inputs: []string{"system_path", "age_key_path", "agent_dir"}, because: "is on the node"},
		{inputs: []string{"deliver_path"}, because: "is in the other repository"},
		{inputs: []string{"plan_path", "receipt_path", "outputs_json"}, because: "is made by the run"},
		{inputs: []string{"run_on"}, because: "is a host's name"},
	}
}

func isEmpty(name string) func(*use) bool { return func(u *use) bool { return u.empty(name) } }
