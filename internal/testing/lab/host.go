package lab

import (
	"bufio"
	"bytes"
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
	HostKey string // its public ed25519 key, as in a .pub file
	// MachineID is the content of its /etc/machine-id.
	MachineID string

	lab    *Lab
	number int
	dir    string
	netns  string
}

// patience is for what a host does in well under a second.
const patience = 60 * time.Second

func (l *Lab) host(name string, number int) *Host {
	return &Host{
		Name: name, Address: fmt.Sprintf("198.18.%d.%d", l.number, 10+number),
		lab: l, number: number, dir: filepath.Join(l.dir, "hosts", name), netns: fmt.Sprintf("ea%d-%s", l.number, name),
	}
}

func (h *Host) path(name string) string { return filepath.Join(h.dir, name) }

// make lays out the host's disk and network.
func (h *Host) make() error {
	for _, dir := range []string{"upper", "work", "root", "boot"} {
		if err := os.MkdirAll(h.path(dir), 0o755); err != nil {
			return err
		}
	}
	overlay := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", h.lab.base, h.path("upper"), h.path("work"))
	veth := fmt.Sprintf("ea%dh%d", h.lab.number, h.number)
	for _, c := range [][]string{
		{"mount", "-t", "overlay", "overlay", "-o", overlay, h.path("root")},
		{"mount", "-t", "tmpfs", "-o", "size=96m,mode=0755", "tmpfs", h.path("boot")}, // as small as Oracle's ESP; it outlives a reboot
		{"ip", "netns", "add", h.netns},
		{"ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", h.netns},
		{"ip", "link", "set", veth, "master", h.lab.bridge(), "up"},
		{"ip", "-n", h.netns, "link", "set", "lo", "up"},
	} {
		if _, err := run(c[0], c[1:]...); err != nil {
			return err
		}
	}
	etc := filepath.Join(h.path("root"), "etc")
	key := filepath.Join(etc, "ssh/ssh_host_ed25519_key")
	if _, err := run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", h.Name, "-f", key); err != nil {
		return err
	}
	operator, err := os.ReadFile(h.lab.Key + ".pub")
	if err != nil {
		return err
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		return err
	}
	for path, text := range map[string]string{
		"etc/hostname":    h.Name + "\n",
		"etc/hosts":       "127.0.0.1 localhost\n127.0.1.1 " + h.Name + "\n", // else sudo asks for it
		"etc/machine-id":  strings.ReplaceAll(string(id), "-", ""),
		"etc/resolv.conf": "",
		"etc/lab/network": fmt.Sprintf("ip link set eth0 up && ip addr replace %s/24 dev eth0 && ip route replace default via %s\n", h.Address, h.lab.gateway()),
	} {
		path = filepath.Join(h.path("root"), path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	// What the installation of the first generation does: the boot loader.
	script := `set -eu
install -d -m 0700 -o nixos -g nixos /home/nixos/.ssh
cat >/home/nixos/.ssh/authorized_keys
chown nixos:nixos /home/nixos/.ssh/authorized_keys; chmod 600 /home/nixos/.ssh/authorized_keys
`
	cmd := exec.Command("chroot", h.path("root"), "/bin/sh", "-c", script)
	cmd.Stdin = bytes.NewReader(operator)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making %s: %w: %s", h.Name, err, out)
	}
	if _, err := run("mount", "--bind", h.path("boot"), filepath.Join(h.path("root"), "boot")); err != nil {
		return err
	}
	if _, err := run("chroot", h.path("root"), "/bin/sh", "-c", "/nix/var/nix/profiles/system/bin/switch-to-configuration boot"); err != nil {
		return err
	}
	if _, err := run("umount", filepath.Join(h.path("root"), "boot")); err != nil {
		return err
	}
	return h.read()
}

// read takes from the host's disk what it is known by.
func (h *Host) read() error {
	key, err := os.ReadFile(filepath.Join(h.path("root"), "etc/ssh/ssh_host_ed25519_key.pub"))
	if err != nil {
		return err
	}
	id, err := os.ReadFile(filepath.Join(h.path("root"), "etc/machine-id"))
	if err != nil {
		return err
	}
	h.HostKey, h.MachineID = strings.TrimSpace(string(key)), strings.TrimSpace(string(id))
	return nil
}

// supervisor runs the container again when it reboots (exit code 133), in a
// session of its own. It waits with that while there is a file "hold". Without
// a control group of its own a host would share its units' with the others, and
// a "systemctl kill" on one would kill on all; without a time namespace its
// uptime would be this machine's.
const supervisor = `cd "$1" || exit 1
for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
	[ -e "$tree/cgroup.procs" ] && mkdir -p "$tree/$2" && echo $$ >"$tree/$2/cgroup.procs"
done 2>/dev/null
while :; do
	while [ -e hold ]; do sleep 0.02; done
	read -r up _ </proc/uptime
	unshare --time --monotonic="-${up%.*}" --boottime="-${up%.*}" \
		systemd-nspawn -q -D root --boot --register=no --keep-unit --network-namespace-path=/run/netns/"$2" --resolv-conf=off \
		--link-journal=no --machine="$2" --hostname="$3" --console=pipe --capability=CAP_NET_ADMIN --bind="$1/boot:/boot" --bind-ro="$4:/usr/local/lab" \
		</dev/null >>console 2>&1
	[ $? = 133 ] || exit 0
done`

func (h *Host) start() {
	os.Remove(h.path("hold")) // it may not be there
	cmd := exec.Command("/bin/sh", "-c", supervisor, "lab", h.dir, h.netns, h.Name, h.lab.bin)
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
		if !alive(string(data)) || h.held() {
			break
		}
	}
	return 0, fmt.Errorf("%s does not run", h.Name)
}

func (h *Host) held() bool {
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
	path := filepath.Join(h.path("root"), StateFile)
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
