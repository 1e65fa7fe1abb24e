package stack_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/action"
)

// wrong holds, for each input of both actions, values that must be refused
// and a part of what the message says. DIR stands for a directory outside the
// job in which the files of the table are.
var wrong = map[string][][2]string{
	"path":                {{"nowhere", "a directory in the checkout"}, {"..", "a directory in the checkout"}, {"/etc", "a directory in the checkout"}},
	"workspace":           {{"a/b", "letters, digits"}, {"-x", "letters, digits"}},
	"stack":               {{"../x", "letters, digits"}, {"a b", "letters, digits"}},
	"tofu_path":           {{"no-such-tofu", "tool-missing"}},
	"tofu_version":        {{"newest", "a version constraint"}},
	"backend_config":      {{"DIR/open.tfbackend", "chmod 600"}, {"relative.tfbackend", "is not absolute"}, {"Bad Key=1", "lines of key=value"}},
	"oci_config_file":     {{"DIR/open.tfbackend", "chmod 600"}, {"config", "is not absolute"}, {"DIR/none", "no such file"}, {"DIR/oci-with-open-key", "key_file"}},
	"pass_env":            {{"A B", "names of variables"}, {"TF_CLI_ARGS", "names of variables"}, {"GITHUB_OUTPUT", "names of variables"}},
	"lock_timeout":        {{"5", "with its unit"}, {"-1s", "with its unit"}, {"9999h", "with its unit"}},
	"command_timeout":     {{"0s", "with its unit"}, {"soon", "with its unit"}},
	"runner_dir":          {{"state", "is not absolute"}, {"WORKSPACE/state", "which the runner deletes"}, {"TEMP/state", "which the runner deletes"}},
	"age_recipients":      {{"age1nonsense", "public keys"}, {"AGE-SECRET-KEY-1QQQQ", "a secret key"}, {"ssh-ed25519 AAAA", "public keys"}, {"# none", "at least one public key"}, {"", "a value"}},
	"age_identity_file":   {{"DIR/empty", "a file of age identities"}, {"DIR/open.tfbackend", "chmod 600"}},
	"offsite":             {{"DIR/not-mounted", "no such file"}, {"backups", "is not absolute"}, {"WORKSPACE", "which the runner deletes"}, {"DIR/empty", "is not a directory"}, {"", "a value"}, {"HOME/.local/state/edge-actions/x", "runner_dir"}},
	"rclone_path":         {{"no-such-rclone", "install rclone"}},
	"retain_count":        {{"-1", "a whole number"}, {"many", "a whole number"}},
	"retain_days":         {{"1.5", "a whole number"}},
	"accept_state":        {{"all", "some of new, vanished"}},
	"max_shrink_percent":  {{"101", "from 0 to 100"}, {"50%", "from 0 to 100"}},
	"protected_types":     {{"oci[", "one type or address a line"}},
	"protected_addresses": {{"a b", "one type or address a line"}},
	"max_destroy":         {{"-1", "a whole number"}},
	"var_files":           {{"edge.tfvars", "is not absolute"}, {"DIR/none", "no such file"}, {"DIR/open.tfbackend", "chmod 600"}, {"WORKSPACE/infra/main.tf", "which the runner deletes"}},
	"parallelism":         {{"0", "from 1 to 1000"}, {"x", "from 1 to 1000"}},
	"refresh":             {{"yes", "one of true, false"}},
	"destroy":             {{"1", "one of true, false"}},
	"fmt":                 {{"True", "one of true, false"}},
	"validate":            {{"off", "one of true, false"}},
	"plan_dir":            {{"plans", "is not absolute"}, {"WORKSPACE/plans", "which the runner deletes"}},
	"plan_path":           {{"", "a value"}},
	"receipt_path":        {{"", "a value"}},
	"receipt_sha256":      {{"", "a value"}, {"ABC", "64 lower-case hex digits"}},
	"mode":                {{"watch", "one of plan, drift"}},
	"stacks":              {{"nowhere/*", "none; there are 1 directories"}, {"../x", "no glob of directories"}, {"/etc", "no glob of directories"}, {"a[", "no glob of directories"}, {"!.", "only patterns with !"}, {"tag:A", "is no tag"}, {"terramate", "none; there are 1 directories"}},
	"changed_since":       {{"main", "nothing without the input stacks"}},
	"terramate_path":      {{"terramate", "nothing without the input stacks"}},
	"stacks_at_once":      {{"0", "from 1 to 64"}},
	"allow_drift":         {{"a.b", "nothing with mode: plan"}},
	"receipts":            {{"x", "a JSON list or an absolute path"}, {"/nowhere/stacks.json", "no such file"}},
	"receipts_sha256":     {{strings.Repeat("0", 64), "nothing without a path in receipts"}, {"ABC", "64 lower-case hex digits"}},
	"comment_on":          {{"pull request 7", "owner/name#number"}, {"0", "owner/name#number"}, {"a/b/c#7", "a repository as owner/name"}},
	"comment_url":         {{"http://forge.example.org", "https://, or http:// on loopback"}},
	"comment_token_file":  {{"", "of the scope write:issue"}, {"DIR/open.tfbackend", "chmod 600"}, {"WORKSPACE/infra/main.tf", "outside the checkout"}, {"DIR/empty", "an access token"}},
	"comment_status":      {{"yes", "one of true, false"}},
	"apply_timeout":       {{"1", "with its unit"}},
	"stop_grace":          {{"0s", "with its unit"}},
}

