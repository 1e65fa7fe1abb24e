package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/testing/colmenatest"
	"edge-actions/internal/testing/lab"

	"filippo.io/age"
)

// job is a runner's job as far as this action sees it, with a hive.
type job struct {
	t               *testing.T
	lab             *lab.Lab
	workspace, temp string
	home            string // with Nix' configuration for the double
	bin             string // colmena and nixos-rebuild
	hive            []colmenatest.Node
	inputs          map[string]string
	env             []string
	secret          string // the age key
}

// newJob deploys the given behaviours to the hosts of the lab, one each.
func newJob(t *testing.T, l *lab.Lab, label string, behaviours ...string) *job {
	t.Helper()
	j := &job{t: t, lab: l, workspace: t.TempDir(), temp: t.TempDir(), home: colmenatest.Home(t), bin: colmenatest.Install(t)}
	operator := strings.TrimSpace(read(t, l.Key+".pub"))
	var names, keys []string
	for i, h := range l.Hosts[:len(behaviours)] {
		j.hive = append(j.hive, colmenatest.Node{Name: h.Name, TargetHost: h.Address, AuthorizedKeys: []string{operator}, Label: label, Behaviour: behaviours[i]})
		names = append(names, h.Name)
		keys = append(keys, h.Name+" "+h.HostKey)
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(j.home, "age-key.txt")
	if err := os.WriteFile(keyFile, []byte("# the node's\n"+key.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	j.secret = key.String()
	j.inputs = map[string]string{
		"age_key_file": keyFile, "age_recipient": key.Recipient().String(),
		"nodes": strings.Join(names, " "), "host_keys": strings.Join(keys, "\n"), "identity_file": l.Key, "tailnet": "off", "ssh_config": "none",
		"confirm_timeout": "20s", "activate_timeout": "12s", "recover_timeout": "2m", "connect_timeout": "5s",
		"min_store_free_mib": "100", "colmena_path": filepath.Join(j.bin, "colmena"),
	}
	j.env = []string{
		"PATH=" + j.bin + ":" + os.Getenv("PATH"), "HOME=" + j.home, "NIX_REMOTE=", "RUNNER_TEMP=" + j.temp, "GITHUB_WORKSPACE=" + j.workspace,
		"GITHUB_OUTPUT=" + filepath.Join(j.temp, "output"), "GITHUB_STEP_SUMMARY=" + filepath.Join(j.temp, "summary"), "SOME_TOKEN=hunter2hunter2",
	}
	return j
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// result is what a run leaves behind.
type result struct {
	code    int
	log     string
	outputs map[string]string
	report  string
	nodes   []struct {
		Name, Outcome, Reason string
		SystemPath            string `json:"system_path"`
	}
}

// outcomes are those of the nodes, in their order.
func (r result) outcomes() string {
	var out []string
	for _, n := range r.nodes {
		out = append(out, n.Outcome)
	}
	return strings.Join(out, " ")
}

func (j *job) do() result {
	j.t.Helper()
	colmenatest.WriteHive(j.t, j.workspace, j.hive)
	for _, name := range []string{"output", "summary"} {
		if err := os.WriteFile(filepath.Join(j.temp, name), nil, 0o600); err != nil {
			j.t.Fatal(err)
		}
	}
	env := slices.Clone(j.env)
	for name, value := range j.inputs {
		env = append(env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	var log bytes.Buffer
	a, err := action.New(metadata, &log, env)
	if err != nil {
		j.t.Fatal(err)
	}
	r := result{code: a.Do(j.t.Context(), run), log: log.String(), outputs: map[string]string{}}
	for name := range a.Meta.Outputs {
		r.outputs[name] = a.Output(name)
	}
	r.report = read(j.t, r.outputs["report"])
	if r.outputs["nodes"] != "" {
		if err := json.Unmarshal([]byte(r.outputs["nodes"]), &r.nodes); err != nil {
			j.t.Fatal(err)
		}
	}
	if j.t.Failed() || testing.Verbose() {
		j.t.Logf("%s", r.log)
	}
	return r
}

func must(t testing.TB, h *lab.Host, script string) string {
	t.Helper()
	out, err := h.Run(script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// system is the one on which the host is, live, committed and at the next
// boot, or the three if they differ.
func system(t testing.TB, h *lab.Host) string {
	t.Helper()
	got := strings.Fields(must(t, h, `readlink -f /run/current-system; readlink -f /nix/var/nix/profiles/system
entry=$(sed -n 's/^default //p' /boot/loader/loader.conf); sed -n 's/.*init=\([^ ]*\)\/init.*/\1/p' /boot/loader/entries/$entry`))
	if got = slices.Compact(got); len(got) == 1 {
		return got[0]
	}
	return "half-way: " + strings.Join(got, " ")
}
