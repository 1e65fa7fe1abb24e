package lab

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// login runs a command as a user through the host's sshd, its key pinned.
func (h *Host) login(t *testing.T, user, command string) (string, int) {
	t.Helper()
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte(h.Address+" "+h.HostKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ssh", "-F", "none", "-i", h.lab.Key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+known, user+"@"+h.Address, command)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

// What a cloud hands out.
func TestLabBare(t *testing.T) {
	h := NewBare(t, 1).Hosts[0]
	if state := h.must(t, "systemctl is-system-running --wait"); state != "running" {
		t.Errorf("%s: %s", state, h.must(t, "systemctl --failed"))
	}
	for what, script := range map[string]string{
		"nothing of NixOS":     "ls -d /etc/NIXOS /run/current-system /run/booted-system /nix/var/nix/profiles/system* 2>/dev/null | wc -l",
		"no program of a node": "for p in k3s kubectl tailscale; do ! command -v $p || echo $p; done | wc -l",
		"no unit of a node":    "systemctl list-unit-files --no-legend 'k3s*' 'tailscale*' | wc -l",
		"no user of a node":    "grep -c nixos /etc/passwd || true",
	} {
		if got := h.must(t, script); got != "0" {
			t.Errorf("wanted %s, found %s", what, got)
		}
	}
	if got := h.must(t, ". /etc/os-release; echo $ID; cat /etc/machine-id"); got != "debian\n"+h.MachineID {
		t.Errorf("it is %s", got)
	}
	if user, err := h.User(); err != nil || user != "ubuntu" {
		t.Errorf("%s lets the operator in, %v", user, err)
	}
	if out, code := h.login(t, "ubuntu", "sudo -n id -u"); out != "0" || code != 0 {
		t.Errorf("ubuntu's sudo: %q, exit code %d", out, code)
	}
	if _, code := h.login(t, "nixos", "true"); code != 255 {
		t.Errorf("nixos: exit code %d", code)
	}
	// A login of root's works, and runs what nobody asked for. It takes ten seconds.
	if got := h.must(t, "cat /root/.ssh/authorized_keys"); !strings.HasPrefix(got, `no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="echo 'Please login as the user \"ubuntu\" rather than the user \"root\".';echo;sleep 10;exit 142" ssh-ed25519 AAAA`) {
		t.Errorf("root's key: %s", got)
	}
	h.must(t, "sed -i 's/sleep 10;//' /root/.ssh/authorized_keys")
	if out, code := h.login(t, "root", "echo $((40+2))"); out != `Please login as the user "ubuntu" rather than the user "root".` || code != 142 {
		t.Errorf("root: %q, exit code %d", out, code)
	}
	// Nobody takes it for NixOS by mistake.
	system, err := h.Build("2", "good")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Run(system + "/bin/switch-to-configuration switch"); err == nil || !strings.Contains(err.Error(), "This is not a NixOS installation!") {
		t.Errorf("a switch: %v", err)
	}
	// It stays what it is.
	reboot(t, h, h.must(t, "cat /proc/sys/kernel/random/boot_id"))
	if got := h.must(t, "ls -d /run/current-system 2>/dev/null; cat /etc/machine-id; ls /boot/efi/EFI"); got != h.MachineID+"\nBOOT\ndebian" {
		t.Errorf("after a reboot: %s", got)
	}
}

// What the probe of a node asks, in the shape of the real one's.
func TestLabDisks(t *testing.T) {
	h := New(t, 1).Hosts[0]
	const ask = "lsblk --json --bytes --output PATH,LABEL,FSTYPE,SIZE,FSAVAIL,MOUNTPOINTS | tr -d ' \n'"
	const disk, root = `{"path":"/dev/sda","label":null,"fstype":null,"size":50465865728,"fsavail":null,"mountpoints":[null]}`, `{"path":"/dev/sda1","label":"cloudimg-rootfs","fstype":"ext4","size":49392123904,"fsavail":N,"mountpoints":["/"]}`
	free := `sed -E 's/("path":"\/dev\/sda1".*"fsavail":)[0-9]+/\1N/'`
	for name, test := range map[string]struct {
		change func(*State)
		want   string
	}{
		"as the reference": {func(*State) {}, root + `,{"path":"/dev/sda15","label":"UEFI","fstype":"vfat","size":104857600,"fsavail":94371840,"mountpoints":["/boot/efi"]}`},
		"no ESP":           {func(s *State) { s.Disk.ESPMissing = true }, root},
		"others": {func(s *State) {
			s.Disk.RootLabel, s.Disk.ESPLabel, s.Disk.ESPSize, s.Disk.ESPFree = "nixos", "-", 50<<20, 7
		}, strings.Replace(root, "cloudimg-rootfs", "nixos", 1) + `,{"path":"/dev/sda15","label":null,"fstype":"vfat","size":52428800,"fsavail":7,"mountpoints":["/boot/efi"]}`},
	} {
		var s State
		test.change(&s)
		if err := h.SetState(s); err != nil {
			t.Fatal(err)
		}
		// One device a line, so that only what is free on the root is hidden.
		got := h.must(t, ask+` | sed 's/},{/}\n{/g' | `+free+` | tr '\n' ','`)
		if diff := cmp.Diff(`{"blockdevices":[`+disk+","+test.want+"]}", strings.TrimSuffix(got, ",")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if err := h.SetState(State{}); err != nil {
		t.Fatal(err)
	}
	for ask, want := range map[string]string{
		"findmnt -n -o SOURCE,FSTYPE /":                        "/dev/sda1 ext4",
		"findmnt -no LABEL /":                                  "cloudimg-rootfs",
		"findmnt -no SOURCE /boot":                             h.must(t, "/usr/bin/findmnt -no SOURCE /boot"), // the real one's
		"findmnt -J -o LABEL,TARGET /boot/efi | tr -d ' \n'":   `{"filesystems":[{"label":"UEFI","target":"/boot/efi"}]}`,
		"lsblk --json --bytes --output SIZE,PATH | head -c 20": h.must(t, "printf '{\\n   \"blockdevices\":'"),
		"lsblk --version":                                      h.must(t, "/usr/bin/lsblk --version"),
	} {
		if got := h.must(t, ask); got != want {
			t.Errorf("%s: %s, want %s", ask, got, want)
		}
	}
}

// dial says whether something answers at the host's public port 22.
func dial(h *Host) string {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(h.Public, "22"), 300*time.Millisecond)
	var timeout net.Error
	switch {
	case err == nil:
		conn.Close()
		return "open"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "silence"
	}
	return err.Error()
}

func TestLabDoor(t *testing.T) {
	h := NewBare(t, 1).Hosts[0]
	see := func(when, want string) {
		t.Helper()
		if got := dial(h); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
		if err := h.WaitSSH(); err != nil { // the other address has no door
			t.Errorf("%s: %v", when, err)
		}
	}
	door := func(open bool) {
		t.Helper()
		if err := h.Door(open); err != nil {
			t.Fatal(err)
		}
	}
	see("new", "silence")
	// Silence is all that there is, however long one listens: the host answers
	// who it is, or it would be "no route to host" after three seconds.
	if out, err := run("ip", "neigh", "show", h.Public); err != nil || strings.Contains(out, "FAILED") || strings.Contains(out, "INCOMPLETE") || out == "" {
		t.Errorf("%q, %v", out, err)
	}
	door(true)
	door(true)
	see("opened", "open")
	reboot(t, h, h.must(t, "cat /proc/sys/kernel/random/boot_id"))
	see("opened and rebooted", "open")
	door(false)
	door(false)
	see("closed", "silence")
	h.must(t, "ip addr flush dev eth0; sh /etc/lab/network")
	see("closed, and the host did its network anew", "silence")
	reboot(t, h, h.must(t, "cat /proc/sys/kernel/random/boot_id"))
	see("closed and rebooted", "silence")
}

// A disk goes back to what it was, and what it is known by stays.
func TestLabRollback(t *testing.T) {
	h := NewBare(t, 1).Hosts[0]
	check := "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; find /boot/efi /etc/NIXOS /root/litter 2>/dev/null | sort; ls /usr/bin/tac 2>/dev/null; true"
	h.must(t, "rm /usr/bin/tac") // a whiteout in the snapshot
	want := h.must(t, check)
	if err := h.Snapshot(); err != nil {
		t.Fatal(err)
	}
	boot := h.must(t, "cat /proc/sys/kernel/random/boot_id")
	h.must(t, "touch /etc/NIXOS /root/litter /boot/efi/litter; rm -r /boot/efi/EFI/debian; ln -s x /usr/bin/tac; echo other >/etc/machine-id; sync")
	if got := h.must(t, check); got == want {
		t.Fatal("nothing changed in between")
	}
	if err := h.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := h.must(t, check); got != want {
		t.Errorf("it came back with (-want +got):\n%s", cmp.Diff(want, got))
	}
	if got := h.must(t, "cat /proc/sys/kernel/random/boot_id"); got == boot {
		t.Error("it did not boot")
	}
}
