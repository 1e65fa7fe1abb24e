package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/runnertest"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
)

func TestLabDeploy(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	h := l.Hosts[0]
	first := system(t, h)
	j := newJob(t, l, "2", "good")
	r := j.do()
	if r.Code != 0 || r.Outputs["outcome"] != "converged" || r.Outputs["changed"] != "true" || r.Outputs["generation"] != "2" || r.Outputs["previous_system_path"] != first {
		t.Fatalf("%d %v\n%s", r.Code, r.Outputs, r.Log)
	}
	if got := system(t, h); got != r.Outputs["system_path"] || got == first {
		t.Errorf("it is on %s", got)
	}
	if strings.Contains(r.Log+r.report, j.secret) {
		t.Error("a secret is in the log or in the report")
	}
	if got := must(t, h, "sha256sum </var/lib/sops-nix/key.txt; stat -c '%U:%G %a' /var/lib/sops-nix/key.txt /var/lib/sops-nix"); !strings.HasSuffix(got, "root:root 600\nroot:root 700") {
		t.Errorf("the age key: %s", got)
	}
	again := j.do()
	if again.Code != 0 || again.Outputs["outcome"] != "unchanged" || again.Outputs["changed"] != "false" || again.Outputs["system_path"] != r.Outputs["system_path"] {
		t.Fatalf("%d %v\n%s", again.Code, again.Outputs, again.Log)
	}

	// The goal "boot": the next boot has it, and until then nothing is live;
	// and a switch to yet another system has no system to go back to.
	j.hive[0].Label, j.Inputs["goal"] = "3", "boot"
	boot := j.do()
	if boot.Code != 0 || boot.Outputs["outcome"] != "converged" || boot.Outputs["generation"] != "3" || boot.Outputs["system_path"] != r.Outputs["system_path"] {
		t.Fatalf("%d %v\n%s", boot.Code, boot.Outputs, boot.Log)
	}
	again = j.do()
	if again.Code != 0 || again.Outputs["outcome"] != "unchanged" {
		t.Fatalf("%d %v\n%s", again.Code, again.Outputs, again.Log)
	}
	j.hive[0].Label, j.Inputs["goal"] = "4", "switch"
	pending := j.do()
	refused(t, pending, "refused", "system-committed", "reboot into the boot default")
	if got := must(t, h, "cat /run/app-version"); got != "2" {
		t.Errorf("live is %s", got)
	}
	h.Run("systemctl reboot") // it may not live to answer
	rebooted(t, h, "3")
	j.hive[0].Label = "3"
	if r := j.do(); r.Code != 0 || r.Outputs["outcome"] != "unchanged" {
		t.Fatalf("%d %v\n%s", r.Code, r.Outputs, r.Log)
	}

	// Another key is there: it stays, unless the operator says otherwise; an
	// empty one is no key.
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Put("/var/lib/sops-nix/key.txt", other.String()+"\n"); err != nil {
		t.Fatal(err)
	}
	refused(t, j.do(), "refused", "age-key-staged", "another key there, which was left")
	if got := must(t, h, "cat /var/lib/sops-nix/key.txt"); got != other.String() {
		t.Error("the key was replaced")
	}
	file := j.Inputs["age_key_file"]
	delete(j.Inputs, "age_key_file")
	refused(t, j.do(), "refused", "age-recipient", "the key of "+other.Recipient().String())
	j.Inputs["age_key_file"], j.Inputs["age_key_replace"] = file, "true"
	if r := j.do(); r.Code != 0 || !strings.Contains(r.report, "replaced") || strings.TrimSpace(must(t, h, "tail -n 1 /var/lib/sops-nix/key.txt")) != j.secret {
		t.Errorf("%d\n%s", r.Code, r.Log)
	}
	delete(j.Inputs, "age_key_file")
	if r := j.do(); r.Code != 0 || !strings.Contains(r.report, "age-recipient") {
		t.Errorf("%d\n%s", r.Code, r.Log)
	}
	if err := h.Put("/var/lib/sops-nix/key.txt", ""); err != nil {
		t.Fatal(err)
	}
	refused(t, j.do(), "refused", "age-recipient", "empty")
	j.Inputs["age_key_file"] = file
	delete(j.Inputs, "age_key_replace")
	if r := j.do(); r.Code != 0 || !strings.Contains(r.report, `"staged"`) {
		t.Errorf("%d\n%s", r.Code, r.Log)
	}
}