// anyText are the inputs whose values only OpenTofu can judge.
var anyText = []string{"variables", "target", "exclude", "replace", "allow_destroy"}

func TestWrongInputs(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"open.tfbackend": 0o644, "empty": 0o600, "open.pem": 0o644, "oci-with-open-key": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "oci-with-open-key"), []byte("[DEFAULT]\nkey_file="+dir+"/open.pem\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(strings.Repeat("0", 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(r.Home, ".local/state/edge-actions/x"), 0o700); err != nil {
		t.Fatal(err)
	}
	expand := strings.NewReplacer("DIR", dir, "WORKSPACE", r.Workspace, "TEMP", r.Temp, "HOME", r.Home)
	good := map[string]map[string]string{
		"tofu-plan-with-state-backup": {},
		"tofu-apply":                  {"plan_path": "/x/plan", "receipt_path": "/x/receipt", "receipt_sha256": strings.Repeat("0", 64)},
	}
	for name, more := range good {
		data, err := os.ReadFile(filepath.Join("../../actions", name, "action.yml"))
		if err != nil {
			t.Fatal(err)
		}
		meta, err := action.ParseMetadata(data)
		if err != nil {
			t.Fatal(err)
		}
		for input := range meta.Inputs {
			cases, ok := wrong[input]
			if !ok && !slices.Contains(anyText, input) {
				t.Errorf("%s: no wrong value of the input %s is tried", name, input)
			}
			for _, c := range cases {
				in := maps.Clone(more)
				if strings.HasPrefix(input, "comment_") {
					maps.Copy(in, map[string]string{"comment_on": "7", "comment_url": "https://forge.example.org", "comment_token_file": dir + "/token"})
				}
				in[input] = expand.Replace(c[0])
				if input == "stacks" {
					in["backend_config"] = "path=" + dir + "/{stack}.tfstate"
				}
				if input == "rclone_path" {
					in["offsite"] = "remote:edge"
				}
				res := r.step(name, in).Run()
				id := "input-" + input
				if strings.HasPrefix(c[1], "tool-") {
					id = c[1]
				}
				if res.Green() || res.Outputs["failure_reason"] != id || !strings.Contains(res.Log, c[1]) {
					t.Errorf("%s: %s=%q: wanted %s with %q, got exit code %d, %q\n%s", name, input, c[0], id, c[1], res.ExitCode, res.Outputs["failure_reason"], res.Log)
				}
				if strings.Contains(res.Log, "SECRET-KEY-1QQQQ") {
					t.Errorf("the log shows a secret key")
				}
			}
		}
	}
}

// All that is wrong is said at once, each with its input.
func TestAllWrongInputsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	res := r.plan(map[string]string{"path": "nowhere", "parallelism": "0", "fmt": "maybe", "offsite": "", "age_recipients": "x", "max_destroy": "y"})
	for _, id := range []string{"path", "parallelism", "fmt", "offsite", "age_recipients", "max_destroy"} {
		if !strings.Contains(res.Log, "disproven  input-"+id) {
			t.Errorf("input-%s is missing:\n%s", id, res.Log)
		}
	}
}
