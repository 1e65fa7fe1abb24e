package lab

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (h *Host) must(t *testing.T, script string) string {
	t.Helper()
	out, err := h.Run(script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What the tests of other packages rely on.
func TestLabHosts(t *testing.T) {
	l := New(t, 2)
	a, b := l.Hosts[0], l.Hosts[1]
	if a.MachineID == b.MachineID || a.HostKey == b.HostKey || a.must(t, "hostname") != "edge-1" {
		t.Error("the hosts are the same")
	}
	if state := a.must(t, "systemctl is-system-running --wait"); state != "running" {
		t.Errorf("%s: %s", state, a.must(t, "systemctl --failed"))
	}

	// A reboot ends with another boot id and what the loader says, not with
	// what the profile says.
	first := a.must(t, "readlink /run/current-system")
	second, err := a.Build("2", "good")
	if err != nil {
		t.Fatal(err)
	}
	a.must(t, "nix-env -p /nix/var/nix/profiles/system --set "+second)
	boot := a.must(t, "cat /proc/sys/kernel/random/boot_id")
	reboot(t, a, boot)
	if got := a.must(t, "readlink /run/current-system"); got != first {
		t.Errorf("it booted %s", got)
	}
	a.must(t, second+"/bin/switch-to-configuration boot")
	reboot(t, a, a.must(t, "cat /proc/sys/kernel/random/boot_id"))
	if got := a.must(t, "readlink /run/booted-system; cat /run/app-version"); got != second+"\n2" {
		t.Errorf("it booted %s", got)
	}
	if got := a.must(t, "nix-env -p /nix/var/nix/profiles/system --list-generations | wc -l"); got != "2" {
		t.Errorf("%s generations", got)
	}

	// Off the network, and off altogether.
	if err := b.Cut(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.DialTimeout("tcp", b.Address+":22", 300*time.Millisecond); err == nil {
		conn.Close()
		t.Error("it is not cut off")
	}
	if err := b.Mend(); err != nil {
		t.Fatal(err)
	}
	if err := b.WaitSSH(); err != nil {
		t.Fatal(err)
	}
	b.PowerOff()
	if conn, err := net.DialTimeout("tcp", b.Address+":22", 300*time.Millisecond); err == nil {
		conn.Close()
		t.Error("it is not off")
	}
	if err := b.PowerOn(); err != nil {
		t.Fatal(err)
	}
}

func reboot(t *testing.T, h *Host, before string) {
	t.Helper()
	h.Run("systemctl reboot") // it may not live to answer
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if boot, err := h.Run("cat /proc/sys/kernel/random/boot_id"); err == nil && boot != before && h.WaitSSH() == nil {
			return
		}
	}
	t.Fatal("no new boot id")
}

func TestLabBehaviours(t *testing.T) {
	h := New(t, 1).Hosts[0]
	first := h.must(t, "readlink /run/current-system")
	for behaviour, want := range map[string]string{
		"good":       "0 true",
		"fail-unit":  "4 true",
		"fail":       "2 false",
		"crash":      "101 true",
		"no-secrets": "0 true",
	} {
		system, err := h.Build("x", behaviour)
		if err != nil {
			t.Fatal(err)
		}
		got := h.must(t, system+"/bin/switch-to-configuration test >/dev/null 2>&1; code=$?; [ \"$(readlink /run/current-system)\" = "+system+" ] && echo $code true || echo $code false")
		if got != want {
			t.Errorf("%s: %s, want %s", behaviour, got, want)
		}
		h.must(t, first+"/bin/switch-to-configuration test 2>/dev/null")
		if state := h.must(t, "systemctl is-system-running; ls /run/secrets; cat /run/app-version"); state != "running\nk3s-token\nrestic-password\n1" {
			t.Errorf("after %s: %s", behaviour, state)
		}
	}
	// A full boot partition is an error, and the loader still boots the first.
	second, err := h.Build("2", "good")
	if err != nil {
		t.Fatal(err)
	}
	h.must(t, "nix-env -p /nix/var/nix/profiles/system --set "+second+"; fallocate -l $(($(stat -f -c '%a * %S' /boot) - 1000000)) /boot/fill")
	if out, err := h.Run(second + "/bin/switch-to-configuration boot"); err == nil {
		t.Errorf("it fitted: %s", out)
	}
	if got := h.must(t, "cat /boot/loader/loader.conf"); !strings.Contains(got, "default nixos-generation-1.conf") {
		t.Errorf("%s", got)
	}
}

// Hosts that come later, into a lab that another process made.
func TestLabAdd(t *testing.T) {
	l := New(t, 1)
	for _, names := range [][]string{{"edge-2"}, {"edge-x"}, {"a"}, {"Pi"}, {"../x"}, {"pi", "pi"}} {
		if err := l.Add(names...); err == nil || len(l.Hosts) != 1 {
			t.Errorf("%q: %v, %d hosts", names, err, len(l.Hosts))
		}
	}
	if err := l.Add("zone", "pi"); err != nil {
		t.Fatal(err)
	}
	again, err := reopen(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Add("offsite"); err != nil {
		t.Fatal(err)
	}
	var names, addresses []string
	for i, h := range again.Hosts {
		names = append(names, h.must(t, "hostname"))
		if addresses = append(addresses, h.Address); i < len(l.Hosts) && (h.Address != l.Hosts[i].Address || h.HostKey != l.Hosts[i].HostKey) {
			t.Errorf("%s is not the same when it is opened: %+v", h.Name, h)
		}
	}
	if diff := cmp.Diff([]string{"edge-1", "zone", "pi", "offsite"}, names); diff != "" {
		t.Error(diff)
	}
	if slices.Sort(addresses); len(slices.Compact(addresses)) != 4 {
		t.Errorf("addresses %q", addresses)
	}
	if err := again.Add("pi"); err == nil {
		t.Error("two of one name")
	}
}

// What a killed test leaves is taken down by the next one.
func TestLabSweep(t *testing.T) {
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	owner, err := mark(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Up(1, owner)
	if err != nil {
		t.Fatal(err)
	}
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	l.Hosts[0].must(t, "true") // its owner lives
	leader, err := l.Hosts[0].leader()
	if err != nil {
		t.Fatal(err)
	}
	child.Process.Kill()
	child.Wait()
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.dir); err == nil {
		t.Error("its directory is left")
	}
	if _, err := os.Stat("/sys/class/net/" + l.bridge()); err == nil {
		t.Error("its bridge is left")
	}
	if m, err := mark(leader); err == nil {
		t.Errorf("its systemd still runs: %s", m)
	}
}