func rebooted(t *testing.T, h *lab.Host, label string) {
	t.Helper()
	for range 300 {
		if out, err := h.Run("sleep 0.1; cat /run/app-version"); err == nil && out == label && h.WaitSSH() == nil {
			return
		}
	}
	t.Fatalf("it did not come back with %s", label)
}

// refused proves that a run ended red, with an outcome, a check and its words.
func refused(t *testing.T, r result, outcome, id, words string) {
	t.Helper()
	if r.Code == 0 || r.Outputs["outcome"] != outcome || id != "" && !strings.Contains(r.report, `"id": "`+id+`"`) || !strings.Contains(r.report, words) {
		t.Errorf("wanted %s by %s with %q, found %d %v\n%s", outcome, id, words, r.Code, r.Outputs, r.Log)
	}
}

// What is not fit is refused before anything is changed: nothing is built or
// pushed, and the host is as it was.
func TestLabRefused(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	h := l.Hosts[0]
	first := system(t, h)
	boot := must(t, h, "cat /proc/sys/kernel/random/boot_id")
	other := realtools.Output(t, "sh", "-c", "d=$(mktemp -d); ssh-keygen -q -t ed25519 -N '' -f $d/k; cat $d/k.pub; rm -r $d")
	undo := "true"
	for name, c := range map[string]struct {
		change            func(j *job)
		on, off           string // on the host, before and after
		outcome, id, word string
	}{
		"a full boot partition": {nil, "fallocate -l $(($(stat -f -c '%a * %S' /boot) - 5000000)) /boot/fill", "rm /boot/fill", "refused", "boot-space", "4 MiB free"},
		"another machine":       {nil, "hostname other", "hostname edge-1", "refused", "host-identity", "hostname other"},
		"another machine id":    {func(j *job) { j.Inputs["machine_ids"] = "edge-1=" + strings.Repeat("0", 32) }, "", "", "refused", "host-identity", "machine id"},
		"a changed host key":    {func(j *job) { j.Inputs["host_keys"] = "edge-1 " + other }, "", "", "refused", "host-key-changed", "SHA256:"},
		"an unknown host key":   {func(j *job) { delete(j.Inputs, "host_keys") }, "", "", "refused", "host-key-unknown", "pin that line"},
		"sudo refused":          {nil, "mv /etc/sudoers.d/nixos /root/", "mv /root/nixos /etc/sudoers.d/", "refused", "sudo-refused", "NOPASSWD"},
		"login refused":         {nil, "mv /home/nixos/.ssh /root/", "mv /root/.ssh /home/nixos/", "refused", "auth-refused", "authorized_keys"},
		"a config without keys": {func(j *job) { j.hive[0].AuthorizedKeys = nil }, "", "", "refused", "operator-keys", "0 keys"},
		"a config with another": {func(j *job) { j.hive[0].AuthorizedKeys = []string{strings.TrimSpace(other)} }, "", "", "refused", "operator-keys", "1 keys, without"},
		"a config without sshd": {func(j *job) { j.hive[0].SSHDisabled = true }, "", "", "refused", "operator-keys", "services.openssh.enable"},
		"no target host":        {func(j *job) { j.hive[0].LocalOnly = true }, "", "", "", "selection", "pass over the node in silence"},
		"a mistyped node":       {func(j *job) { j.Inputs["nodes"] = "egde-1"; delete(j.Inputs, "host_keys") }, "", "", "", "selection", `the hive has [\"edge-1\"]`},
		"an evaluation error":   {func(j *job) { j.hive[0].Throws = "no such option" }, "", "", "", "evaluation", "no such option"},
		"an old Colmena":        {func(j *job) { j.Inputs["colmena_version"] = ">= 9" }, "", "", "", "tool-version", "colmena \\u003e= 9"},
		"no Colmena":            {func(j *job) { j.Inputs["colmena_path"] = "/nowhere/colmena" }, "", "", "", "tool-missing", "nixpkgs#colmena"},
		"nobody there": {func(j *job) {
			j.hive[0].TargetHost = strings.Replace(h.Address, ".11", ".99", 1)
			j.Inputs["connect_timeout"], j.Inputs["boot_timeout"] = "1s", "0s"
		}, "", "", "unreachable", "", "look at "}, // a refusal of the route or none
		"a system for a reboot": {func(j *job) { j.hive[0].Behaviour = "inhibit" }, "", "", "refused", "switch-inhibited", "goal: boot"},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t, l, "2", "good")
			if c.change != nil {
				c.change(j)
			}
			if c.on != "" {
				must(t, h, c.on)
				undo = c.off
			}
			r := j.do()
			must(t, h, undo)
			undo = "true"
			refused(t, r, c.outcome, c.id, c.word)
			if strings.Contains(r.Log, "Building") && c.id != "switch-inhibited" {
				t.Error("something was built")
			}
			if got := system(t, h); got != first || must(t, h, "cat /proc/sys/kernel/random/boot_id; ls /run/edge-actions 2>/dev/null || true") != boot {
				t.Errorf("the host was changed: %s", got)
			}
		})
	}
}

