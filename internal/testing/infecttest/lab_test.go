package infecttest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/colmena"
	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/colmenatest"
	"edge-actions/internal/testing/lab"
)

// machine is a host with what the tests of this package ask it.
type machine struct {
	*lab.Host
	t   *testing.T
	key string // the operator's private one
	dir string // with the doubles
}

func bare(t *testing.T, l *lab.Lab, i int) *machine {
	t.Helper()
	m := &machine{Host: l.Hosts[i], t: t, key: l.Key, dir: t.TempDir()}
	Install(t, m.dir)
	if err := m.Put("/root/nixos-infect", string(Infect())); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) ask(script string) string {
	m.t.Helper()
	out, err := m.Run(script)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

func (m *machine) want(what, script, want string) {
	m.t.Helper()
	if got := m.ask(script); got != want {
		m.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

const bootID = "cat /proc/sys/kernel/random/boot_id"

// patience is for a host that boots in a second on a machine that is busy.
const patience = time.Minute

// until asks the host until it answers as wanted.
func (m *machine) until(what, script string, is func(string) bool) {
	m.t.Helper()
	var got string
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got, err = m.Run(script); err == nil && is(got) && m.WaitSSH() == nil {
			return
		}
	}
	m.t.Fatalf("%s: %q, %v", what, got, err)
}

func (m *machine) reboot() {
	m.t.Helper()
	before := m.ask(bootID)
	m.Run("systemctl reboot") // it may not live to answer
	m.until("another boot", bootID, func(id string) bool { return id != before })
}

// login runs a command through the host's sshd, which must have the key that
// it had from the start.
func (m *machine) login(user, command string) (string, int) {
	m.t.Helper()
	known := filepath.Join(m.t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte(m.Address+" "+m.HostKey+"\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command("ssh", "-F", "none", "-i", m.key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+known, user+"@"+m.Address, command)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

func (m *machine) wantLogin(user, command, want string, code int) {
	m.t.Helper()
	if out, c := m.login(user, command); c != code || !strings.Contains(out, want) {
		m.t.Errorf("%s@%s %s: %q, exit code %d, want %q and %d", user, m.Name, command, out, c, want, code)
	}
}

func (m *machine) set(change func(*lab.State)) {
	m.t.Helper()
	var s lab.State
	change(&s)
	if err := m.SetState(s); err != nil {
		m.t.Fatal(err)
	}
}

// deploy is the first deploy, as an action does it: nixos-rebuild as root.
func (m *machine) deploy() {
	m.t.Helper()
	dir := m.hive()
	key, err := sshx.ParseHostKey(m.HostKey)
	if err != nil {
		m.t.Fatal(err)
	}
	config, err := colmena.WriteSSHConfig(dir, []colmena.Pin{{Name: m.Name, Host: m.Address, HostKey: key, IdentityFile: m.key}}, "")
	if err != nil {
		m.t.Fatal(err)
	}
	var log bytes.Buffer
	c := &colmena.CLI{
		Rebuild: filepath.Join(colmenatest.Install(m.t), "nixos-rebuild"), Dir: dir, SSHConfig: config, Log: &log, BuildTimeout: patience,
		Env: colmena.Environ([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + colmenatest.Home(m.t), "NIX_REMOTE="}),
	}
	if err := c.Bootstrap(m.t.Context(), m.Name, "root@"+m.Address); err != nil {
		m.t.Fatalf("%v\n%s", err, log.String())
	}
}

func (m *machine) hive() string {
	m.t.Helper()
	dir := m.t.TempDir()
	colmenatest.WriteHive(m.t, dir, []colmenatest.Node{{Name: m.Name, TargetHost: m.Address, Label: "node", BuildOnTarget: true}})
	return dir
}

// isNode asks for what the lab's nodes have from the start.
func (m *machine) isNode(generation string) {
	m.t.Helper()
	m.until("a system that is up", "systemctl is-system-running --wait", func(s string) bool { return s == "running" })
	m.want("the system", "readlink -f /run/current-system | sed 's/.*-nixos-system-//'; cat /run/app-version; ls /run/secrets", m.Name+"-node\nnode\nk3s-token\nrestic-password")
	m.want("the profile", "readlink /nix/var/nix/profiles/system; [ /run/current-system -ef /nix/var/nix/profiles/system ] && echo same", generation+"\nsame")
	m.want("its units", "systemctl is-active k3s tailscaled nix-daemon.socket lab-metadata ssh", strings.TrimSuffix(strings.Repeat("active\n", 5), "\n"))
	m.until("its cluster", "kubectl get nodes -o json", func(s string) bool { return strings.Contains(s, `"bootID":"`+m.ask(bootID)+`"`) })
	m.want("its tailnet", "tailscale status --json | grep -o '\"BackendState\":\"[A-Za-z]*\"'", `"BackendState":"Running"`)
	m.want("its sshd", "ls /etc/ssh/sshd_config.d /etc/ssh/authorized_keys.d 2>/dev/null; sshd -T | grep -i ^permitrootlogin", "/etc/ssh/sshd_config.d:\nlab.conf\npermitrootlogin no")
	m.wantLogin("nixos", "sudo -n id -u", "0", 0)
	m.wantLogin("root", "true", "Permission denied", 255)
	m.wantLogin("ubuntu", "true", "Permission denied", 255)
	if user, err := m.User(); user != "nixos" || err != nil {
		m.t.Errorf("%s lets the operator in, %v", user, err)
	}
}

func TestLabInfect(t *testing.T) {
	t.Parallel()
	l := lab.NewBare(t, 2)
	t.Run("as it is", func(t *testing.T) {
		t.Parallel()
		m := bare(t, l, 0)
		m.ask("env HOME=/root NO_REBOOT=1 PROVIDER=oraclecloud bash /root/nixos-infect >/root/infect.log 2>&1")
		m.want("what is kept", "cat /etc/NIXOS_LUSTRATE", "etc/nixos\netc/resolv.conf\nroot/.nix-defexpr/channels\netc/ssh/ssh_host_ed25519_key\netc/ssh/ssh_host_ed25519_key.pub")
		m.want("the system that runs", "ls -d /etc/NIXOS /run/current-system 2>/dev/null; . /etc/os-release; echo $ID; systemctl is-active k3s || true", "/etc/NIXOS\ndebian\ninactive")
		m.want("its ESP", "ls /boot/efi /boot/efi/loader/entries", "/boot/efi:\nEFI\nloader\n\n/boot/efi/loader/entries:\nnixos-generation-1.conf")
		m.want("its files", "ls /etc/nixos", "configuration.nix\nhardware-configuration.nix")
		system := m.ask("readlink -f /nix/var/nix/profiles/system")

		m.reboot()
		m.want("booted", "readlink /run/booted-system /run/current-system; . /etc/os-release; echo $ID; ls -d /etc/NIXOS*; cat /etc/lab/kind", system+"\n"+system+"\nnixos\n/etc/NIXOS\nminimal")
		m.until("a system that is up", "systemctl is-system-running --wait", func(s string) bool { return s == "running" })
		m.want("what is gone", "id ubuntu 2>/dev/null; ls /etc/sudoers.d; ls -A /root/.ssh /home; command -v k3s kubectl tailscale; systemctl list-unit-files --no-legend 'k3s*' 'tailscale*'; ls /run/secrets 2>/dev/null; true", "README\n/home:\n\n/root/.ssh:")
		m.want("where it went", "ls -d /old-root/home/ubuntu/.ssh/authorized_keys /old-root/etc/sudoers.d/90-cloud-init-users /old-root/root/infect.log /etc/nixos/configuration.nix; cat /old-root/etc/machine-id",
			"/etc/nixos/configuration.nix\n/old-root/etc/sudoers.d/90-cloud-init-users\n/old-root/home/ubuntu/.ssh/authorized_keys\n/old-root/root/infect.log\n"+m.MachineID)
		if id := m.ask("cat /etc/machine-id"); id == m.MachineID || len(id) != 32 {
			t.Errorf("the machine-id is %q", id)
		}
		m.wantLogin("root", "echo $((40+2)); hostname", "42\n"+m.Name, 0) // the key's forced command is gone
		m.wantLogin("ubuntu", "true", "Permission denied", 255)

		m.deploy()
		m.isNode("system-2-link")
		m.reboot()
		m.isNode("system-2-link")
	})
	t.Run("with more to keep, and keys of its own", func(t *testing.T) {
		t.Parallel()
		m := bare(t, l, 1)
		m.ask("mkdir /etc/nixos; printf '{ pkgs, ... }: { users.users.root.openssh.authorizedKeys.keys = [ \"%s\" ]; }' \"$(cat /home/ubuntu/.ssh/authorized_keys)\" >/etc/nixos/configuration.nix")
		m.ask("env HOME=/root NO_REBOOT=1 PROVIDER=hetznercloud newrootfslabel=nixos bash /root/nixos-infect 2>&1; echo etc/machine-id >>/etc/NIXOS_LUSTRATE")
		m.want("its files", "ls /etc/nixos; findmnt -no LABEL /", "configuration.nix\nnixos")
		m.reboot()
		m.want("its machine-id", "cat /etc/machine-id", m.MachineID)
		m.wantLogin("root", "cat /etc/os-release", "ID=nixos", 0)
	})
}

// What nixos-infect makes of keys, and what it refuses.
func TestLabInfectKeys(t *testing.T) {
	t.Parallel()
	m := bare(t, lab.NewBare(t, 1), 0)
	m.wantLogin("ubuntu", "sudo cat /root/nixos-infect | bash 2>&1", "ERROR: Must run as root", 1)
	const evaluate = `nix-instantiate --eval --strict --json --expr '(import /etc/nixos/configuration.nix { }).users.users.root.openssh.authorizedKeys.keys'; rm -rf /etc/nixos`
	run := "NO_INFECT=1 NO_REBOOT=1 SUDO_USER=ubuntu bash /root/nixos-infect && NIX_REMOTE= " + evaluate
	for name, test := range map[string]struct{ root, want string }{
		"plain":                  {"ssh-ed25519 AAAA me@home", `["ssh-ed25519 AAAA me@home"]`},
		"with a command":         {`no-pty,command="echo 'x y'" ssh-ed25519 AAAA me`, `["ssh-ed25519 AAAA me"]`},
		"a comment line":         {"# ours\nssh-ed25519 AAAA me", `["# ours","ssh-ed25519 AAAA me"]`},
		"a comment like a key's": {"ssh-ed25519 AAAA ssh-key-2026 mine", `["ssh-key-2026 mine"]`},
		"quotes":                 {`ssh-ed25519 AAAA "me"`, `["ssh-ed25519 AAAA me"]`},
		"none: the user's":       {"", `["` + m.ask("cat /home/ubuntu/.ssh/authorized_keys") + `"]`},
	} {
		if err := m.Put("/root/.ssh/authorized_keys", test.root); err != nil {
			t.Fatal(err)
		}
		m.want(name, run, test.want)
	}
	// networking.nix is not for every provider.
	m.want("another provider", "PROVIDER=hetznercloud NO_INFECT=1 NO_REBOOT=1 bash /root/nixos-infect && ls /etc/nixos; rm -rf /etc/nixos", "configuration.nix\nhardware-configuration.nix\nnetworking.nix")
	// A configuration that does not evaluate is not installed.
	m.ask("mkdir /etc/nixos; echo '{ ... }: { users.users.root' >/etc/nixos/configuration.nix")
	if out, err := m.Run("NO_REBOOT=1 bash /root/nixos-infect"); err == nil || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("%s %v", out, err)
	}
	m.want("what it left", "ls -d /etc/NIXOS* /nix/var/nix/profiles/system 2>/dev/null; ls /boot/efi/EFI", "BOOT\ndebian")
}

func TestLabInfectFaults(t *testing.T) {
	t.Parallel()
	l := lab.NewBare(t, 5)
	// It reboots by itself, as without NO_REBOOT.
	infect := func(m *machine, change func(*lab.State)) (before string) {
		m.set(change)
		before = m.ask(bootID)
		m.Run("env HOME=/root bash /root/nixos-infect >/var/log/infect 2>&1") // it may not live to answer
		return before
	}
	for i, test := range []struct {
		name   string
		change func(*lab.State)
		see    func(m *machine, before string)
	}{
		{"another host key", func(s *lab.State) { s.Transition.HostKeyChanges = true }, func(m *machine, before string) {
			m.until("another boot", bootID, func(id string) bool { return id != before })
			m.wantLogin("root", "true", "REMOTE HOST IDENTIFICATION HAS CHANGED", 255)
			m.want("its kind", "cat /etc/lab/kind", "minimal")
		}},
		{"never back", func(s *lab.State) { s.Transition.NeverBack = true }, func(m *machine, _ string) {
			m.held()
			if err := m.Release(); err != nil {
				m.t.Fatal(err)
			}
			m.until("a boot after all", "cat /etc/lab/kind", func(kind string) bool { return kind == "minimal" })
		}},
		{"death in the build", func(s *lab.State) { s.Transition.DiesInBuild = true }, func(m *machine, before string) {
			m.want("what it left", "grep -c building /var/log/infect; ls -d /etc/NIXOS* /nix/var/nix/profiles/system 2>/dev/null; ls /boot/efi/EFI; ls /etc/nixos; "+bootID, "1\nBOOT\ndebian\nconfiguration.nix\nhardware-configuration.nix\n"+before)
			m.set(func(*lab.State) {}) // the next run goes through
			m.ask("env HOME=/root NO_REBOOT=1 bash /root/nixos-infect")
			m.want("what the next run left", "ls -d /etc/NIXOS*", "/etc/NIXOS\n/etc/NIXOS_LUSTRATE")
		}},
		{"the old system", func(s *lab.State) { s.Transition.OldSystem = true }, func(m *machine, before string) {
			m.until("another boot", bootID, func(id string) bool { return id != before })
			m.want("what it is", "cat /etc/lab/kind; ls -d /etc/NIXOS* /run/current-system 2>/dev/null; cat /etc/machine-id", "bare\n/etc/NIXOS\n/etc/NIXOS_LUSTRATE\n"+m.MachineID)
			m.wantLogin("ubuntu", "true", "", 0)
		}},
		{"a slow boot", func(s *lab.State) { s.Transition.SlowBootSeconds = 1.5 }, func(m *machine, before string) {
			m.off()
			m.until("another boot", bootID, func(id string) bool { return id != before })
			m.want("its kind", "cat /etc/lab/kind", "minimal")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := bare(t, l, i)
			test.see(m, infect(m, test.change))
		})
	}
}

// held waits until the host is off for good.
func (m *machine) held() {
	m.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if m.Held() {
			if _, err := m.Run("true"); err == nil {
				m.t.Error("it runs")
			}
			return
		}
	}
	m.t.Fatal("it is not off")
}

// off waits until nothing listens at the host's address.
func (m *machine) off() {
	m.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", m.Address+":22", 300*time.Millisecond)
		if err != nil {
			return
		}
		conn.Close()
	}
	m.t.Fatal("it did not go off")
}

// anywhere runs nixos-anywhere against the host's node and returns what it
// said and its exit code; -1 if it was ended.
func (m *machine) anywhere(ctx context.Context, args ...string) (string, int) {
	m.t.Helper()
	args = append([]string{"--flake", m.hive() + "#" + m.Name, "-i", m.key, "--target-host", "ubuntu@" + m.Address}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(m.dir, "nixos-anywhere"), args...)
	// A wrapper before ssh is the one way to have a key pinned. It is found on
	// PATH, and writes down what it was given.
	wrapper := filepath.Join(m.dir, "ssh")
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\nprintf '%s\\n' \"$*\" >>\""+m.dir+"/calls\"\nexec "+realSSH(m.t)+" -F none \"$@\"\n"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	cmd.Env = []string{"PATH=" + m.dir + ":" + os.Getenv("PATH"), "HOME=" + colmenatest.Home(m.t), "NIX_REMOTE="}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		m.t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func realSSH(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	return path
}
