package main

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/runnertest"
)

// ill is one way in which a reboot goes wrong: what is done to a host of the
// lab before it, and undone after it, and which checks then do not hold.
type ill struct {
	do, undo string // undo runs on a host that is up
	state    func(*lab.State)
	before   func(*testing.T, *lab.Host)
	after    func(testing.TB, *lab.Host, string) // the last is the boot id from before
	inputs   map[string]string
	outcome  string
	want     []string
	says     []string
	stays    bool // it must not have been rebooted
}

const profile = "/nix/var/nix/profiles/system"

// theFirst makes the profile's system the only one again.
const theFirst = profile + "/bin/switch-to-configuration switch && nix-env -p " + profile + " --delete-generations old && " + profile + "/bin/switch-to-configuration boot"

// bootTheFirst commits a second system, and has the loader boot the first.
func bootTheFirst(t *testing.T, h *lab.Host) {
	second, err := h.Build("2", "good")
	if err != nil {
		t.Fatal(err)
	}
	must(t, h, "nix-env -p "+profile+" --set "+second+" && "+second+"/bin/switch-to-configuration switch && sed -i 's/^default .*/default nixos-generation-1.conf/' /boot/loader/loader.conf")
}

// longAgo has the containers run since long ago; a lab is too young for that.
const longAgo = `sed -i 's/"started":"[^"]*"/"started":"2026-01-01T00:00:00Z"/' /var/lib/lab/cluster.json`

