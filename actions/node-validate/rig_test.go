package main

import (
	"fmt"
	"strings"
	"testing"

	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/lab"
)

// ageKeyFile is where the nodes have their key.
const ageKeyFile = "/var/lib/sops-nix/key.txt"

// job is a runner's job as far as this action sees it.
type job struct {
	*jobtest.Job
	t testing.TB
}

func newJob(t testing.TB) *job {
	t.Helper()
	j := &job{jobtest.New(t, metadata, run), t}
	j.Inputs["tailnet"], j.Inputs["ssh_config"] = "off", "none"
	return j
}

// newLab brings up hosts on which all is well.
func newLab(t *testing.T, n int) *lab.Lab {
	t.Helper()
	l := lab.New(t, n)
	for _, h := range l.Hosts {
		if err := h.Put(ageKeyFile, "AGE-SECRET-KEY-1NOTAREALONE\n"); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// labJob is a job that looks at hosts of the lab.
func labJob(t testing.TB, l *lab.Lab, hosts ...*lab.Host) *job {
	t.Helper()
	j := newJob(t)
	j.Reach(l, hosts...)
	var addresses []string
	for _, h := range hosts {
		addresses = append(addresses, h.Name+"="+h.Address)
	}
	j.Inputs["hosts"], j.Inputs["user"] = strings.Join(addresses, "\n"), "nixos"
	return j
}

// result is what a run leaves behind.
type result struct {
	*jobtest.Result
	nodes []struct{ Name, Verdict, Address string }
}

func (j *job) do() result {
	r := result{Result: j.Do()}
	r.Nodes(&r.nodes)
	return r
}

// want holds a run against exactly the checks that are not proven.
func (r result) want(t testing.TB, checks ...string) {
	t.Helper()
	r.Want("", checks...)
	if r.Outputs["healthy"] != fmt.Sprint(r.Code == 0) {
		t.Errorf("healthy %q with the exit code %d", r.Outputs["healthy"], r.Code)
	}
}

func must(t testing.TB, h *lab.Host, script string) string {
	t.Helper()
	out, err := h.Run(script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func set(t testing.TB, h *lab.Host, s lab.State) {
	t.Helper()
	if err := h.SetState(s); err != nil {
		t.Fatal(err)
	}
}
