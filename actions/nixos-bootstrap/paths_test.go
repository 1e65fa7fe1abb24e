package main

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/ocitest"
)

// machine is a job that adopts a host of the lab which is NixOS, with K3s.
func machine(t *testing.T) *job {
	t.Helper()
	l := lab.New(t, 1)
	j := newJob(t, l, l.Hosts[0])
	j.adopt()
	return j
}

// The ways in to a machine that is NixOS, and what may be called closed after
// each.
func TestLabAccess(t *testing.T) {
	t.Parallel()
	j := machine(t)
	boot := must(t, j.host, "cat /proc/sys/kernel/random/boot_id")
	want := func(r *jobtest.Result, public string, opened int) {
		t.Helper()
		if r.Outputs["public_ssh"] != public || j.opened() != opened {
			t.Errorf("public_ssh is %q, want %q; the door was opened %d times, want %d\n%s", r.Outputs["public_ssh"], public, j.opened(), opened, r.Log)
		}
	}

	// By its address in the private network: nothing is opened, and that
	// nothing is open is proven.
	j.Inputs["access"], j.Inputs["hosts"] = "direct", j.host.Name+"="+j.host.Address
	r := j.Do()
	r.Want("converged", direct)
	r.Says("public-ssh-rules", "public-ssh-closed")
	want(r, "closed", 0)
	if r.Outputs["stage"] != "nixos" || r.Outputs["changed"] != "true" {
		t.Errorf("%v", r.Outputs)
	}

	// With nobody to ask, nothing of it is.
	id := j.Inputs["instance_id"]
	delete(j.Inputs, "instance_id")
	r = j.Do()
	r.Want("unchanged", direct, "public-ssh-rules=unproven")
	want(r, "open", 0)
	j.Inputs["waive"] = "public-ssh-rules"
	r = j.Do()
	r.Want("unchanged", direct, "public-ssh-rules=unproven (waived)")
	want(r, "open", 0)
	delete(j.Inputs, "waive")

	// Through a door.
	j.Inputs["instance_id"], j.Inputs["access"] = id, "nsg"
	delete(j.Inputs, "hosts")
	r = j.Do()
	r.Want("unchanged", direct)
	want(r, "closed", 1)

	// A stranger's rule, for the very address of the runner.
	var foreign string
	j.cloud.Change(func(w *ocitest.World) {
		foreign = w.AddRule(j.node.NSGID, ocitest.SSHFrom(runner(j.host).String()+"/32", "the operator's own"))
	})
	stays := func() {
		t.Helper()
		rules := j.cloud.World().NSG(j.node.NSGID).Rules
		if !slices.ContainsFunc(rules, func(r ocitest.Rule) bool { return r.ID == foreign && r.Description == "the operator's own" }) {
			t.Errorf("the foreign rule was touched: %+v", rules)
		}
		j.shut()
	}
	before := j.opened()
	r = j.Do()
	r.Want("", "public-ssh-rules=disproven")
	r.Says("the operator's own", "nothing here touches a rule that it did not make")
	want(r, "open", before)
	stays()
	j.Inputs["waive"] = "public-ssh-rules"
	r = j.Do()
	r.Want("unchanged", direct, "public-ssh-rules=disproven (waived)", "public-ssh-rules=disproven (waived)", "public-ssh-closed=disproven")
	if r.Outputs["public_ssh"] != "open" {
		t.Errorf("%v", r.Outputs)
	}
	stays()
	if now := must(t, j.host, "cat /proc/sys/kernel/random/boot_id"); now != boot {
		t.Error("it was rebooted")
	}
}

// date is a double: it is the real one, and an offset in a file, which -s writes.
const date = `#!/bin/sh
offset=/var/lib/clock-offset
real() { PATH=/usr/bin:/bin date "$@"; }
case "$1 $2" in
"-u -s") echo $((${3#@} - $(real +%s))) >$offset; echo "$3" >>$offset.set ;;
"-u +%s") echo $(($(real +%s) + $(cat $offset))) ;;
+now=%s\ ) echo now=$(($(real +%s) + $(cat $offset))) ;;
*) real "$@" ;;
esac
`

// The clock is set before anything that it decides, and never back under a
// running K3s.
func TestLabClock(t *testing.T) {
	t.Parallel()
	j := machine(t)
	j.Inputs["access"], j.Inputs["hosts"] = "direct", j.host.Name+"="+j.host.Address
	if err := j.host.Put("/usr/local/bin/date", date); err != nil {
		t.Fatal(err)
	}
	must(t, j.host, "chmod 755 /usr/local/bin /usr/local/bin/date && systemctl is-active k3s")
	for _, step := range []struct {
		name, before string
		offset       string
		outcome      string
		not          []string
		set          bool
	}{
		{"an hour ahead, under K3s", "", "3600", "", []string{"clock-set=disproven"}, false},
		{"off within the limit", "", "-12", "converged", []string{direct}, false},
		{"an hour behind, under K3s", "", "-3600", "unchanged", []string{direct}, true},
		{"an hour ahead, without K3s", "systemctl stop k3s", "3600", "unchanged", []string{direct}, true},
	} {
		must(t, j.host, "rm -f /var/lib/clock-offset.set; echo "+step.offset+" >/var/lib/clock-offset; "+step.before)
		r := j.Do()
		r.Want(step.outcome, step.not...)
		if step.outcome == "" {
			r.Says("ahead, and K3s is running", "stop K3s")
		}
		after := must(t, j.host, "cat /var/lib/clock-offset; ls /var/lib/clock-offset.set 2>/dev/null | wc -l")
		switch near := strings.HasPrefix(after, "0\n") || strings.HasPrefix(after, "1\n") || strings.HasPrefix(after, "-1\n"); {
		case step.set && (!near || !strings.HasSuffix(after, "\n1")), !step.set && after != step.offset+"\n0":
			t.Errorf("%s: afterwards %q", step.name, after)
		}
		if r.Outputs["public_ssh"] != "closed" || r.Outputs["changed"] != "true" && step.set {
			t.Errorf("%s: %v", step.name, r.Outputs)
		}
	}
}

// Two runs at once for one machine: the second is told so, on the same runner
// and on another one, and the first is not disturbed.
func TestLabTwoRuns(t *testing.T) {
	t.Parallel()
	l := lab.NewBare(t, 1)
	j := newJob(t, l, l.Hosts[0])
	first := make(chan *jobtest.Result, 1)
	go func() { first <- j.Do() }()
	for j.opened() == 0 {
		select {
		case r := <-first:
			t.Fatalf("it came to its end without a door:\n%s", r.Log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	for name, tt := range map[string]struct {
		dir, says string
		want      []string
	}{
		"the same runner": {j.Inputs["runner_dir"], "one on this runner", []string{"ingress-busy=disproven"}},
		"another one":     {filepath.Join(t.TempDir(), "state"), "wait for that run", []string{"ingress-busy=disproven", "public-ssh-rules=disproven"}},
	} {
		second := jobtest.New(t, metadata, run)
		second.Workspace, second.Home, second.Env, second.Inputs = j.Workspace, j.Home, j.Env, maps.Clone(j.Inputs)
		second.Inputs["runner_dir"] = tt.dir
		r := second.Do()
		r.Want("", tt.want...)
		r.Says(tt.says)
		if r.Outputs["public_ssh"] != "open" {
			t.Errorf("%s: %v", name, r.Outputs)
		}
	}
	r := <-first
	r.Want("converged", direct)
	if r.Outputs["public_ssh"] != "closed" || j.opened() != 1 {
		t.Errorf("%v, opened %d times", r.Outputs, j.opened())
	}
	j.shut()
}
