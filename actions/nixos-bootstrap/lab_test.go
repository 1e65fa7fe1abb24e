package main

import (
	"cmp"
	"errors"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/ingress"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/ocitest"
)

// direct is how the first deploy goes past the tailnet, which is not there yet:
// shown, and by the input that says so.
const direct = "tailnet-path=unproven (waived)"

// From what the cloud hands out to a node, through a door that was open for
// that alone.
func TestLabInfect(t *testing.T) {
	t.Parallel()
	l := lab.NewBare(t, 1)
	h := l.Hosts[0]
	j := newJob(t, l, h)
	machineID := must(t, h, "cat /etc/machine-id")
	j.Inputs["mode"] = "plan"
	r := j.Do()
	r.Want("")
	r.Says("run nixos-infect", "deploy the hive's system", "nothing is done: mode is plan")
	if r.Code != 0 || r.Outputs["stage"] != "bare" || r.Outputs["public_ssh"] != "closed" || must(t, h, "ls /etc/NIXOS 2>/dev/null || echo none") != "none" {
		t.Fatalf("%d %v\n%s", r.Code, r.Outputs, r.Log)
	}
	j.shut()

	j.Inputs["mode"] = "apply"
	r = j.Do()
	r.Want("converged", direct)
	if r.Code != 0 || r.Outputs["stage"] != "bare" || r.Outputs["public_ssh"] != "closed" || r.Outputs["changed"] != "true" || !strings.Contains(r.Outputs["system_path"], "first") {
		t.Fatalf("%d %v\n%s", r.Code, r.Outputs, r.Log)
	}
	j.shut()
	if got := must(t, h, "cat /etc/machine-id"); got != machineID {
		t.Errorf("the machine has another id: %s", got)
	}
	if n := j.opened(); n != 2 {
		t.Errorf("the door was opened %d times", n)
	}

	// It is there.
	r = j.Do()
	r.Want("unchanged", direct)
	if r.Code != 0 || r.Outputs["stage"] != "nixos" || r.Outputs["changed"] != "false" || r.Outputs["public_ssh"] != "closed" {
		t.Fatalf("%d %v\n%s", r.Code, r.Outputs, r.Log)
	}
	j.shut()
}

// The same by nixos-anywhere, which trusts any host key and is content with a
// host that does not answer.
func TestLabAnywhere(t *testing.T) {
	t.Parallel()
	l := lab.NewBare(t, 1)
	h := l.Hosts[0]
	j := newJob(t, l, h)
	j.anywhere()
	machineID := must(t, h, "cat /etc/machine-id")
	r := j.Do()
	r.Want("unchanged", direct) // it installs the hive's system
	r.Says("WIPES", "### Done! ###")
	if r.Code != 0 || r.Outputs["changed"] != "true" || r.Outputs["public_ssh"] != "closed" || must(t, h, "cat /etc/machine-id") != machineID {
		t.Fatalf("%d %v\n%s", r.Code, r.Outputs, r.Log)
	}
	j.shut()
}

func (j *job) anywhere() {
	j.Inputs["method"] = "nixos-anywhere"
	for _, name := range []string{"infect_script", "infect_sha256", "infect_env"} {
		delete(j.Inputs, name)
	}
}

func (j *job) adopt() {
	j.anywhere()
	j.Inputs["method"] = "adopt"
}