// A node in a reboot that nobody waits for any more, as after a runner that was
// killed: the deploy waits until it is up, and ready.
func TestLabInAReboot(t *testing.T) {
	binary := buildAction(t)
	for name, c := range map[string]struct {
		begin     func(*testing.T, *lab.Host)
		says      string
		then      func(*lab.Host) error
		converges bool
	}{
		"down": {
			func(_ *testing.T, h *lab.Host) { h.PowerOff() }, "it may be in a reboot, and is waited for", (*lab.Host).PowerOn, true,
		},
		"going down": {
			func(t *testing.T, h *lab.Host) {
				must(t, h, `printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/bin/sh -c "until [ -e /run/go ]; do sleep 0.1; done"\nTimeoutStopSec=60\n[Unit]\nAfter=dbus.service ssh.service network.service systemd-user-sessions.service\n' >/run/systemd/system/slow.service
systemctl daemon-reload; systemctl start slow; systemctl reboot`)
			}, "going-down; it may be in a reboot", func(h *lab.Host) error { _, err := h.Run("touch /run/go"); return err }, true,
		},
		"not ready yet": {
			func(t *testing.T, h *lab.Host) {
				var s lab.State
				s.K3s.ReportAfterSeconds = 10
				if err := h.SetState(s); err != nil {
					t.Fatal(err)
				}
				h.PowerOff()
				if err := h.PowerOn(); err != nil {
					t.Fatal(err)
				}
			}, "it was booted just now; waiting at most", nil, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t, 1)
			h := l.Hosts[0]
			j := newJob(t, l, "2", "good")
			if !c.converges {
				if r := j.do(); r.Code != 0 {
					t.Fatalf("%v\n%s", r.Outputs, r.Log)
				}
			}
			c.begin(t, h)
			s := j.step(binary)
			s.Start()
			s.WaitLog(c.says)
			if c.then != nil {
				if err := c.then(h); err != nil {
					t.Error(err)
				}
			}
			r := s.Wait()
			want := "unchanged"
			if c.converges {
				want = "converged"
			}
			if !r.Green() || r.Outputs["outcome"] != want {
				t.Errorf("wanted %s, found %v\n%s", want, r.Outputs, r.Log)
			}
			if got := settle(t, h); got != r.Outputs["system_path"] {
				t.Errorf("it is on %s", got)
			}
		})
	}
}

// What goes wrong in the activation is taken back, whatever it is, and said.
func TestLabRolledBack(t *testing.T) {
	for behaviour, words := range map[string][]string{
		"cut":        {"rolled-back", "nobody confirmed it in time"},
		"fail-unit":  {"rolled-back", "the database is of another version"},
		"no-secrets": {"rolled-back", "secrets"},
		"panic":      {"rolled-back", "rebooted before the system was confirmed"},
	} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t, 1)
			h := l.Hosts[0]
			first := system(t, h)
			j := newJob(t, l, "2", behaviour)
			j.Inputs["confirm_timeout"], j.Inputs["activate_timeout"] = "10s", "6s"
			r := j.do()
			refused(t, r, words[0], "activation", words[1])
			if got := settle(t, h); got != first || r.Outputs["system_path"] != first || r.Outputs["previous_system_path"] != first {
				t.Errorf("it is on %s, the outputs say %v", got, r.Outputs)
			}
			j.hive[0].Behaviour = "good"
			if r := j.do(); r.Code != 0 || r.Outputs["outcome"] != "converged" {
				t.Errorf("the next run: %d %v\n%s", r.Code, r.Outputs, r.Log)
			}
		})
	}
}

