package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/testing/colmenatest"
	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/lab"

	"filippo.io/age"
)

// job is a job with a hive.
type job struct {
	*jobtest.Job
	t      *testing.T
	bin    string // colmena and nixos-rebuild
	hive   []colmenatest.Node
	secret string // the age key
}

// newJob deploys the given behaviours to the hosts of the lab, one each.
func newJob(t *testing.T, l *lab.Lab, label string, behaviours ...string) *job {
	t.Helper()
	j := &job{Job: jobtest.New(t, metadata, run), t: t, bin: colmenatest.Install(t)}
	j.Home = colmenatest.Home(t) // with Nix' configuration
	j.Env = []string{"PATH=" + j.bin + ":" + os.Getenv("PATH"), "NIX_REMOTE="}
	operator := strings.TrimSpace(read(t, l.Key+".pub"))
	hosts := l.Hosts[:len(behaviours)]
	for i, h := range hosts {
		j.hive = append(j.hive, colmenatest.Node{Name: h.Name, TargetHost: h.Address, AuthorizedKeys: []string{operator}, Label: label, Behaviour: behaviours[i]})
	}
	j.Reach(l, hosts...)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	j.secret = key.String()
	j.Inputs["age_key_file"], j.Inputs["age_recipient"] = filepath.Join(j.Home, "age-key.txt"), key.Recipient().String()
	if err := os.WriteFile(j.Inputs["age_key_file"], []byte("# the node's\n"+j.secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	j.Inputs["confirm_timeout"], j.Inputs["activate_timeout"], j.Inputs["recover_timeout"] = "20s", "12s", "2m"
	// The tools are looked up in this process' PATH.
	j.Inputs["colmena_path"] = filepath.Join(j.bin, "colmena")
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
	*jobtest.Result
	report string
	nodes  []struct {
		Name, Outcome, Reason string
		SystemPath            string `json:"system_path"`
	}
}

func (j *job) do() result {
	j.t.Helper()
	colmenatest.WriteHive(j.t, j.Workspace, j.hive)
	r := result{Result: j.Do()}
	r.report = read(j.t, r.Outputs["report"])
	r.Nodes(&r.nodes)
	return r
}

// outcomes are those of the nodes, in their order.
func (r result) outcomes() string {
	var out []string
	for _, n := range r.nodes {
		out = append(out, n.Outcome)
	}
	return strings.Join(out, " ")
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
