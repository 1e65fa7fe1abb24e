package main

import (
	"os"
	"path/filepath"
	"testing"

	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/realtools"
)

const archive = "20261123T131500.123Z-serial42-3fa9c1d2e4b5"

// right is a rehearsal, which opens all that there is to open.
func right(t *testing.T) *jobtest.Job {
	t.Helper()
	j := jobtest.New(t, metadata, run)
	key := filepath.Join(j.Home, "key.txt")
	realtools.Output(t, "age-keygen", "-o", key)
	for path, mode := range map[string]os.FileMode{"open": 0o644, "empty": 0o600} {
		if err := os.WriteFile(filepath.Join(j.Home, path), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	j.Inputs = map[string]string{"mode": "rehearse", "stack": "edge", "age_identity_file": key, "offsite": "remote:edge"}
	return j
}

func TestWrongInputs(t *testing.T) {
	// ~ is the home of each job, where the files of right are.
	jobtest.RefusesEach(t, right, []jobtest.Wrong{
		{Input: "mode", Value: "apply", Wanted: "one of list, restore, rehearse"},
		{Input: "archive", Value: "newest", Wanted: "TIME-serialN-SHA"},
		{Input: "archive", Value: "../" + archive, Wanted: "take a name from mode: list"},
		{Input: "from", Value: "here", Wanted: "one of any, local, offsite"},
		{Input: "verify", Value: "all", Wanted: "a whole number"},
		{Input: "path", Value: "nowhere", Wanted: "a directory in the checkout"},
		{Input: "workspace", Value: "a/b", Wanted: "letters, digits"},
		{Input: "stack", Value: "../x", Wanted: "letters, digits"},
		{Input: "var_files", Value: "edge.tfvars", Wanted: "is not absolute"},
		{Input: "variables", Value: "a\rb", Wanted: "text without carriage returns"},
		{Input: "parallelism", Value: "0", Wanted: "from 1 to 1000"},
		{Input: "refresh", Value: "no", Wanted: "one of true, false"},
		{Input: "tofu_path", Value: "no-such-tofu", Wanted: "install OpenTofu", Check: "tool-missing"},
		{Input: "tofu_version", Value: "newest", Wanted: "a version constraint"},
		{Input: "backend_config", Value: "relative.tfbackend", Wanted: "lines of key=value"},
		{Input: "oci_config_file", Value: "config", Wanted: "is not absolute"},
		{Input: "pass_env", Value: "TF_CLI_ARGS", Wanted: "names of variables"},
		{Input: "lock_timeout", Value: "5", Wanted: "with its unit"},
		{Input: "command_timeout", Value: "0s", Wanted: "with its unit"},
		{Input: "runner_dir", Value: "state", Wanted: "is not absolute"},
		{Input: "age_identity_file", Value: "", Wanted: "a value"},
		{Input: "age_identity_file", Value: "~/empty", Wanted: "a file of age identities"},
		{Input: "age_identity_file", Value: "~/open", Wanted: "chmod 600"},
		{Input: "age_recipients", Value: "age1nonsense", Wanted: "public keys"},
		{Input: "offsite", Value: "", Wanted: "a value"},
		{Input: "offsite", Value: "/nowhere/mounted", Wanted: "no such file"},
		{Input: "rclone_path", Value: "no-such-rclone", Wanted: "install rclone"},
		{Input: "accept_state", Value: "serial", Wanted: "some of lineage, vanished"},
	})
}

func TestWrongTogether(t *testing.T) {
	j := right(t)
	j.Inputs["mode"], j.Inputs["offsite"] = "restore", "none"
	jobtest.RefusesTogether(t, j, map[string]string{"archive": "", "age_recipients": "", "from": "offsite", "refresh": "false"})
	j = right(t)
	j.Inputs["mode"] = "list"
	jobtest.RefusesTogether(t, j, map[string]string{"archive": archive})
}
