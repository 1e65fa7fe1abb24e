package main

import (
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/lab"
)

// ageKeyFile is where the nodes have their key.
const ageKeyFile = "/var/lib/sops-nix/key.txt"

// job is a runner's job as far as this action sees it.
type job struct{ *jobtest.Job }

func newJob(t testing.TB) *job {
	t.Helper()
	j := &job{jobtest.New(t, metadata, run)}
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

// labJob is a job that reboots hosts of the lab, with little patience.
func labJob(t testing.TB, l *lab.Lab, hosts ...*lab.Host) *job {
	t.Helper()
	j := newJob(t)
	j.Reach(l, hosts...)
	var addresses []string
	for _, h := range hosts {
		addresses = append(addresses, h.Name+"="+h.Address)
	}
	j.Inputs["hosts"], j.Inputs["user"] = strings.Join(addresses, "\n"), "nixos"
	for name, value := range map[string]string{"shutdown_timeout": "30s", "boot_timeout": "1m", "ready_timeout": "1m", "stable_for": "1s"} {
		j.Inputs[name] = value
	}
	return j
}

// result is what a run leaves behind.
type result struct {
	*jobtest.Result
	nodes []struct{ Name, Outcome string }
}

func (j *job) do() result {
	r := result{Result: j.Do()}
	r.Nodes(&r.nodes)
	return r
}

// want holds a run against its outcome and exactly the checks that are not
// proven.
func (r result) want(t testing.TB, outcome string, checks ...string) {
	t.Helper()
	if r.Want(outcome, checks...); (outcome == "proven") != (r.Code == 0) {
		t.Errorf("%s with the exit code %d", outcome, r.Code)
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

func bootID(t testing.TB, h *lab.Host) string {
	t.Helper()
	return must(t, h, "cat /proc/sys/kernel/random/boot_id")
}

// awaitBoot waits until the host runs another boot than the given one.
func awaitBoot(t testing.TB, h *lab.Host, before string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if id, err := h.Run("cat /proc/sys/kernel/random/boot_id"); err == nil && id != before {
			if err := h.WaitSSH(); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%s does not reboot", h.Name)
}
