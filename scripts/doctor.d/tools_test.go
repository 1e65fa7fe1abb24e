package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestTools(t *testing.T) {
	restore := []string{"repository_id: x", "host: h", "paths: /p"}
	tests := map[string]struct {
		action  string
		with    []string
		prepare func(*machine)
		status  string
		about   string
		says    string
	}{
		"tofu":             {"tofu-apply", nil, nil, "ok", "tofu >= 1.10.0, < 2.0.0", "/tofu"},
		"tofu too old":     {"tofu-apply", nil, func(m *machine) { m.program("tofu", `echo '{"terraform_version":"1.9.4"}'`) }, "WRONG", "tofu >= 1.10.0", "found 1.9.4; install OpenTofu"},
		"tofu of another":  {"tofu-apply", []string{`tofu_version: ">= 99"`}, nil, "WRONG", "tofu >= 99", "install OpenTofu"},
		"no tofu":          {"tofu-apply", nil, func(m *machine) { m.without("go") }, "MISSING", "tofu >= 1.10.0", "install OpenTofu"},
		"tofu by name":     {"tofu-apply", []string{"tofu_path: other"}, nil, "MISSING", "tofu >= 1.10.0", "or set tofu_path"},
		"tofu in words":    {"tofu-apply", nil, func(m *machine) { m.program("tofu", `echo Warning; echo '{"terraform_version":"1.12.0"}'`) }, "UNKNOWN", "tofu >= 1.10.0", "CLI configuration"},
		"tofu for outputs": {"emit-handoff", nil, func(m *machine) { m.without("go") }, "MISSING", "tofu:", "install OpenTofu"},

		"restic":            {"restic-restore-check", restore, nil, "ok", "restic >= 0.17.1", "0.18.1"},
		"restic too old":    {"restic-restore-check", restore, func(m *machine) { m.program("restic", "echo restic 0.16.4 compiled with go1.21") }, "WRONG", "restic >= 0.17.1", "found 0.16.4; install restic 0.17.1"},
		"no restic":         {"restic-restore-check", restore, func(m *machine) { m.without("go") }, "MISSING", "restic >= 0.17.1", "none on PATH; install restic"},
		"a wrapper":         {"restic-restore-check", append([]string{"restic_path: restic-borgbase"}, restore...), func(m *machine) { m.program("restic-borgbase", `exec restic "$@"`) }, "ok", "restic-borgbase >= 0.17.1", ""},
		"restic that fails": {"restic-restore-check", restore, func(m *machine) { m.program("restic", "exit 3") }, "UNKNOWN", "restic >= 0.17.1", ""},

		"rclone and its remote":  {"tofu-apply", []string{"offsite: pcloud:tofu"}, func(m *machine) { m.t.Setenv("RCLONE_CONFIG_PCLOUD_TYPE", "local") }, "ok", "the remote pcloud: in", "there"},
		"rclone, another remote": {"tofu-apply", []string{"offsite: pcloud:tofu"}, nil, "MISSING", "the remote pcloud: in", "rclone config create pcloud"},
		"no rclone":              {"tofu-apply", []string{"offsite: pcloud:tofu"}, func(m *machine) { m.without("go", "tofu") }, "MISSING", "rclone: found", "apt install rclone"},
		"a broken rclone":        {"tofu-apply", []string{"offsite: pcloud:tofu"}, func(m *machine) { m.program("rclone", "exit 1") }, "UNKNOWN", "the remote pcloud: in", "rclone listremotes"},

		"colmena":          {"colmena-deploy", []string{"tailnet: off"}, func(m *machine) { m.program("colmena", "echo colmena 0.5.0-pre") }, "ok", "colmena >= 0.4", "0.5.0"},
		"colmena too old":  {"colmena-deploy", []string{"tailnet: off"}, func(m *machine) { m.program("colmena", "echo colmena 0.3.2") }, "WRONG", "colmena >= 0.4", "nixpkgs#colmena"},
		"no colmena":       {"colmena-deploy", []string{"tailnet: off"}, nil, "MISSING", "colmena >= 0.4", "nixpkgs#colmena"},
		"nix":              {"colmena-deploy", []string{"tailnet: off"}, nil, "ok", "nix-instantiate >= 2.4", ""},
		"no nix":           {"colmena-deploy", []string{"tailnet: off"}, func(m *machine) { m.without("go") }, "MISSING", "nix-instantiate >= 2.4", "nixos.org/download"},
		"first deploy":     {"colmena-deploy", []string{"tailnet: off", "goal: bootstrap"}, nil, "MISSING", "nixos-rebuild:", "nixpkgs#nixos-rebuild"},
		"nixos-anywhere":   {"nixos-bootstrap", []string{"method: nixos-anywhere"}, nil, "MISSING", "nixos-anywhere:", "nixpkgs#nixos-anywhere"},
		"node for post":    {"nixos-bootstrap", []string{"method: adopt"}, func(m *machine) { m.program("node", "echo v20.1.0") }, "ok", "node >= 20 for nixos-bootstrap", "v20.1.0"},
		"node too old":     {"nixos-bootstrap", []string{"method: adopt"}, func(m *machine) { m.program("node", "echo v18.19.0") }, "WRONG", "node >= 20 for nixos-bootstrap", "install Node.js"},
		"no node for post": {"nixos-bootstrap", []string{"method: adopt"}, func(m *machine) { m.without("go") }, "MISSING", "node for nixos-bootstrap", "install Node.js"},

		"git":           {"mirror-validate", nil, nil, "ok", "git:", "/git"},
		"no git":        {"mirror-validate", nil, func(m *machine) { m.without("go") }, "MISSING", "git:", "apt install git"},
		"git for diffs": {"tofu-plan-with-state-backup", []string{"changed_since: main"}, func(m *machine) { m.without("go", "tofu") }, "MISSING", "git:", "apt install git"},
		"terramate":     {"tofu-plan-with-state-backup", []string{"terramate_path: terramate"}, nil, "MISSING", "terramate:", "leave terramate_path empty"},

		"no tailscale":      {"node-validate", nil, nil, "MISSING", "tailscale:", "tailscale.com/download"},
		"tailnet":           {"node-validate", nil, tailscale("key-does-not-expire"), "ok", "a node key that is valid", "does not expire"},
		"logged out":        {"node-validate", nil, tailscale("logged-out"), "WRONG", "to run on its tailnet", "tailscale up"},
		"key expired":       {"node-validate", nil, tailscale("key-expired"), "WRONG", "a node key that", "--force-reauth"},
		"no tailscaled":     {"node-validate", nil, func(m *machine) { m.program("tailscale", "echo failed to connect to local Tailscale >&2; exit 1") }, "UNKNOWN", "tailscaled to answer", "systemctl start tailscaled"},
		"its own name":      {"node-validate", []string{"tailscale_path: /nowhere/tailscale"}, nil, "MISSING", "tailscale:", ""},
		"restore on a host": {"restic-restore-check", append([]string{"run_on: edge-1"}, restore...), nil, "MISSING", "tailscale:", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			if test.prepare != nil {
				test.prepare(m)
			}
			m.workflow(test.action, test.with...)
			code, lines := m.doctor()
			line := m.says(lines, test.status, test.about)
			if !strings.Contains(line, test.says) || !strings.Contains(line, "[w.yml: step]") {
				t.Errorf("wanted %q and the step, found %q", test.says, line)
			}
			if test.status != "ok" && code != 1 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func tailscale(document string) func(*machine) {
	return func(m *machine) {
		m.program("tailscale", fmt.Sprintf("exec cat %s/internal/tailnet/testdata/status/%s.json", m.root, document))
	}
}

func TestWhatIsNotNeededIsNotAskedFor(t *testing.T) {
	restore := []string{"repository_id: x", "host: h", "paths: /p"}
	for name, test := range map[string]struct {
		action string
		with   []string
		about  string
	}{
		"no remote":            {"tofu-apply", []string{"offsite: none"}, "rclone"},
		"outputs in a file":    {"emit-handoff", []string{"outputs_json: outputs.json"}, "tofu"},
		"restored on a host":   {"restic-restore-check", append([]string{"run_on: edge-1", "password_file: /x"}, restore...), "restic >="},
		"a password there":     {"restic-restore-check", append([]string{"run_on: edge-1", "password_file: /x"}, restore...), "password_file"},
		"a scratch there":      {"restic-restore-check", append([]string{"run_on: edge-1"}, restore...), "scratch_dir"},
		"restored here":        {"restic-restore-check", restore, "tailscale"},
		"no tailnet":           {"node-validate", []string{"tailnet: off"}, "tailscale"},
		"a usual deploy":       {"colmena-deploy", nil, "nixos-rebuild"},
		"another method":       {"nixos-bootstrap", []string{"method: adopt"}, "nixos-anywhere"},
		"no comparison":        {"tofu-plan-with-state-backup", nil, "git"},
		"no terramate":         {"tofu-plan-with-state-backup", nil, "terramate"},
		"no delivery":          {"emit-handoff", nil, "deliver_dir"},
		"no cloud":             {"emit-handoff", nil, "Oracle"},
		"an instance's own":    {"ingress-sweep", []string{"oci_auth: instance_principal"}, "Oracle"},
		"no ssh_config at all": {"node-validate", []string{"ssh_config: none"}, "ssh_config"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.workflow(test.action, test.with...)
			_, lines := m.doctor()
			m.silent(lines, test.about)
		})
	}
}

func TestContracts(t *testing.T) {
	m := newMachine(t)
	m.workflow("backup-validate", "contracts: contracts.yaml")
	contract := `contracts:
  - name: state
    max_age: 8d
    state: {stack: demo, runner_dir: /srv/x, offsite: "pcloud:tofu", age_identity_file: ` + m.home + `/key}
`
	_, lines := m.doctor()
	m.says(lines, "WRONG", "a file in the checkout")
	m.file(m.dir+"/contracts.yaml", contract, 0o644)
	_, lines = m.doctor()
	m.says(lines, "MISSING", "the remote pcloud:")
	m.says(lines, "MISSING", "age_identity_file of the contract state")
	m.silent(lines, "tailscale")
	m.file(m.dir+"/contracts.yaml", strings.Replace(contract, "max_age", "host: forgejo-pi\n    max_age", 1), 0o644)
	if _, lines = m.doctor(); len(lines) > 0 {
		m.silent(lines, "pcloud")
	}
}

func TestAssertions(t *testing.T) {
	m := newMachine(t)
	m.workflow("restic-restore-check", "repository_id: x", "host: h", "paths: /p", "assertions: a.yaml")
	data, err := os.ReadFile(m.root + "/examples/recovery/assertions/control-plane.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m.file(m.dir+"/a.yaml", string(data), 0o644)
	m.without("go", "restic")
	_, lines := m.doctor()
	m.says(lines, "MISSING", "git:")
}
