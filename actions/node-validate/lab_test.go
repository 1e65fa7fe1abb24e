package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/lab"
)

// ill is one way in which a node is not what it should be: what is done to a
// host of the lab and undone again, and which checks then do not hold. All the
// others have to.
type ill struct {
	do, undo string
	state    func(*lab.State)
	inputs   map[string]string
	want     []string
	says     []string
}

// restartK3s has its double read the state, and waits until it serves.
const restartK3s = "systemctl restart k3s; until bash -c ': </dev/tcp/127.0.0.1/6443' 2>/dev/null; do sleep 0.02; done\n"

var ills = map[string]ill{
	"nothing": {},
	"a failed unit": {
		do: `printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "echo the disk is on fire; exit 3"\n' >/run/systemd/system/broken.service
systemctl daemon-reload; systemctl start broken || true`,
		undo: "systemctl reset-failed broken; rm /run/systemd/system/broken.service; systemctl daemon-reload",
		want: []string{"failed-units=disproven", "system-state=disproven"},
		says: []string{"broken.service", "the disk is on fire", "systemctl reset-failed"},
	},
	"a unit that fails and is known to": {
		do: `printf '[Service]\nType=oneshot\nExecStart=/bin/false\n' >/run/systemd/system/known.service
systemctl daemon-reload; systemctl start known || true`,
		undo:   "systemctl reset-failed known; rm /run/systemd/system/known.service; systemctl daemon-reload",
		inputs: map[string]string{"failed_units": "known.service"},
	},
	"a unit that is not there": {
		inputs: map[string]string{"units": "k3s.service nothing.service"},
		want:   []string{"units=disproven"}, says: []string{"nothing.service is not there"},
	},
	"a kubelet that has not reported since the boot": {
		do:   `cp /var/lib/lab/cluster.json /root/; sed -i 's/"boot_id":"[^"]*"/"boot_id":"11111111-2222-4333-8444-555555555555"/' /var/lib/lab/cluster.json`,
		undo: "mv /root/cluster.json /var/lib/lab/",
		want: []string{"k3s-node=disproven", "k3s-workloads=unproven"}, says: []string{"11111111-2222-4333-8444-555555555555"},
	},
	"a node that is not ready": {state: func(s *lab.State) { s.K3s.NotReady = true }, want: []string{"k3s-node=disproven"}},
	"an old status of a deployment": {
		state: func(s *lab.State) { s.K3s.StaleGeneration = true },
		want:  []string{"k3s-workloads=disproven"}, says: []string{"rustdesk/hbbr"},
	},
	"a missing container": {
		state: func(s *lab.State) { s.K3s.Missing = []string{"hbbr"} },
		want:  []string{"k3s-containers=disproven", "k3s-workloads=disproven"}, says: []string{`"hbbr" is in no pod on this node`},
	},
	"no K3s": {
		do: "systemctl stop k3s", undo: restartK3s,
		want: []string{"k3s-containers=unproven", "k3s-node=unproven", "k3s-workloads=unproven", "ports=disproven", "units=disproven"},
	},
	"a closed port": {
		state: func(s *lab.State) { s.K3s.ClosedPorts = []int{21116} }, do: restartK3s, undo: "rm /var/lib/lab/state.json;" + restartK3s,
		want: []string{"ports=disproven"}, says: []string{"none on port 21116"},
	},
	"no age key": {
		do: "mv " + ageKeyFile + " /root/", undo: "mv /root/key.txt " + ageKeyFile,
		want: []string{"age-key=disproven"}, says: []string{ageKeyFile + " is not there"},
	},
	"an empty age key": {
		do: "cp -p " + ageKeyFile + " /root/; : >" + ageKeyFile, undo: "mv /root/key.txt " + ageKeyFile,
		want: []string{"age-key=disproven"}, says: []string{"is empty"},
	},
	"an age key for everybody": {
		do: "chmod 644 " + ageKeyFile, undo: "chmod 600 " + ageKeyFile,
		want: []string{"age-key=disproven"}, says: []string{"has mode 0644"},
	},
	"an age key of somebody else": {
		do: "chown nixos " + ageKeyFile, undo: "chown root " + ageKeyFile,
		want: []string{"age-key=disproven"}, says: []string{"belongs to"},
	},
	"no secrets": {
		do: "systemctl stop secrets", undo: "systemctl start secrets",
		want: []string{"secrets=disproven"}, says: []string{"sops-nix"},
	},
	"a secret that is missing": {
		inputs: map[string]string{"secrets": "k3s-token tunnel"},
		want:   []string{"secrets=disproven"}, says: []string{`"tunnel" is missing`},
	},
	"a secret for everybody": {
		do: "chmod 644 /run/secrets/k3s-token", undo: "chmod 600 /run/secrets/k3s-token",
		want: []string{"secrets=disproven"},
	},
	"root logs in": {
		do: `sed -i 's/^PermitRootLogin no/PermitRootLogin yes/' /etc/ssh/sshd_config.d/lab.conf; mkdir -pm 700 /root/.ssh
install -m 600 /home/nixos/.ssh/authorized_keys /root/.ssh/; systemctl restart ssh`,
		undo: "sed -i 's/^PermitRootLogin yes/PermitRootLogin no/' /etc/ssh/sshd_config.d/lab.conf; rm -r /root/.ssh; systemctl restart ssh",
		want: []string{"root-login-config=disproven", "root-login-refused=disproven"},
	},
	"a full /boot": {
		do: "fallocate -l $(($(stat -f -c '%a * %S' /boot) - 1000000)) /boot/fill", undo: "rm /boot/fill",
		want: []string{"boot-space=disproven"}, says: []string{"nix-collect-garbage"},
	},
	"a full store":     {inputs: map[string]string{"min_store_free_mib": "1073741824"}, want: []string{"store-space=disproven"}},
	"another system":   {inputs: map[string]string{"system_path": "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-edge-1-26.05"}, want: []string{"system=disproven"}},
	"a generation":     {inputs: map[string]string{"generation": "1"}},
	"an older one":     {inputs: map[string]string{"generation": "2"}, want: []string{"generation=disproven"}},
	"a clock":          {inputs: map[string]string{"max_clock_skew": "1h"}},
	"a clock, unasked": {inputs: map[string]string{"require": "clock"}, want: []string{"clock=unproven"}},
	"another machine": {
		inputs: map[string]string{"machine_ids": "HOST=0123456789abcdef0123456789abcdef"},
		want:   []string{"host-identity=disproven"}, says: []string{"this is another machine"},
	},
	"sudo that asks": {
		do: "mv /etc/sudoers.d/nixos /root/", undo: "mv /root/nixos /etc/sudoers.d/",
		want: []string{"sudo-refused=disproven"}, says: []string{"sudo without a password"},
	},
	"a node that is logged out": {
		state: func(s *lab.State) { s.Tailscale.BackendState = "NeedsLogin" },
		want:  []string{"tailnet-health=unproven", "tailnet-key=unproven", "tailnet-online=unproven", "tailnet-state=disproven"},
		says:  []string{"it is logged out"},
	},
	"a key that expires": {
		state: func(s *lab.State) { s.Tailscale.KeyExpiry = "2026-01-01T00:00:00Z" },
		want:  []string{"tailnet-key=disproven"},
	},
	"a key that expires, waived": {
		state: func(s *lab.State) { s.Tailscale.KeyExpiry = "2026-01-01T00:00:00Z" }, inputs: map[string]string{"waive": "tailnet-key"},
		want: []string{"tailnet-key=disproven (waived)"}, says: []string{"waive"},
	},
	"a complaint": {
		state: func(s *lab.State) { s.Tailscale.Health = []string{"the sky is falling"} },
		want:  []string{"tailnet-health=disproven"}, says: []string{"the sky is falling"},
	},
	"no sshd": { // sshx has a connection refused, at once
		do: "systemctl stop ssh.service ssh.socket 2>/dev/null || systemctl stop ssh", undo: "systemctl start ssh",
		want: []string{"unreachable=unproven"},
	},
	"another host key": {
		inputs: map[string]string{"host_keys": "HOST ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3gkhBWT6wQFNOTWVb0Ks9ZTMoSBVG9jmo2xpRTmNrL"},
		want:   []string{"host-key-changed=disproven"},
	},
	"no host key": { // nothing is learnt from the host itself
		inputs: map[string]string{"host_keys": " "},
		want:   []string{"host-key-unknown=unproven"},
	},
	"another user": {
		inputs: map[string]string{"user": "somebody"},
		want:   []string{"auth-refused=disproven"},
	},
}

