package infecttest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/lab"
)

// steps are nixos-anywhere's "### … ###" lines.
func steps(out string) string {
	var list []string
	for line := range strings.Lines(out) {
		if s, ok := strings.CutPrefix(strings.TrimSpace(line), "### "); ok {
			list = append(list, strings.TrimSuffix(s, " ###"))
		}
	}
	return strings.Join(list, "; ")
}

func TestLabAnywhere(t *testing.T) {
	t.Parallel()
	l := lab.NewBare(t, 2)
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		m := bare(t, l, 0)
		extra := t.TempDir()
		if err := os.MkdirAll(filepath.Join(extra, "var/lib/sops-nix"), 0o700); err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string]string{"var/lib/sops-nix/key.txt": "AGE", "../disk.key": "DISK"} {
			if err := os.WriteFile(filepath.Join(extra, path), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, code := m.anywhere(t.Context(), "--build-on", "remote", "--copy-host-keys", "--extra-files", extra, "--disk-encryption-keys", "/var/lib/lab/disk.key", filepath.Join(extra, "../disk.key"),
			"--ssh-option", "StrictHostKeyChecking=yes")
		want := "Uploading install SSH keys; Gathering machine facts; Switching system into kexec; Gathering machine facts; Uploading " + filepath.Join(extra, "../disk.key") + " to /var/lib/lab/disk.key; " +
			"Formatting hard drive with disko; Building the system closure; Copying extra files; Installing NixOS; Rebooting; Waiting for the machine to become unreachable due to reboot; Done!"
		if got := steps(out); code != 0 || got != want {
			t.Fatalf("exit code %d: %s\n%s", code, got, out)
		}
		calls, err := os.ReadFile(filepath.Join(m.dir, "calls"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(calls)) {
			off, on := strings.Index(line, "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no"), strings.Index(line, "-o StrictHostKeyChecking=yes")
			if off < 0 || on < off {
				t.Errorf("ssh %s", line)
			}
		}
		m.until("the new system", "cat /etc/lab/kind", func(kind string) bool { return kind == "node" })
		m.isNode("system-1-link")
		m.want("the extra files", "stat -c '%a %u' /var/lib/sops-nix /var/lib/sops-nix/key.txt; cat /var/lib/sops-nix/key.txt /var/lib/lab/disk.key", "700 0\n600 0\nAGEDISK")
		m.want("the old system", "ls -d /home/ubuntu /old-root /etc/NIXOS_LUSTRATE /root/.ssh/* 2>/dev/null; ls /boot/efi/EFI; . /etc/os-release; echo $ID", "nixos\nnixos")
		if id := m.ask("cat /etc/machine-id"); id == m.MachineID || len(id) != 32 {
			t.Errorf("the machine-id is %q", id)
		}
	})
	t.Run("in phases", func(t *testing.T) {
		t.Parallel()
		m := bare(t, l, 1)
		if out, code := m.anywhere(t.Context(), "--phases", "kexec"); code != 0 || steps(out) != "Uploading install SSH keys; Gathering machine facts; Switching system into kexec; Gathering machine facts; Done!" {
			t.Fatalf("exit code %d\n%s", code, out)
		}
		m.wantLogin("root", ". /etc/os-release; echo $ID $VARIANT_ID", "nixos installer", 0) // with the key that it had
		m.wantLogin("ubuntu", "true", "Permission denied", 255)
		m.want("the installer", "ls /etc/NIXOS /run/current-system /nix/var/nix/profiles/system 2>/dev/null; ls /mnt", "")
		// Nothing was formatted: a power cut brings back what it was.
		m.PowerOff()
		if err := m.PowerOn(); err != nil {
			t.Fatal(err)
		}
		m.want("after a power cut", "cat /etc/lab/kind /etc/machine-id", "bare\n"+m.MachineID)

		if out, code := m.anywhere(t.Context(), "--phases", "kexec,disko,install", "--build-on", "local"); code != 0 || !strings.HasSuffix(steps(out), "Uploading the system closure; Installing NixOS; Done!") {
			t.Fatalf("exit code %d\n%s", code, out)
		}
		m.want("the installer", "cat /etc/lab/kind; ls /mnt/boot/efi/loader/entries", "installer\nnixos-generation-1.conf")
		m.reboot()
		m.want("the new system", "cat /etc/lab/kind", "node")
		// Without --copy-host-keys it has a new one.
		m.wantLogin("nixos", "true", "REMOTE HOST IDENTIFICATION HAS CHANGED", 255)
	})
}