var ills = map[string]ill{
	"an older system": { // as after a loader that could not be written
		before:  bootTheFirst,
		undo:    "nix-env -p " + profile + " --rollback && " + theFirst,
		inputs:  map[string]string{"ready_timeout": "6s"},
		outcome: "not-ready", want: []string{"loader-default=disproven", "system=disproven"},
		says: []string{"the default is /nix/store/", "waiting at most"},
	},
	"a node that rolls itself back": { // all of it is of one piece, and not what was committed
		before: func(t *testing.T, h *lab.Host) {
			bootTheFirst(t, h)
			must(t, h, `printf '[Service]\nType=oneshot\nEnvironment=HOME=/root NIX_REMOTE=\nExecStart=/usr/bin/nix-env -p '`+profile+`' --rollback\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/roll.service
systemctl -q enable roll`)
		},
		undo:    "systemctl -q disable roll; rm /etc/systemd/system/roll.service; systemctl daemon-reload; " + theFirst,
		inputs:  map[string]string{"ready_timeout": "6s"},
		outcome: "not-ready", want: []string{"system=disproven"},
	},
	"never back": {
		before: func(t *testing.T, h *lab.Host) {
			if err := h.Hold(); err != nil {
				t.Fatal(err)
			}
		},
		after: func(t testing.TB, h *lab.Host, before string) {
			if err := h.Release(); err != nil {
				t.Fatal(err)
			}
			awaitBoot(t, h, before)
		},
		inputs:  map[string]string{"boot_timeout": "3s", "connect_timeout": "1s"},
		outcome: "not-back", want: []string{"reboot-back=unproven"}, says: []string{"another boot within 3s", "look at the host's console"},
	},
	"in circles": { // five times, which is longer than anybody waits
		do: `printf '[Service]\nType=exec\nExecStart=/bin/sh -c "echo >>/root/boots; [ $$(wc -l </root/boots) -gt 5 ] || { sleep 1; systemctl reboot; }"\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/circles.service
systemctl -q enable circles`,
		after: func(t testing.TB, h *lab.Host, _ string) {
			for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
				if out, err := h.Run("wc -l </root/boots"); err == nil && out == "6" {
					break
				} else if time.Now().After(end) {
					t.Fatalf("%q %v", out, err)
				}
			}
			if err := h.WaitSSH(); err != nil {
				t.Fatal(err)
			}
		},
		undo:    "systemctl -q disable circles; rm /etc/systemd/system/circles.service /root/boots; systemctl daemon-reload",
		inputs:  map[string]string{"stable_for": "3s", "boot_timeout": "4s"},
		outcome: "not-back", want: []string{"reboot-back=unproven"}, says: []string{"that lasts for 3s"},
	},
	"a kubelet that does not report": {
		state: func(s *lab.State) { s.K3s.StaleStatus = true }, do: longAgo,
		inputs: map[string]string{"ready_timeout": "6s"}, undo: "rm -f /var/lib/lab/state.json; systemctl restart k3s",
		outcome: "not-ready", want: []string{"k3s-containers=disproven", "k3s-node=disproven", "k3s-workloads=unproven"},
		says: []string{"a report of the boot", "the kubelet has not reported since the boot"},
	},
	"containers from before": {
		state: func(s *lab.State) { s.K3s.StaleContainers = true }, do: longAgo,
		inputs: map[string]string{"ready_timeout": "6s"}, undo: "rm -f /var/lib/lab/state.json /var/lib/lab/cluster.json; systemctl restart k3s",
		outcome: "not-ready", want: []string{"k3s-containers=disproven"}, says: []string{"before the boot at"},
	},
	"a unit that fails at boot": {
		do:     `printf '[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/late.service; systemctl -q enable late`,
		undo:   "systemctl -q disable late; rm /etc/systemd/system/late.service; systemctl daemon-reload; systemctl reset-failed",
		inputs: map[string]string{"ready_timeout": "6s"}, outcome: "not-ready", want: []string{"failed-units=disproven", "system-state=disproven"}, says: []string{"late.service"},
	},
	"a unit that failed before": {
		do:   `printf '[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/late.service; systemctl -q enable late; systemctl start late || true`,
		undo: "systemctl -q disable late; rm /etc/systemd/system/late.service; systemctl daemon-reload; systemctl reset-failed", outcome: "proven",
	},
	"a reboot that is refused": {
		do: "systemctl -q mask reboot.target", undo: "systemctl -q unmask reboot.target", stays: true,
		outcome: "not-down", want: []string{"reboot-down=disproven"}, says: []string{"ended with exit code 1", "systemctl list-jobs"},
	},
	"a reboot that says it failed, and goes on": {
		do:   `printf '#!/bin/sh\n/usr/bin/systemctl "$@"; c=$?; [ "$1" != reboot ] || exit 1; exit $c\n' >/usr/local/sbin/systemctl; chmod 755 /usr/local/sbin/systemctl`,
		undo: "rm /usr/local/sbin/systemctl", outcome: "proven",
	},
	"a unit that does not stop": {
		do: `printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/bin/sleep 6\nTimeoutStopSec=60\n[Unit]\nAfter=dbus.service\n' >/run/systemd/system/slow.service
systemctl daemon-reload; systemctl start slow`,
		after: awaitBoot, inputs: map[string]string{"shutdown_timeout": "2s"},
		outcome: "not-down", want: []string{"reboot-down=disproven"}, says: []string{"within 2s", "systemctl list-jobs", "shutdown_timeout"},
	},
	"another machine": {
		inputs: map[string]string{"machine_ids": "HOST=0123456789abcdef0123456789abcdef"}, stays: true,
		outcome: "refused", want: []string{"host-identity=disproven"}, says: []string{"this is another machine"},
	},
	"another host key": {
		inputs: map[string]string{"host_keys": "HOST ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3gkhBWT6wQFNOTWVb0Ks9ZTMoSBVG9jmo2xpRTmNrL"}, stays: true,
		outcome: "refused", want: []string{"host-key-changed=disproven"},
	},
	"sudo that asks": {
		do: "mv /etc/sudoers.d/nixos /root/", undo: "mv /root/nixos /etc/sudoers.d/", stays: true,
		outcome: "refused", want: []string{"sudo-refused=disproven"},
	},
	"what is waived": {
		state: func(s *lab.State) { s.K3s.NotReady = true }, undo: "rm -f /var/lib/lab/state.json",
		inputs: map[string]string{"waive": "k3s-node"}, outcome: "proven", want: []string{"k3s-node=disproven (waived)"},
	},
}

// Each way to fail is shown as what it is, and as nothing else.
func TestLabIlls(t *testing.T) {
	const n = 4
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
			if err := h.SetState(s); err != nil {
				t.Fatal(err)
			}
			if tt.do != "" {
				must(t, h, tt.do)
			}
			if tt.before != nil {
				tt.before(t, h)
			}
			boot := bootID(t, h)
			r := j.do()
			if tt.after != nil {
				tt.after(t, h, boot)
			}
			if stayed := bootID(t, h) == boot; stayed != tt.stays {
				t.Errorf("not rebooted: %v, wanted %v\n%s", stayed, tt.stays, r.Log)
			}
			if tt.undo != "" {
				must(t, h, tt.undo)
			}
			r.want(t, tt.outcome, tt.want...)
			r.Says(tt.says...)
		})
	}
}

