package colmenatest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/lab"
)

// pin has ssh know the hosts by these keys, as an action has it, through the
// one file that Colmena hands on.
func (p *program) pin(l *lab.Lab, keys map[*lab.Host]string) (known string) {
	p.t.Helper()
	var config, lines strings.Builder
	known = filepath.Join(p.t.TempDir(), "known_hosts")
	for _, h := range l.Hosts {
		config.WriteString("Host " + h.Address + "\n  HostKeyAlias " + h.Name + "\n")
		if key, ok := keys[h]; ok {
			lines.WriteString(h.Name + " " + key + "\n")
		}
	}
	config.WriteString("Host *\n  IdentityFile " + l.Key + "\n  IdentitiesOnly yes\n  UserKnownHostsFile " + known + "\n  GlobalKnownHostsFile /dev/null\n  HostKeyAlgorithms ssh-ed25519\n")
	path := filepath.Join(filepath.Dir(known), "config")
	for file, text := range map[string]string{known: lines.String(), path: config.String()} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	p.env = append(p.env, "SSH_CONFIG_FILE="+path, "NIX_SSHOPTS=-F "+path)
	return known
}

func pinned(l *lab.Lab) map[*lab.Host]string {
	keys := map[*lab.Host]string{}
	for _, h := range l.Hosts {
		keys[h] = h.HostKey
	}
	return keys
}