func TestLabAnywhereFaults(t *testing.T) {
	t.Parallel()
	l := lab.NewBare(t, 5)
	for i, test := range []struct {
		name   string
		change func(*lab.State)
		see    func(m *machine)
	}{
		// It sees nothing of it: that is the flaw.
		{"another host key", func(s *lab.State) { s.Transition.HostKeyChanges = true }, func(m *machine) {
			if out, code := m.anywhere(m.t.Context(), "--phases", "kexec"); code != 0 {
				m.t.Errorf("exit code %d\n%s", code, out)
			}
			m.wantLogin("root", "true", "REMOTE HOST IDENTIFICATION HAS CHANGED", 255)
		}},
		{"never back", func(s *lab.State) { s.Transition.NeverBack = true }, func(m *machine) {
			ctx, cancel := context.WithCancel(m.t.Context())
			defer cancel()
			go func() {
				defer cancel()
				m.held()
				time.Sleep(2 * time.Second) // it goes on and on
			}()
			if out, code := m.anywhere(ctx); code != -1 || !strings.HasSuffix(steps(out), "Switching system into kexec") {
				m.t.Errorf("exit code %d\n%s", code, out)
			}
		}},
		{"death in the build", func(s *lab.State) { s.Transition.DiesInBuild = true }, func(m *machine) {
			if out, code := m.anywhere(m.t.Context(), "--build-on", "remote"); code != 1 || !strings.HasSuffix(steps(out), "Building the system closure") || !strings.Contains(out, "error: ") {
				m.t.Errorf("exit code %d\n%s", code, out)
			}
			m.want("what it left", "cat /etc/lab/kind; ls /mnt/nix/var/nix/profiles/", "installer\nper-user")
			// The disk is empty: nothing boots any more.
			m.Run("systemctl reboot")
			m.held()
		}},
		{"the old system", func(s *lab.State) { s.Transition.OldSystem, s.Transition.SlowBootSeconds = true, 1.5 }, func(m *machine) { // it must see that it was off
			// Root may log in here, so that it looks.
			m.ask("cp /home/ubuntu/.ssh/authorized_keys /root/.ssh/authorized_keys")
			if out, code := m.anywhere(m.t.Context()); code != 1 || !strings.Contains(out, "aborted: Failed to kexec into NixOS installer\n") {
				m.t.Errorf("exit code %d\n%s", code, out)
			}
			m.want("what it is", "cat /etc/lab/kind", "bare")
		}},
		// Out of reach at the end is as good as rebooted.
		{"cut off", func(*lab.State) {}, func(m *machine) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				m.until("the installation", "ls /mnt/nix/var/nix/profiles/system", func(string) bool { return true })
				m.Run("systemctl mask --runtime reboot.target; sleep 1; systemctl stop ssh")
			}()
			out, code := m.anywhere(m.t.Context())
			if <-done; code != 0 || !strings.HasSuffix(steps(out), "Done!") {
				m.t.Errorf("exit code %d\n%s", code, out)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := bare(t, l, i)
			m.set(test.change)
			test.see(m)
		})
	}
}

// What is refused before a host is asked anything.
func TestAnywhereRefuses(t *testing.T) {
	m := &machine{Host: &lab.Host{Name: "edge-1", Address: "198.18.250.250"}, t: t, key: "/nonexistent", dir: t.TempDir()}
	Install(t, m.dir)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--phases", "kexec,diskos"}, "aborted: Unknown phase: diskos"},
		{[]string{"--build-on", "moon"}, "Unknown mode : moon"},
		{[]string{"--flake", "."}, "Please specify the name of the NixOS configuration"},
		{[]string{"--no-such-option"}, "Usage: nixos-anywhere"}, // it is the second host
		{[]string{"--vm-test"}, "leaves out --vm-test"},
	} {
		if out, code := m.anywhere(t.Context(), test.args...); code == 0 || !strings.Contains(out, test.want) {
			t.Errorf("%q: exit code %d\n%s", test.args, code, out)
		}
	}
}