func TestLabReboot(t *testing.T) {
	l := newLab(t, 2)
	h := l.Hosts[0]
	t.Run("good", func(t *testing.T) {
		var s lab.State
		s.K3s.ReportAfterSeconds = 2.5
		if err := h.SetState(s); err != nil {
			t.Fatal(err)
		}
		before := bootID(t, h)
		r := labJob(t, l, h).do()
		r.want(t, "proven")
		after := bootID(t, h)
		if after == before || r.Outputs["boot_id"] != after || r.Outputs["system_path"] != must(t, h, "readlink /run/current-system") {
			t.Errorf("boot %s, before it %s; %v", after, before, r.Outputs)
		}
		last := 0.0
		for _, name := range []string{"down_seconds", "ssh_seconds", "node_ready_seconds", "workload_ready_seconds"} {
			seconds, err := strconv.ParseFloat(r.Outputs[name], 64)
			if err != nil || seconds < last || seconds == 0 {
				t.Errorf("%s is %q, after %v: %v", name, r.Outputs[name], last, err)
			}
			last = seconds
		}
		if last < 2.5 {
			t.Errorf("ready after %v s, and K3s reports after 2.5 s at the earliest", last)
		}
		r.Says("edge-1: rebooting", "edge-1: down after", "edge-1: back after", "edge-1: proven")
		if err := h.SetState(lab.State{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the second is not touched after an ill first", func(t *testing.T) {
		var s lab.State
		s.K3s.StaleContainers = true
		if err := h.SetState(s); err != nil {
			t.Fatal(err)
		}
		must(t, h, longAgo)
		before := bootID(t, l.Hosts[1])
		j := labJob(t, l, l.Hosts...)
		j.Inputs["ready_timeout"] = "6s"
		r := j.do()
		r.want(t, "not-ready", "edge-1: k3s-containers=disproven")
		if r.nodes[0].Outcome != "not-ready" || r.nodes[1].Outcome != "not-touched" || bootID(t, l.Hosts[1]) != before || r.Outputs["boot_id"] != "" {
			t.Errorf("%v %v", r.nodes, r.Outputs)
		}
		must(t, h, "rm -f /var/lib/lab/state.json /var/lib/lab/cluster.json; systemctl restart k3s")
	})
	t.Run("another way than through the tailnet", func(t *testing.T) {
		j := labJob(t, l, h)
		script := `#!/bin/sh
cat <<'END'
{"Version":"1.102.5","BackendState":"Running","Health":null,"CurrentTailnet":{"MagicDNSSuffix":"tail0123.ts.example"},
"Self":{"HostName":"runner","DNSName":"runner.tail0123.ts.example.","TailscaleIPs":["100.64.0.1"],"Online":true},
"Peer":{"nodekey:02":{"HostName":"edge-1","DNSName":"edge-1.tail0123.ts.example.","TailscaleIPs":["100.64.0.10"],"Online":true}}}
END
`
		for name, text := range map[string]string{"tailscale": script, "ssh_config": "Host edge-1\n  HostName " + h.Address + "\n"} {
			if err := os.WriteFile(filepath.Join(j.Home, name), []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		maps.Copy(j.Inputs, map[string]string{
			"hosts": "", "tailnet": "required", "tailscale_path": filepath.Join(j.Home, "tailscale"), "ssh_config": filepath.Join(j.Home, "ssh_config"),
		})
		before := bootID(t, h)
		j.do().want(t, "refused", "tailnet-path=disproven")
		if bootID(t, h) != before {
			t.Error("it was rebooted")
		}
	})
	t.Run("killed in the middle", func(t *testing.T) {
		binary := filepath.Join(t.TempDir(), "reboot-validate")
		realtools.Output(t, "go", "build", "-o", binary, ".")
		runner := runnertest.New(t)
		inputs := maps.Clone(labJob(t, l, h).Inputs)
		before := bootID(t, h)
		step := runner.Step([]string{binary}, inputs)
		step.Timeout = 2 * time.Minute
		step.Start()
		if res := step.KillAt("down after"); len(res.Alive) > 0 || res.Outputs["outcome"] != "" {
			t.Errorf("%v, alive %v", res.Outputs, res.Alive)
		}
		awaitBoot(t, h, before)
		between := bootID(t, h)
		again := func() *runnertest.Step {
			step := runner.Step([]string{binary}, inputs)
			step.Timeout = 2 * time.Minute
			step.Start()
			return step
		}
		if res := again().Wait(); !res.Green() || res.Outputs["outcome"] != "proven" || res.Outputs["boot_id"] == between || res.Outputs["boot_id"] != bootID(t, h) {
			t.Errorf("the run after it: %v\n%s", res.Outputs, res.Log)
		}
		// The run after it finds the node down.
		if err := h.Hold(); err != nil {
			t.Fatal(err)
		}
		again().KillAt("down after")
		step = again()
		step.WaitLog("it may be in a reboot")
		if err := h.Release(); err != nil {
			t.Fatal(err)
		}
		if res := step.Wait(); !res.Green() || res.Outputs["outcome"] != "proven" || res.Outputs["boot_id"] != bootID(t, h) {
			t.Errorf("the run that found it down: %v\n%s", res.Outputs, res.Log)
		}
	})
}
