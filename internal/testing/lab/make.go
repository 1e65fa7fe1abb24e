package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// make lays out the host's disk and network.
func (h *Host) make() error {
	for _, dir := range []string{"upper", "work", "root", "boot", "lab"} {
		if err := os.MkdirAll(h.path(dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(h.path("number"), []byte(strconv.Itoa(h.number)), 0o600); err != nil { // for Open
		return err
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
		// The door's rule comes before the one that takes in what is for this
		// host, which is the first unless it is moved.
		{"ip", "-n", h.netns, "rule", "add", "pref", "10", "lookup", "local"},
		{"ip", "-n", h.netns, "rule", "del", "pref", "0"},
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
		"etc/lab/network": fmt.Sprintf("ip link set eth0 up && ip addr replace %s/24 dev eth0 && ip addr replace %s/24 dev eth0 && ip route replace default via %s\n", h.Address, h.Public, h.lab.gateway()),
		// A node's system has this key in its configuration.
		"usr/local/share/lab/operator.pub": string(operator),
	} {
		path = filepath.Join(h.path("root"), path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := h.Door(false); err != nil {
		return err
	}
	install := h.installNode
	if h.Bare {
		install = h.installBare
	}
	if err := install(operator); err != nil {
		return err
	}
	return h.read()
}

// installNode does what the installation of the first generation does: the
// operator's key, the boot loader.
func (h *Host) installNode(operator []byte) error {
	err := h.inside(operator, `set -eu
install -d -m 0700 -o nixos -g nixos /home/nixos/.ssh
cat >/home/nixos/.ssh/authorized_keys
chown nixos:nixos /home/nixos/.ssh/authorized_keys; chmod 600 /home/nixos/.ssh/authorized_keys
`)
	if err != nil {
		return err
	}
	if _, err := run("mount", "--bind", h.path("boot"), filepath.Join(h.path("root"), "boot")); err != nil {
		return err
	}
	if err := h.inside(nil, "/nix/var/nix/profiles/system/bin/switch-to-configuration boot"); err != nil {
		return err
	}
	_, err = run("umount", filepath.Join(h.path("root"), "boot"))
	return err
}

// installBare makes it what a cloud hands out, with what is on its ESP.
func (h *Host) installBare(operator []byte) error {
	if err := h.inside(operator, "/usr/local/share/lab/bare"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(h.path("root"), "boot/efi"), 0o755); err != nil {
		return err
	}
	for _, file := range []string{"EFI/debian/shimx64.efi", "EFI/debian/grubx64.efi", "EFI/BOOT/BOOTX64.EFI"} {
		path := filepath.Join(h.path("boot"), file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte{0}, 1<<20), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(h.path("bare"), nil, 0o600) // for the supervisor, and for Open
}

// inside runs a script in the host's tree while it is off.
func (h *Host) inside(stdin []byte, script string) error {
	cmd := exec.Command("chroot", h.path("root"), "/bin/sh", "-c", script)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making %s: %w: %s", h.Name, err, out)
	}
	return nil
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