// A machine that is not what it must be is refused before anything is changed,
// and the door is shut.
func TestLabRefused(t *testing.T) {
	t.Parallel()
	const hosts = 4
	l := lab.NewBare(t, hosts)
	const look = "ls -la /etc/nixos /nix/var/nix/profiles /var/lib/edge-actions /etc/NIXOS 2>&1; cat /proc/sys/kernel/random/boot_id"
	free, before := make(chan *lab.Host, hosts), map[string]string{}
	for _, h := range l.Hosts {
		free <- h
		before[h.Name] = must(t, h, look)
	}
	for name, tt := range map[string]struct {
		state  func(*lab.State)
		inputs map[string]string
		do     func(*job)
		want   []string
		says   []string
		closed string // "closed" if empty
	}{
		"too small an ESP":      {state: func(s *lab.State) { s.Disk.ESPSize = 60 << 20 }, want: []string{"esp=disproven"}, says: []string{"60 MiB", "98 to 100 MB"}},
		"too full an ESP":       {state: func(s *lab.State) { s.Disk.ESPFree = 5 << 20 }, want: []string{"esp=disproven"}, says: []string{"5 MiB free"}},
		"no ESP":                {state: func(s *lab.State) { s.Disk.ESPMissing = true }, want: []string{"esp=disproven"}, says: []string{"no such label"}},
		"another ESP label":     {state: func(s *lab.State) { s.Disk.ESPLabel = "EFI" }, want: []string{"esp=disproven"}, says: []string{"fatlabel"}},
		"another root label":    {state: func(s *lab.State) { s.Disk.RootLabel = "cloud-root" }, want: []string{"root-label=disproven"}, says: []string{`"cloud-root"`}},
		"too little memory":     {inputs: map[string]string{"min_memory_mib": "9999999"}, want: []string{"memory=disproven"}},
		"another processor":     {inputs: map[string]string{"architecture": "aarch64"}, want: []string{"architecture=disproven"}, says: []string{"x86_64"}},
		"another machine id":    {inputs: map[string]string{"machine_ids": "NODE=" + strings.Repeat("0", 32)}, want: []string{"host-identity=disproven"}, says: []string{"another machine"}},
		"another instance":      {state: func(s *lab.State) { s.InstanceID = "ocid1.instance.oc1.eu-frankfurt-1.other" }, want: []string{"host-identity=disproven"}},
		"no instance":           {state: func(s *lab.State) { s.InstanceID = "-" }, want: []string{"host-identity=unproven"}},
		"not NixOS":             {do: (*job).adopt, want: []string{"method=disproven"}, says: []string{"nixos-infect or nixos-anywhere"}},
		"another host key":      {do: func(j *job) { j.Inputs["host_keys"] = j.host.Name + " " + otherKey }, want: []string{"host-key-changed=disproven"}},
		"nobody is let in":      {inputs: map[string]string{"login_users": "opc debian"}, want: []string{"login=disproven"}, says: []string{"login_users"}},
		"only a forced command": {inputs: map[string]string{"login_users": "root"}, want: []string{"login=unproven"}, says: []string{"exit code 142", "login_users"}},
		"the default list is open": {do: func(j *job) { j.cloud.Change(func(w *ocitest.World) { w.OpenDefaultList() }) }, want: []string{"public-ssh-rules=disproven"},
			says: []string{`security list "Default Security List for edge"`}, closed: "open"},
		"another run's lease": {do: func(j *job) {
			j.cloud.Change(func(w *ocitest.World) {
				m := ingress.Marker{Nonce: strings.Repeat("a", 32), Expires: time.Now().Add(time.Hour), Node: j.host.Name, Run: "owner/infra#11.1"}
				r := ocitest.SSHFrom("198.51.100.7/32", m.Description())
				now := time.Now()
				r.TimeCreated = &now
				w.AddRule(j.node.NSGID, r)
			})
		}, want: []string{"ingress-busy=disproven", "public-ssh-rules=disproven"}, says: []string{"owner/infra#11.1"}, closed: "open"},
		"a stopped instance":               {do: func(j *job) { j.cloud.Change(func(w *ocitest.World) { w.Instances[0].LifecycleState = "STOPPED" }) }, want: []string{"instance-running=disproven"}, closed: "open"},
		"an instance that may not be seen": {do: func(j *job) { j.cloud.Forbid(j.node.InstanceID) }, want: []string{"oci-missing-or-forbidden=unproven"}, closed: "open"},
		"no rule may be added":             {do: func(j *job) { j.cloud.Fail("POST", "addSecurityRules", -1, 404, "NotAuthorizedOrNotFound") }, want: []string{"oci-missing-or-forbidden=unproven"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := <-free
			defer func() { free <- h }()
			j := newJob(t, l, h)
			var s lab.State
			if tt.state != nil {
				tt.state(&s)
			}
			if s.InstanceID == "" {
				s.InstanceID = j.node.InstanceID
			}
			set(t, h, s)
			for input, value := range tt.inputs {
				j.Inputs[input] = strings.ReplaceAll(value, "NODE", h.Name)
			}
			if tt.do != nil {
				tt.do(j)
			}
			r := j.Do()
			r.Want("", tt.want...)
			r.Says(tt.says...)
			if want := cmp.Or(tt.closed, "closed"); r.Outputs["public_ssh"] != want {
				t.Errorf("public_ssh is %q, want %q\n%s", r.Outputs["public_ssh"], want, r.Log)
			}
			if name != "another run's lease" {
				j.shut()
			}
			if after := must(t, h, look); after != before[h.Name] {
				t.Errorf("the host was changed:\n%s\nbefore:\n%s", after, before[h.Name])
			}
		})
	}
}

const otherKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJiUu4BdRhmxmLcmYUY8BTy9Djb0A4SW5hHwIxPUzBxd"

// What goes wrong on the way, by both methods.
func TestLabTransition(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		state func(*lab.State)
		do    func(*job)
		want  []string
		says  []string
		heal  func(*testing.T, *lab.Host) // then the next run comes to the end; nil if it can't
	}{
		"the build dies":            {state: func(s *lab.State) { s.Transition.DiesInBuild = true }, want: []string{"transition=disproven"}, says: []string{"it failed", "exit code"}, heal: func(*testing.T, *lab.Host) {}},
		"the host key changes":      {state: func(s *lab.State) { s.Transition.HostKeyChanges = true }, want: []string{"host-key-changed=disproven"}},
		"the old system comes back": {state: func(s *lab.State) { s.Transition.OldSystem = true }, want: []string{"transition=disproven"}, says: []string{"booted its old system"}},
		"it never comes back": {state: func(s *lab.State) { s.Transition.NeverBack = true }, do: func(j *job) { j.Inputs["boot_timeout"] = "8s" }, want: []string{"reboot-back=unproven"}, says: []string{"console"},
			heal: func(t *testing.T, h *lab.Host) {
				if err := errors.Join(h.Release(), h.WaitSSH()); err != nil {
					t.Error(err)
				}
			}},
		"nixos-anywhere is content with nobody": {state: func(s *lab.State) { s.Transition.NeverBack = true }, do: func(j *job) { j.anywhere(); j.Inputs["boot_timeout"] = "8s"; j.Inputs["transition_timeout"] = "20s" },
			want: []string{"transition=unproven"}},
		"the installer has another key": {state: func(s *lab.State) { s.Transition.HostKeyChanges = true }, do: func(j *job) { j.anywhere(); j.Inputs["transition_timeout"] = "30s" }, want: []string{"transition=unproven"}},
		"a configuration without our key": {do: func(j *job) {
			must(j.t, j.host, "mkdir -p /etc/nixos && echo '{ ... }: { users.users.root.openssh.authorizedKeys.keys = [ ]; }' >/etc/nixos/configuration.nix")
		}, want: []string{"transition=unproven"}, says: []string{"does not let us in as root", "still runs its old system"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lab.NewBare(t, 1)
			h := l.Hosts[0]
			j := newJob(t, l, h)
			var s lab.State
			if tt.state != nil {
				tt.state(&s)
			}
			j.set(s)
			if tt.do != nil {
				tt.do(j)
			}
			r := j.Do()
			r.Want("", tt.want...)
			r.Says(tt.says...)
			if r.Outputs["public_ssh"] != "closed" {
				t.Errorf("%v", r.Outputs)
			}
			j.shut()
			if tt.heal == nil {
				return
			}
			tt.heal(t, h)
			j.set(lab.State{})
			r = j.Do()
			r.Want("converged", direct)
		})
	}
}