func ask(t *testing.T, h *lab.Host, script string) string {
	t.Helper()
	out, err := h.Run(script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	profile  = "readlink -f /nix/var/nix/profiles/system"
	current  = "readlink -f /run/current-system"
	bootNext = "sed -n 's/^default //p' /boot/loader/loader.conf"
)

func onHosts(l *lab.Lab, change func(i int, n *Node)) []Node {
	var nodes []Node
	for i, h := range l.Hosts {
		n := Node{Name: h.Name, TargetHost: h.Address, Tags: []string{"edge"}}
		change(i, &n)
		nodes = append(nodes, n)
	}
	return nodes
}

// The goals, one after the other, on real hosts.
func TestLabGoals(t *testing.T) {
	l := lab.New(t, 2)
	a, b := l.Hosts[0], l.Hosts[1]
	p := withHive(t, onHosts(l, func(int, *Node) {})...)
	p.pin(l, pinned(l))
	first := ask(t, a, current)

	p.must("colmena", "apply", "push", "--on", "edge-1")
	system := built(t, p, "edge-1")
	if ask(t, a, "cat "+system+"/nixos-version") != "2" || ask(t, a, profile) != first || ask(t, a, current) != first {
		t.Error("push is to copy and nothing else")
	}
	if out, err := b.Run("ls -d " + system); err == nil {
		t.Errorf("it is on the host that was not selected: %s", out)
	}
	p.must("colmena", "apply", "test", "--on", "@edge")
	if ask(t, a, profile) != first || ask(t, a, current) != system || ask(t, b, "cat /run/app-version") != "2" {
		t.Error("test is to activate and not to set the profile")
	}
	if !strings.Contains(p.stderr.String(), "edge-1 | Activation successful (test)\n") {
		t.Errorf("%s", p.stderr.String())
	}
	p.must("colmena", "apply", "--on", "edge-1")
	if ask(t, a, profile) != system || ask(t, a, current) != system || ask(t, a, bootNext) != "nixos-generation-2.conf" {
		t.Error("switch is to do all of it")
	}
	WriteHive(t, p.dir, onHosts(l, func(_ int, n *Node) { n.Label = "3" }))
	p.must("colmena", "apply", "boot")
	third := built(t, p, "edge-1")
	if ask(t, a, profile) != third || ask(t, a, current) != system || ask(t, a, bootNext) != "nixos-generation-3.conf" {
		t.Error("boot is not to activate")
	}
	if !strings.Contains(p.stderr.String(), "edge-2 | Will be activated next boot\n") {
		t.Errorf("%s", p.stderr.String())
	}

	// The same closure by nix copy, and built over there.
	if err := os.WriteFile(filepath.Join(p.dir, "flake.nix"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	WriteHive(t, p.dir, onHosts(l, func(_ int, n *Node) { n.Label = "4" }))
	p.must("colmena", "apply", "push", "--on", "edge-1")
	if fourth := built(t, p, "edge-1"); ask(t, a, "cat "+fourth+"/nixos-version") != "4" || !strings.Contains(p.stderr.String(), "ssh-ng://") {
		t.Errorf("%s", p.stderr.String())
	}
	os.Remove(filepath.Join(p.dir, "flake.nix"))
	label := unheardOf()
	WriteHive(t, p.dir, onHosts(l, func(i int, n *Node) { n.Label, n.BuildOnTarget = label, i == 0 }))
	p.must("colmena", "apply", "push", "--on", "edge-1")
	fifth := built(t, p, "edge-1")
	if ask(t, a, "cat "+fifth+"/nixos-version") != label || !strings.Contains(p.stderr.String(), `Built "`+fifth+`" on target node`) {
		t.Errorf("%s", p.stderr.String())
	}
	if _, err := os.Stat(fifth); err == nil {
		t.Error("it was built here, too")
	}

	// A node that boots what it was told to.
	before := ask(t, a, "cat /proc/sys/kernel/random/boot_id")
	p.must("colmena", "apply", "--reboot", "--on", "edge-1")
	if err := a.WaitSSH(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, a, "readlink /run/booted-system; cat /proc/sys/kernel/random/boot_id"); !strings.HasPrefix(got, fifth+"\n") || strings.Contains(got, before) {
		t.Errorf("it booted %s", got)
	}
}

// unheardOf is a label that no system in this machine's store has.
func unheardOf() string { return strconv.FormatInt(time.Now().UnixNano(), 36) }

// built is the path that the double says it has built for a node.
func built(t *testing.T, p *program, node string) string {
	t.Helper()
	_, rest, _ := strings.Cut(p.stderr.String(), node+` | Built "`)
	path, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("nothing was built for %s:\n%s", node, p.stderr.String())
	}
	return path
}

// The flaw that the suite exists for: the activation fails, the exit code is
// 1, and the profile is the failed system's already; the next boot is, too.
func TestLabFailedUnit(t *testing.T) {
	l := lab.New(t, 2)
	a, b := l.Hosts[0], l.Hosts[1]
	p := withHive(t, onHosts(l, func(i int, n *Node) {
		if i == 0 {
			n.Behaviour = "fail-unit"
		}
	})...)
	p.pin(l, pinned(l))
	first := ask(t, a, profile)
	if code := p.run("colmena", "apply", "switch"); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		"edge-1 | Activation failed: Child process exited with error code: 4\n", "edge-2 | Activation successful\n",
		"       | Failed: Child process exited with error code: 4\n", "ERROR Failed to deploy to edge-1 - Last ",
		"ERROR   stderr) warning: the following units failed: app.service\n", "ERROR Operation failed with error: Child process exited with error code: 4\n",
	} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, p.stderr.String())
		}
	}
	failed := built(t, p, "edge-1")
	if failed == first || ask(t, a, profile) != failed || ask(t, a, bootNext) != "nixos-generation-2.conf" || ask(t, a, "systemctl is-failed app.service") != "failed" {
		t.Error("the failed system is not the host's next")
	}
	if ask(t, b, current) != built(t, p, "edge-2") {
		t.Error("the other node is not done")
	}
}

