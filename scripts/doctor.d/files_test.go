package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/ocitest"
)

func TestKeys(t *testing.T) {
	tests := map[string]struct {
		action, input string
		make          func(m *machine) string
		status, says  string
	}{
		"an SSH key":              {"node-validate", "identity_file", func(m *machine) string { return m.sshKey("id", "") }, "ok", "without a passphrase"},
		"one in the home":         {"node-validate", "identity_file", func(m *machine) string { m.sshKey("id", ""); return "~/id" }, "ok", "without a passphrase"},
		"one with a passphrase":   {"node-validate", "identity_file", func(m *machine) string { return m.sshKey("id", "open sesame") }, "WRONG", "a key with a passphrase; nobody is there to type it"},
		"the public half":         {"node-validate", "identity_file", func(m *machine) string { return m.chmod(m.sshKey("id", "")+".pub", 0o600) }, "WRONG", "not the .pub"},
		"one for all to read":     {"node-validate", "identity_file", func(m *machine) string { return m.chmod(m.sshKey("id", ""), 0o644) }, "WRONG", "has mode 0644"},
		"none":                    {"node-validate", "identity_file", func(m *machine) string { return m.home + "/id" }, "MISSING", "put it there, with chmod 600"},
		"an empty one":            {"node-validate", "identity_file", func(m *machine) string { return m.file("id", "\n", 0o600) }, "WRONG", "an empty file"},
		"a directory":             {"node-validate", "identity_file", func(m *machine) string { return m.mkdir("id", 0o700) }, "WRONG", "is not a regular file"},
		"one in the checkout":     {"node-validate", "identity_file", func(m *machine) string { return m.file(m.dir+"/id", "x", 0o600) }, "WRONG", "found it in the checkout"},
		"a relative path":         {"node-validate", "identity_file", func(m *machine) string { return "id" }, "WRONG", "a relative path"},
		"a signing key":           {"emit-handoff", "signing_key", func(m *machine) string { return m.sshKey("id", "x") }, "WRONG", "a key with a passphrase"},
		"an age key":              {"colmena-deploy", "age_key_file", func(m *machine) string { return m.ageKey("age.txt") }, "ok", "an age identity"},
		"an age key that is none": {"sops-secrets", "age_key_file", func(m *machine) string { return m.file("age.txt", "age1public", 0o600) }, "WRONG", "age-keygen -o FILE"},
		"an archive's key":        {"tofu-state-restore", "age_identity_file", func(m *machine) string { return m.chmod(m.ageKey("age.txt"), 0o640) }, "WRONG", "has mode 0640"},
		"a token":                 {"mirror-validate", "token_file", func(m *machine) string { return m.file("token", "t", 0o600) }, "ok", "for its owner alone"},
		"another's token":         {"emit-handoff", "deliver_token_file", func(m *machine) string { return m.file("token", "t", 0o604) }, "WRONG", "has mode 0604"},
		"a comment's token":       {"tofu-plan-with-state-backup", "comment_token_file", func(m *machine) string { return m.home + "/token" }, "MISSING", "put it there"},
		"a password":              {"restic-restore-check", "password_file", func(m *machine) string { return m.home + "/pw" }, "MISSING", "put it there"},
		"variables":               {"tofu-plan-with-state-backup", "var_files", func(m *machine) string { return m.file("a.tfvars", "a=1", 0o644) }, "WRONG", "has mode 0644"},
		"known_hosts":             {"node-validate", "known_hosts", func(m *machine) string { return m.home + "/known" }, "MISSING", "correct the input known_hosts"},
		"ssh_config":              {"node-validate", "ssh_config", func(m *machine) string { return m.file("config", "", 0o644) }, "ok", "can be read"},
		"a handoff to come":       {"node-validate", "handoff_path", func(m *machine) string { return m.home + "/handoff.json" }, "MISSING", "run the workflow that ends in emit-handoff"},
		"a handoff":               {"node-validate", "handoff_path", func(m *machine) string { return m.file("handoff.json", "{}", 0o644) }, "ok", "can be read"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.workflow(test.action, test.input+": "+test.make(m), "tailnet: off")
			_, lines := m.doctor()
			if line := m.says(lines, test.status, test.input); !strings.Contains(line, test.says) {
				t.Errorf("wanted %q, found %q", test.says, line)
			}
		})
	}
}