// A boot loader that was said to be written, and was not: what is live is not
// what the next boot has.
func TestLabLiveNotCommitted(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	h := l.Hosts[0]
	j := newJob(t, l, "2", "no-loader")
	r := j.do()
	refused(t, r, "live-not-committed", "loader-default", "install the loader again")
	if live := must(t, h, "readlink -f /run/current-system"); r.Outputs["system_path"] != live || r.Outputs["changed"] != "true" {
		t.Errorf("live is %s, the outputs say %v", live, r.Outputs)
	}
	j.hive[0].Behaviour = "good"
	if r := j.do(); r.Code != 0 || r.Outputs["outcome"] != "converged" || settle(t, h) != r.Outputs["system_path"] {
		t.Errorf("the next run: %d %v\n%s", r.Code, r.Outputs, r.Log)
	}
}

// The host is rebooted in the middle, by somebody else.
func TestLabRebootedInTheMiddle(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	h := l.Hosts[0]
	first := system(t, h)
	j := newJob(t, l, "2", "hang")
	done := make(chan result, 1)
	go func() { done <- j.do() }()
	root, err := h.Root()
	if err != nil {
		t.Fatal(err)
	}
	wait(t, filepath.Join(root, "run/edge-actions/activation-*/started"))
	h.Run("systemctl reboot --force") // it may not live to answer
	r := <-done
	refused(t, r, "rolled-back", "activation", "rebooted")
	if got := settle(t, h); got != first {
		t.Errorf("it is on %s", got)
	}
}

func wait(t *testing.T, pattern string) {
	t.Helper()
	realtools.Output(t, "sh", "-c", fmt.Sprintf("for i in $(seq 600); do ls -d %s >/dev/null 2>&1 && exit; sleep 0.05; done; exit 1", pattern))
}

// Eight hosts, one of which is not well with its new system: the canary goes
// first, then batches of three; those after the batch with the bad one are not
// touched, and the report is right for each.
func TestLabFleet(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 8)
	behaviours := make([]string, 8)
	first := map[string]string{}
	for i, h := range l.Hosts {
		behaviours[i] = "good"
		first[h.Name] = system(t, h)
	}
	behaviours[2] = "fail-unit" // edge-3
	j := newJob(t, l, "2", behaviours...)
	j.Inputs["max_parallel"], j.Inputs["canary"] = "3", "edge-6"
	r := j.do()
	// The canary, then 1 2 3, then 4 5 7, then 8.
	if diff := cmp.Diff("converged converged rolled-back not-touched not-touched converged not-touched not-touched", r.outcomes()); diff != "" || r.Code == 0 || r.Outputs["outcome"] != "rolled-back" || r.Outputs["changed"] != "true" {
		t.Errorf("%s %d %v\n%s", diff, r.Code, r.Outputs, r.Log)
	}
	for i, h := range l.Hosts {
		got := settle(t, h)
		if r.nodes[i].SystemPath != got || (got != first[h.Name]) != (r.nodes[i].Outcome == "converged") {
			t.Errorf("%s is on %s, the report says %+v", h.Name, got, r.nodes[i])
		}
		if r.nodes[i].Outcome == "not-touched" && must(t, h, "ls /run/edge-actions 2>/dev/null || true") != "" {
			t.Errorf("%s was touched", h.Name)
		}
	}
	if strings.Index(r.Log, "edge-6: converged") > strings.Index(r.Log, "edge-1: activating") {
		t.Error("the canary was not first")
	}
	// Mended, the rest follows and what is there already stays.
	j.hive[2].Behaviour = "good"
	r = j.do()
	if diff := cmp.Diff("unchanged unchanged converged converged converged unchanged converged converged", r.outcomes()); diff != "" || r.Code != 0 || r.Outputs["outcome"] != "converged" {
		t.Errorf("%s %d %v\n%s", diff, r.Code, r.Outputs, r.Log)
	}
	// One that is not fit keeps all of them as they are.
	for i := range j.hive {
		j.hive[i].Label = "3"
	}
	must(t, l.Hosts[7], "hostname somebody-else")
	r = j.do()
	if diff := cmp.Diff("not-touched not-touched not-touched not-touched not-touched not-touched not-touched refused", r.outcomes()); diff != "" || r.Code == 0 || r.Outputs["outcome"] != "refused" || r.Outputs["changed"] != "false" {
		t.Errorf("%s %d %v\n%s", diff, r.Code, r.Outputs, r.Log)
	}
}