// Each illness is shown as what it is, and as nothing else.
func TestLabIlls(t *testing.T) {
	const n = 3
	l := newLab(t, n)
	free := make(chan *lab.Host, n)
	for _, h := range l.Hosts {
		free <- h
	}
	for name, tt := range ills {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := <-free
			defer func() { free <- h }()
			j := labJob(t, l, h)
			for input, value := range tt.inputs {
				j.Inputs[input] = strings.ReplaceAll(value, "HOST", h.Name)
			}
			var s lab.State
			if tt.state != nil {
				tt.state(&s)
			}
			set(t, h, s)
			if tt.do != "" {
				must(t, h, tt.do)
			}
			r := j.do()
			if tt.undo != "" {
				must(t, h, tt.undo)
			}
			r.want(t, tt.want...)
			r.Says(tt.says...)
		})
	}
}

// What a healthy node says of itself is what the outputs say.
func TestLabHealthy(t *testing.T) {
	l := newLab(t, 2)
	h := l.Hosts[0]
	j := labJob(t, l, h)
	j.Inputs["machine_ids"] = h.Name + "=" + h.MachineID
	j.Inputs["system_path"] = must(t, h, "readlink /run/current-system")
	r := j.do()
	r.want(t)
	r.Says("tailnet-path: one to " + h.Address + ":22  [waived by tailnet: off]")
	want := map[string]string{
		"healthy": "true", "system_path": j.Inputs["system_path"], "generation": "1", "boot_id": must(t, h, "cat /proc/sys/kernel/random/boot_id"),
		"kubeconfig_path": "", "failure_reason": "",
	}
	for name, value := range want {
		if r.Outputs[name] != value {
			t.Errorf("output %s is %q, wanted %q", name, r.Outputs[name], value)
		}
	}
	if len(r.nodes) != 1 || r.nodes[0].Address != h.Address+":22" || strings.Contains(r.Log, "hunter2") {
		t.Errorf("%v\n%s", r.nodes, r.Log)
	}

	t.Run("the wrong machine behind the right name", func(t *testing.T) {
		j := labJob(t, l, h)
		j.Inputs["nodes"], j.Inputs["hosts"], j.Inputs["host_keys"] = "web-1", "web-1="+h.Address, "web-1 "+h.HostKey
		j.Inputs["kubeconfig_path"] = filepath.Join(j.Home, "config")
		r := j.do()
		r.want(t, "host-identity=disproven", "kubeconfig=unproven")
		r.Says("hostname edge-1", "not proven which machine this is")
	})
	t.Run("its public port", func(t *testing.T) {
		j := labJob(t, l, h)
		j.Inputs["public_address"] = h.Address
		j.do().want(t, "public-ssh-closed=disproven")
		// One whose answers are dropped, as a security list does.
		silent := strings.TrimSuffix(h.Address, "11") + "99"
		must(t, h, fmt.Sprintf("ip addr add %s/24 dev eth0 && ip rule add from %s blackhole", silent, silent))
		j.Inputs["public_address"] = silent
		r := j.do()
		r.want(t)
		r.Says("public-ssh-closed")
	})
	t.Run("several, one ill", func(t *testing.T) {
		var s lab.State
		s.K3s.NotReady = true
		set(t, l.Hosts[1], s)
		r := labJob(t, l, l.Hosts...).do()
		r.want(t, "edge-2: k3s-node=disproven")
		if r.nodes[0].Verdict != "proven" || r.nodes[1].Verdict != "disproven" || r.Outputs["system_path"] != "" || r.Outputs["failure_reason"] != "k3s-node" {
			t.Errorf("%v %v", r.nodes, r.Outputs)
		}
		r.Says("edge-1: proven", "edge-2: disproven, for k3s-node")
		set(t, l.Hosts[1], lab.State{})
	})
	t.Run("one that says nothing", func(t *testing.T) {
		must(t, l.Hosts[1], "ip rule add from "+l.Hosts[1].Address+" blackhole")
		j := labJob(t, l, l.Hosts...)
		j.Inputs["connect_timeout"] = "2s"
		r := j.do()
		r.want(t, "edge-2: ssh-timeout=unproven")
		if r.nodes[1].Verdict != "unproven" {
			t.Errorf("%v", r.nodes)
		}
	})
}