func (m *machine) chmod(path string, mode os.FileMode) string {
	m.t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// TestWhatALineSaysMendsIt does what a line says, and looks again.
func TestWhatALineSaysMendsIt(t *testing.T) {
	for name, test := range map[string]struct {
		make func(m *machine) string
		says string
	}{
		"not there":     {func(m *machine) string { return m.home + "/new/state" }, "mkdir -p -m 700 "},
		"open to all":   {func(m *machine) string { return m.mkdir("state", 0o755) }, "chmod 700 "},
		"open to group": {func(m *machine) string { return m.mkdir("state", 0o770) }, "chmod 700 "},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			dir := test.make(m)
			m.workflow("verify-handoff", "seen_dir: "+dir)
			_, lines := m.doctor()
			status := "WRONG"
			if name == "not there" {
				status = "MISSING"
			}
			m.mends(m.says(lines, status, "seen_dir"), test.says+dir)
			_, lines = m.doctor()
			m.says(lines, "ok", "seen_dir")
		})
	}
}

func TestDirectories(t *testing.T) {
	for name, test := range map[string]struct {
		action string
		with   func(m *machine) []string
		status string
		about  string
		says   string
	}{
		"in the checkout":   {"tofu-apply", func(m *machine) []string { return []string{"runner_dir: " + m.dir + "/x"} }, "WRONG", "outlives the job", "put it elsewhere"},
		"a relative one":    {"tofu-apply", func(m *machine) []string { return []string{"runner_dir: x"} }, "WRONG", "outlives the job", "put it elsewhere"},
		"a file":            {"tofu-apply", func(m *machine) []string { return []string{"runner_dir: " + m.file("x", "", 0o600)} }, "WRONG", "runner_dir", "something that is no directory"},
		"the default":       {"tofu-apply", func(m *machine) []string { m.mkdir(".local/state/edge-actions", 0o700); return nil }, "ok", "runner_dir", "MiB free"},
		"the state's place": {"tofu-apply", func(m *machine) []string { return []string{"backend_config: path=" + m.home + "/tofu/edge.tfstate"} }, "MISSING", "the directory of the state", "mkdir -p -m 700 "},
		"the state": {"tofu-apply", func(m *machine) []string {
			m.mkdir("tofu", 0o700)
			return []string{"backend_config: path=" + m.file("tofu/s", "{}", 0o644)}
		}, "WRONG", "the state ~/tofu/s: found has", "has mode 0644"},
		"a state in checkouts": {"tofu-apply", func(m *machine) []string { return []string{"backend_config: path=" + m.dir + "/s"} }, "WRONG", "the state ./s", "move it elsewhere"},
		"a relative state":     {"tofu-apply", func(m *machine) []string { return []string{"backend_config: path=terraform.tfstate"} }, "WRONG", "the state terraform.tfstate", "give an absolute one"},
		"a file of settings":   {"tofu-apply", func(m *machine) []string { return []string{"backend_config: " + m.file("b.hcl", "x=1", 0o644)} }, "WRONG", "backend_config", "has mode 0644"},
		"a mount that is not":  {"tofu-apply", func(m *machine) []string { return []string{"offsite: " + m.home + "/mnt"} }, "MISSING", "offsite", "mount the disk"},
		"a mount":              {"tofu-apply", func(m *machine) []string { return []string{"offsite: " + m.mkdir("mnt", 0o755)} }, "ok", "offsite", "can be written to"},
		"a kubeconfig":         {"node-validate", func(m *machine) []string { return []string{"tailnet: off", "kubeconfig_path: ~/.kube/edge"} }, "MISSING", "kubeconfig_path", "mkdir -p -m 700 "},
		"Oracle's file":        {"ingress-sweep", func(m *machine) []string { return nil }, "MISSING", "Oracle's configuration", "oci setup config"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.workflow(test.action, test.with(m)...)
			_, lines := m.doctor()
			if line := m.says(lines, test.status, test.about); !strings.Contains(line, test.says) {
				t.Errorf("wanted %q, found %q", test.says, line)
			}
		})
	}
}