// A pinned key that has changed is refused; a host of which no key is known is
// taken at its word, whatever ssh_config says: the flaw.
func TestLabHostKeys(t *testing.T) {
	l := lab.New(t, 2)
	a, b := l.Hosts[0], l.Hosts[1]
	p := withHive(t, onHosts(l, func(int, *Node) {})...)
	known := p.pin(l, map[*lab.Host]string{a: b.HostKey})
	config := strings.TrimPrefix(p.env[len(p.env)-1], "NIX_SSHOPTS=-F ")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(text, "  StrictHostKeyChecking yes\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := p.run("colmena", "apply", "push"); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.stderr.String(), "edge-1 | Host key verification failed.\n") || !strings.Contains(p.stderr.String(), "edge-1 | Push failed: ") {
		t.Errorf("%s", p.stderr.String())
	}
	if !strings.Contains(p.stderr.String(), "edge-2 | Pushed system closure\n") {
		t.Errorf("%s", p.stderr.String())
	}
	if lines, err := os.ReadFile(known); err != nil || !strings.Contains(string(lines), "\nedge-2 ssh-ed25519 ") {
		t.Errorf("edge-2 was not written down: %v\n%s", err, lines)
	}
}

// A typo in the name of a node: nothing happens, and it is a success.
func TestLabEmptySelection(t *testing.T) {
	l := lab.New(t, 1)
	p := withHive(t, onHosts(l, func(int, *Node) {})...)
	p.pin(l, pinned(l))
	first := ask(t, l.Hosts[0], current)
	p.must("colmena", "apply", "switch", "--on", "egde-1")
	if got := p.stderr.String(); got != "      | All done!\n" || ask(t, l.Hosts[0], current) != first {
		t.Errorf("%s", got)
	}
}

func TestLabRebuild(t *testing.T) {
	l := lab.New(t, 1)
	h := l.Hosts[0]
	p := withHive(t, onHosts(l, func(_ int, n *Node) { n.Label = unheardOf() })...)
	p.pin(l, pinned(l))
	temp := t.TempDir()
	p.env = append(p.env, "TMPDIR="+temp)
	first := ask(t, h, current)
	// What switch-to-configuration is told.
	ask(t, h, `mkdir -p /etc/systemd/system/app.service.d; printf '[Service]\nExecStartPost=/bin/sh -c "systemctl show -p Environment nixos-rebuild-switch-to-configuration >/run/told"\n' >/etc/systemd/system/app.service.d/told.conf; systemctl daemon-reload`)
	target := "nixos@" + h.Address
	p.must("nixos-rebuild", "switch", "--flake", ".#edge-1", "--target-host", target, "--build-host", target, "--use-remote-sudo", "--install-bootloader")
	system := strings.TrimSpace(p.stdout.String())
	if system == first || ask(t, h, current) != system || ask(t, h, profile) != system || ask(t, h, bootNext) != "nixos-generation-2.conf" {
		t.Errorf("%s", p.stderr.String())
	}
	if told := ask(t, h, "cat /run/told"); !strings.Contains(told, "NIXOS_INSTALL_BOOTLOADER=1") {
		t.Errorf("told %q", told)
	}
	if _, err := os.Stat(system); err == nil {
		t.Error("it was built here, too")
	}
	WriteHive(t, p.dir, onHosts(l, func(_ int, n *Node) { n.Label, n.Behaviour = "3", "fail-unit" }))
	if code := p.run("nixos-rebuild", "switch", "--flake", p.dir+"#edge-1", "--target-host", target, "--sudo"); code != 1 || !strings.Contains(p.stderr.String(), "returned non-zero exit status 4.\n") {
		t.Errorf("exit code %d\n%s", code, p.stderr.String())
	}
	if got := ask(t, h, profile); !strings.HasSuffix(got, "-nixos-system-edge-1-3") || ask(t, h, current) != got {
		t.Errorf("the profile is %s", got)
	}
	// Nobody without sudo sets the profile of the system.
	if code := p.run("nixos-rebuild", "boot", "--flake", p.dir+"#edge-1", "--target-host", target); code != 1 {
		t.Errorf("exit code %d\n%s", code, p.stderr.String())
	}
	leftovers, err := os.ReadDir(temp)
	if err != nil || len(leftovers) > 0 {
		t.Errorf("%v: connections were left open: %v", err, leftovers)
	}
}