// The first deploy of a host, as root.
func TestLabBootstrap(t *testing.T) {
	l := lab.New(t, 1)
	h := l.Hosts[0]
	must(t, h, "sed -i 's/PermitRootLogin no/PermitRootLogin prohibit-password/' /etc/ssh/sshd_config.d/lab.conf; systemctl reload ssh; cp -r /home/nixos/.ssh /root/; chown -R root:root /root/.ssh")
	j := newJob(t, l, "2", "good")
	j.Inputs["goal"] = "bootstrap"
	if err := os.WriteFile(filepath.Join(j.Workspace, "flake.nix"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", j.bin+":"+os.Getenv("PATH"))
	j.Inputs["waive"] = "root-login-config"
	r := j.do()
	if r.Code != 0 || r.Outputs["outcome"] != "converged" || r.Outputs["generation"] != "2" || !strings.Contains(r.Log, "[waived by waive]") {
		t.Fatalf("%d %v\n%s", r.Code, r.Outputs, r.Log)
	}
	if got := system(t, h); got != r.Outputs["system_path"] || !strings.Contains(got, "edge-1-2") {
		t.Errorf("it is on %s", got)
	}
}

// The nodes are reached through the tailnet, and that is proved. The command
// line is a double that says what the real one says of a peer.
func TestLabThroughTheTailnet(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	h := l.Hosts[0]
	j := newJob(t, l, "2", "good")
	dir := t.TempDir()
	tailscale := func(address, pong string) {
		script := fmt.Sprintf(`#!/bin/sh
case $* in
*status*) cat <<'END'
{"Version":"1.102.5","BackendState":"Running","Health":[],"MagicDNSSuffix":"lab.ts.net","CurrentTailnet":{"Name":"lab","MagicDNSSuffix":"lab.ts.net"},
"Self":{"HostName":"runner","DNSName":"runner.lab.ts.net.","TailscaleIPs":["100.64.0.1"],"Online":true,"KeyExpiry":"2100-01-01T00:00:00Z"},
"Peer":{"nodekey:1":{"HostName":"edge-1","DNSName":"edge-1.lab.ts.net.","TailscaleIPs":[%q],"Online":true,"sshHostKeys":[%q]}}}
END
;;
*ping*) %s ;;
esac
`, address, strings.Join(strings.Fields(h.HostKey)[:2], " "), pong)
		if err := os.WriteFile(filepath.Join(dir, "tailscale"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tailscale(h.Address, "echo 'pong from edge-1 ("+h.Address+") via 198.18.0.1:41641 in 3ms'")
	j.Inputs["tailnet"], j.Inputs["tailscale_path"] = "required", filepath.Join(dir, "tailscale")
	delete(j.Inputs, "host_keys") // the tailnet has it
	j.hive[0].AgeKeyFile = "/etc/edge/age.txt"
	r := j.do()
	if r.Code != 0 || !strings.Contains(r.Log, "edge-1: tailnet-path: "+h.Address) || !strings.Contains(r.Log, "edge-1: tailnet-ping: one via 198.18.0.1:41641") {
		t.Fatalf("%d %v\n%s", r.Code, r.Outputs, r.Log)
	}
	if got := must(t, h, "stat -c %a /etc /etc/edge/age.txt"); got != "755\n600" || !strings.Contains(r.report, "/etc/edge/age.txt of root alone") {
		t.Errorf("the age key of the hive: %s", got)
	}
	// Online, and no answer.
	tailscale(h.Address, "echo 'no reply' >&2; exit 1")
	refused(t, j.do(), "refused", "tailnet-ping", "no reply")
	// A node that the tailnet does not have.
	tailscale("100.64.0.9", "exit 1")
	refused(t, j.do(), "refused", "tailnet-peer", "")
}

// What hosts and tools print is data, in an engine that obeys everybody.
func TestLabHostileText(t *testing.T) {
	t.Parallel()
	binary := buildAction(t)
	l := lab.New(t, 1)
	j := newJob(t, l, "2", "hostile")
	res := j.step(binary).Run()
	if !res.Green() || res.Outputs["outcome"] != "converged" || !strings.Contains(res.RawLog, "::add-path::/evil") {
		t.Fatalf("%d %v\n%s", res.ExitCode, res.Outputs, res.Log)
	}
	only := func(c runnertest.Command) bool {
		return c.Name == "stop-commands" || strings.HasPrefix(c.Name, "edge_")
	}
	for _, c := range res.Honoured {
		if !only(c) {
			t.Errorf("the runner obeyed %+v", c)
		}
	}
	if len(res.Env) > 0 || len(res.Path) > 0 {
		t.Errorf("%v %v", res.Env, res.Path)
	}
	if len(res.Alive) > 0 {
		t.Errorf("left running: %v", res.Alive)
	}
}