func TestOraclesConfiguration(t *testing.T) {
	m := newMachine(t)
	path, err := ocitest.New(t).WriteConfig(m.mkdir(".oci", 0o700))
	if err != nil {
		t.Fatal(err)
	}
	m.workflow("ingress-sweep")
	_, lines := m.doctor()
	m.says(lines, "ok", "Oracle's configuration")
	m.chmod(filepath.Join(filepath.Dir(path), "key.pem"), 0o644)
	_, lines = m.doctor()
	if line := m.says(lines, "WRONG", "Oracle's configuration"); !strings.Contains(line, "key.pem") {
		t.Errorf("%q", line)
	}
	m.workflow("tofu-apply", "oci_config_file: "+m.chmod(path, 0o644))
	_, lines = m.doctor()
	m.says(lines, "WRONG", "oci_config_file")
}

func TestClock(t *testing.T) {
	m := newMachine(t)
	m.workflow("verify-handoff")
	date := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		if !date.IsZero() {
			w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
		}
	}))
	defer server.Close()
	for _, test := range []struct {
		date   time.Time
		status string
	}{{time.Now(), "ok"}, {time.Now().Add(time.Hour), "WRONG"}, {time.Now().Add(-time.Hour), "WRONG"}, {time.Time{}, "UNKNOWN"}} {
		date = test.date
		_, lines := m.doctor("--server", server.URL)
		m.says(lines, test.status, "the clock")
	}
	server.Close()
	for _, url := range []string{server.URL, "forge.example", "file:///etc"} {
		_, lines := m.doctor("--server", url)
		m.says(lines, "UNKNOWN", "the clock")
	}
	t.Setenv("GITHUB_SERVER_URL", server.URL)
	_, lines := m.doctor()
	m.says(lines, "UNKNOWN", "the clock")
}

func TestLedger(t *testing.T) {
	m := newMachine(t)
	m.workflow("verify-handoff")
	_, lines := m.doctor()
	m.silent(lines, "ledger")
	dir, key := m.mkdir("ledger", 0o700), m.sshKey("id", "")
	t.Setenv("EDGE_ACTIONS_LEDGER", dir)
	_, lines = m.doctor()
	m.says(lines, "WRONG", "only one of EDGE_ACTIONS_LEDGER and EDGE_ACTIONS_LEDGER_KEY")
	t.Setenv("EDGE_ACTIONS_LEDGER_KEY", key)
	_, lines = m.doctor()
	m.says(lines, "ok", "the ledger")
	m.says(lines, "ok", "EDGE_ACTIONS_LEDGER_KEY")
	t.Setenv("EDGE_ACTIONS_LEDGER", m.dir+"/ledger")
	_, lines = m.doctor()
	m.says(lines, "WRONG", "the ledger")
	// The workflow's own environment wins.
	m.write("on: push\nenv:\n  EDGE_ACTIONS_LEDGER: " + m.home + "/another\njobs:\n  job:\n    steps:\n      - uses: ./actions/verify-handoff\n")
	_, lines = m.doctor()
	m.says(lines, "MISSING", "the ledger ~/another")
}

func TestReport(t *testing.T) {
	m := newMachine(t)
	m.workflow("recovery-report")
	_, lines := m.doctor()
	m.says(lines, "MISSING", "the ledger to report about")
	m.says(lines, "MISSING", "who may sign the ledger")
	key := m.sshKey("id", "")
	t.Setenv("EDGE_ACTIONS_LEDGER", m.mkdir("ledger", 0o700))
	t.Setenv("EDGE_ACTIONS_LEDGER_KEY", key)
	_, lines = m.doctor()
	m.says(lines, "ok", "the ledger to report about")
	m.says(lines, "ok", "allowed_signers ~/id.pub")
	if err := os.Remove(key + ".pub"); err != nil {
		t.Fatal(err)
	}
	_, lines = m.doctor()
	m.says(lines, "MISSING", "allowed_signers ~/id.pub")
	m.workflow("recovery-report", "ledger: "+m.home+"/copy", "allowed_signers: "+m.home+"/signers")
	_, lines = m.doctor()
	m.says(lines, "MISSING", "the ledger to report about ~/copy")
	m.says(lines, "MISSING", "allowed_signers ~/signers")
	m.workflow("verify-handoff", "allowed_signers: ssh-ed25519 AAAA")
	_, lines = m.doctor()
	m.silent(lines, "allowed_signers")
}
