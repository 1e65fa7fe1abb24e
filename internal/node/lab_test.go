package node

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/verdict"
)

// look probes a host of the lab as the operator does, with a login of its own.
func look(t *testing.T, l *lab.Lab, p Policy, e Expect) map[string]verdict.Check {
	t.Helper()
	h := l.Hosts[0]
	target := sshx.Target{Host: h.Address, User: "nixos", HostKeys: []string{h.HostKey}, IdentityFiles: []string{l.Key}, Config: "none"}
	conn, err := sshx.Dial(t.Context(), target, sshx.Options{DialTimeout: generous})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e.Now, e.MaxSkew = time.Now(), time.Minute
	f, err := Collect(t.Context(), conn, p.Groups(), e, generous)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]verdict.Check{}
	for _, c := range p.Apply(append(Judge(f, e), RootLoginRefused(t.Context(), target, sshx.Options{DialTimeout: generous}))) {
		out[c.ID] = c
	}
	return out
}

// A real systemd, sshd, sudo, Nix store and boot partition; the doubles are
// the lab's.
func TestLabNode(t *testing.T) {
	l := lab.New(t, 1)
	h := l.Hosts[0]
	run := func(script string) string {
		t.Helper()
		out, err := h.Run(script)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	e := DefaultExpect()
	e.Hostname, e.MachineID, e.InstanceID = h.Name, h.MachineID, "ocid1.instance.oc1.eu-frankfurt-1.abc"
	e.BootIDBefore = run("cat /proc/sys/kernel/random/boot_id")
	e.System, e.Generation, e.Secrets = run("readlink -f /nix/var/nix/profiles/system"), 1, []string{"restic-password"}
	e.MinBootFree, e.MinStoreFree = 1, 1
	good := lab.State{InstanceID: e.InstanceID}
	set := func(change func(*lab.State)) {
		t.Helper()
		s := good
		change(&s)
		if err := h.SetState(s); err != nil {
			t.Fatal(err)
		}
	}
	set(func(*lab.State) {})
	run("install -d -m 700 /var/lib/sops-nix && umask 077 && echo AGE-SECRET-KEY-1 >/var/lib/sops-nix/key.txt")
	p := Policy{Set: AfterReboot(), Require: append(e.Asked(), LiveSystem, RootRefused)}

	notProven := func() []string {
		t.Helper()
		var ids []string
		for id, c := range look(t, l, p, e) {
			if c.Verdict != verdict.Proven {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		return ids
	}
	// The doubles and systemd take a moment.
	expect := func(when string, want ...string) {
		t.Helper()
		slices.Sort(want)
		got := notProven()
		for end := time.Now().Add(generous / 4); !slices.Equal(got, want) && time.Now().Before(end); got = notProven() {
			time.Sleep(100 * time.Millisecond)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: not proven are %q, want %q", when, got, want)
		}
	}
	reboot := func() {
		t.Helper()
		e.BootIDBefore = run("cat /proc/sys/kernel/random/boot_id")
		h.Run("systemctl reboot") // it may not live to answer
		for end := time.Now().Add(generous); ; time.Sleep(20 * time.Millisecond) {
			if id, err := h.Run("cat /proc/sys/kernel/random/boot_id"); err == nil && id != e.BootIDBefore && h.WaitSSH() == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal("it did not come back")
			}
		}
	}

	expect("before the reboot", BootID)
	set(func(s *lab.State) { s.K3s.StaleStatus = true })
	// A container that was started in the last seconds before a boot is within
	// the slack, and these hosts come up that fast.
	time.Sleep(3 * bootSlack)
	reboot()
	expect("a status from before the reboot", K3sNode, K3sWorkloads, K3sContainers)
	set(func(s *lab.State) { s.K3s.StaleContainers = true })
	reboot()
	expect("containers from before the reboot", K3sContainers)
	set(func(*lab.State) {})
	reboot()
	expect("after the reboot")

	// What goes wrong is seen, and nothing else is.
	for _, fault := range []struct {
		name, do, undo string
		state          func(*lab.State)
		want           []string
	}{
		{name: "a unit fails", do: "systemd-run --unit=broken sh -c 'echo it broke; exit 3'; while ! systemctl is-failed -q broken; do sleep 0.02; done", undo: "systemctl reset-failed broken", want: []string{SystemState, FailedUnits}},
		{name: "a unit stops", do: "systemctl stop tailscaled", undo: "systemctl start tailscaled", want: []string{Units}},
		{name: "a secret for all", do: "chmod 644 /run/secrets/restic-password", undo: "chmod 400 /run/secrets/restic-password", want: []string{Secrets}},
		{name: "an age key for others", do: "chmod 640 /var/lib/sops-nix/key.txt", undo: "chmod 600 /var/lib/sops-nix/key.txt", want: []string{AgeKey}},
		{name: "another default", do: "cp /boot/loader/loader.conf /tmp/l; sed -i 's/^default .*/default other.conf/' /boot/loader/loader.conf", undo: "cp /tmp/l /boot/loader/loader.conf", want: []string{LoaderDefault}},
		{name: "another node", do: "ln -sfn /nix/store /run/booted-system", undo: "ln -sfn " + e.System + " /run/booted-system", want: []string{BootedSystem}},
		{name: "a stale deployment", state: func(s *lab.State) { s.K3s.StaleGeneration = true }, want: []string{K3sWorkloads}},
		{name: "no container", state: func(s *lab.State) { s.K3s.Missing = []string{"hbbr"} }, want: []string{K3sContainers, K3sWorkloads}},
		{name: "a closed port", do: "systemctl restart k3s", undo: "systemctl restart k3s", state: func(s *lab.State) { s.K3s.ClosedPorts = []int{21117} }, want: []string{Ports}},
		{name: "offline", state: func(s *lab.State) { s.Tailscale.Offline = true }, want: []string{"tailnet-online"}},
		{name: "another instance", state: func(s *lab.State) { s.InstanceID = "ocid1.instance.oc1.eu-frankfurt-1.xyz" }, want: []string{HostIdentity}},
	} {
		if fault.state != nil {
			set(fault.state)
		}
		run(cmp.Or(fault.do, "true"))
		expect(fault.name, fault.want...)
		set(func(*lab.State) {})
		run(cmp.Or(fault.undo, "true"))
	}
}
