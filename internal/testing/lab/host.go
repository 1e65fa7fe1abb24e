package lab

import (
	"bufio"
	"bytes"
	_ "embed" // the supervisor
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is one machine of the lab.
type Host struct {
	Name    string
	Address string // IPv4, on the lab's bridge
	// Public is a second address, behind a door that is closed: see Door.
	Public  string
	HostKey string // its public ed25519 key, as in a .pub file
	// MachineID is the content of its /etc/machine-id, as it was made.
	MachineID string
	// Bare is set if it was made without NixOS.
	Bare bool

	lab    *Lab
	number int
	dir    string
	netns  string
}

// patience is for what a host does in well under a second.
const patience = 60 * time.Second

func (l *Lab) host(name string, number int, bare bool) *Host {
	return &Host{
		Name: name, Address: fmt.Sprintf("198.18.%d.%d", l.number, 10+number), Public: fmt.Sprintf("198.19.%d.%d", l.number, 10+number), Bare: bare,
		lab: l, number: number, dir: filepath.Join(l.dir, "hosts", name), netns: fmt.Sprintf("ea%d-%s", l.number, name),
	}
}

func (h *Host) path(name string) string { return filepath.Join(h.dir, name) }

// supervisor is what the host runs on; see there.
//
//go:embed supervisor.sh
var supervisor string

func (h *Host) start() {
	os.Remove(h.path("hold")) // it may not be there
	cmd := exec.Command("/bin/sh", "-c", supervisor, "lab", h.dir, h.netns, h.Name, h.lab.bin, h.lab.base)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// An environment of its own: nspawn takes settings from it.
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_NSPAWN_TMPFS_TMP=0"}
	if err := cmd.Start(); err != nil {
		panic(err) // there is no /bin/sh
	}
	if m, err := mark(cmd.Process.Pid); err == nil {
		os.WriteFile(h.path("supervisor"), []byte(m), 0o600) //nolint:errcheck // the sweep would then miss it; the disk is full
	}
	go cmd.Wait() //nolint:errcheck // no zombie
}

// WaitSSH waits until the host's sshd speaks.
func (h *Host) WaitSSH() error {
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", h.Address+":22", time.Second)
		if err != nil {
			last = err
			continue
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // it shows in the read
		line, err := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		if err == nil && strings.HasPrefix(line, "SSH-2.0") {
			return nil
		}
		last = err
	}
	return fmt.Errorf("no SSH on %s within %s: %w\n%s", h.Name, patience, last, h.tail())
}

// settled waits until the host has booted to the end: on a busy machine its
// sshd speaks while units are still to come.
func (h *Host) settled() error {
	if err := h.WaitSSH(); err != nil {
		return err
	}
	_, err := h.Run("systemctl is-system-running --wait || :") // a unit may fail, which is no business of ours
	return err
}

// tail is the end of what the console showed.
func (h *Host) tail() string {
	data, err := os.ReadFile(h.path("console"))
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4000):])
}

// Run runs a script as root on the host, past its network and its sshd.
func (h *Host) Run(script string) (string, error) {
	pid, err := h.leader()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--time", "/bin/sh", "-c", script)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return "", err
	}
	// A host that goes down stops all its processes before it ends them, and
	// nsenter then stops too, for good.
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(100 * time.Millisecond):
				cmd.Process.Signal(syscall.SIGCONT)
			}
		}
	}()
	err = cmd.Wait()
	close(ended)
	if err != nil {
		return stdout.String(), fmt.Errorf("%q on %s: %w: %s", script, h.Name, err, stderr.String())
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// leader is the process id of the host's systemd, outside: the supervisor's
// child is nspawn, whose child is the container's first process.
func (h *Host) leader() (int, error) {
	data, err := os.ReadFile(h.path("supervisor"))
	if err != nil {
		return 0, err
	}
	supervisor, err := strconv.Atoi(strings.SplitN(string(data), ":", 2)[0])
	if err != nil {
		return 0, err
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, nspawn := range children(supervisor) {
			for _, pid := range children(nspawn) {
				if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.TrimSpace(string(comm)) == "systemd" {
					return pid, nil
				}
			}
		}
		if !alive(string(data)) || h.Held() {
			break
		}
	}
	return 0, fmt.Errorf("%s does not run", h.Name)
}

// Held says whether the host stays off until Release: after Hold, by a fault of
// State.Transition, or because there is nothing on its disk to boot.
func (h *Host) Held() bool {
	_, err := os.Stat(h.path("hold"))
	return err == nil
}

// PowerOff ends the host as a power cut does.
func (h *Host) PowerOff() { kill(h.dir) }

// PowerOn boots a host that is off.
func (h *Host) PowerOn() error {
	h.start()
	return h.WaitSSH()
}

// Hold has the host stay off after its next reboot, until Release.
func (h *Host) Hold() error    { return os.WriteFile(h.path("hold"), nil, 0o600) }
func (h *Host) Release() error { return os.Remove(h.path("hold")) }

// Cut takes the host off the network; Mend brings it back.
func (h *Host) Cut() error  { return h.link("down") }
func (h *Host) Mend() error { return h.link("up") }

// Door opens or closes the way to the host's public address, as a cloud's
// security list does: what comes to a closed one is dropped without a word. It
// is in the host's network and not in the host, so that no reboot and no
// system of its own changes it.
func (h *Host) Door(open bool) error {
	have, err := run("ip", "-n", h.netns, "rule", "list", "pref", "5")
	if err != nil || (have == "") == open {
		return err
	}
	verb := "add"
	if open {
		verb = "del"
	}
	// Of no protocol, the rule would stop the answers to ARP too, and who
	// knocks would soon hear that there is no such host.
	for _, protocol := range []string{"tcp", "udp", "icmp"} {
		if _, err := run("ip", "-n", h.netns, "rule", verb, "pref", "5", "iif", "eth0", "to", h.Public, "ipproto", protocol, "blackhole"); err != nil {
			return err
		}
	}
	return nil
}

// User is who lets the operator in at this moment.
func (h *Host) User() (string, error) {
	kind, err := h.Run("cat /etc/lab/kind")
	switch {
	case err != nil:
		return "", err
	case kind == "bare":
		return "ubuntu", nil
	case kind == "node":
		return "nixos", nil
	}
	return "root", nil // nixos-infect's first system, and the installer
}

// The bridge's end: the host itself may do what it likes with its own.
func (h *Host) link(state string) error {
	_, err := run("ip", "link", "set", fmt.Sprintf("ea%dh%d", h.lab.number, h.number), state)
	return err
}

// SetState tells the host's doubles how to be. K3s reads it when it starts.
func (h *Host) SetState(s State) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := h.path("lab/state.json")
	if err := os.WriteFile(path+".tmp", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// Put writes a file of root's on the host, with mode 0600 in a directory of
// mode 0700.
func (h *Host) Put(path, text string) error {
	full := filepath.Join(h.path("root"), path)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		return err
	}
	return os.WriteFile(full, []byte(text), 0o600)
}

// Build builds a system on the host and returns its store path. The behaviours
// are those of nix/switch-to-configuration and nix/build.sh.
func (h *Host) Build(label, behaviour string) (string, error) {
	return h.Run(fmt.Sprintf(buildCommand+" --argstr label '%s' --argstr behaviour '%s' --argstr kernel \"$(uname -r)\" 2>/dev/null", label, behaviour))
}

// Root is the host's file system as the host itself sees it, with its /run,
// for as long as this boot lasts.
func (h *Host) Root() (string, error) {
	pid, err := h.leader()
	return fmt.Sprintf("/proc/%d/root", pid), err
}
