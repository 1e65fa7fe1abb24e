package lab

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed rootfs nix
var tree embed.FS

// packages of the base. nix-bin comes second: debootstrap can't resolve what
// it needs.
const packages = "systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,procps,curl,sqlite3"

// base returns the Debian tree that all hosts lie over, made once for each
// content of this package. It takes about a minute.
func base() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	fmt.Fprint(digest, packages, "\n", furnishing)
	err = fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := tree.ReadFile(path)
		fmt.Fprintf(digest, "%s %d\n%s", path, len(data), data)
		return err
	})
	if err != nil {
		return "", err
	}
	// Debian itself stays for as long as the list of packages is the same.
	list := sha256.Sum256([]byte(packages))
	debian := filepath.Join(cache, "debian-"+hex.EncodeToString(list[:8]))
	full := filepath.Join(cache, "base-"+hex.EncodeToString(digest.Sum(nil)[:8]))
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if err := once(debian, bootstrap); err != nil {
		return "", err
	}
	return full, once(full, func(dir string) error { return furnish(debian, dir) })
}

func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "edge-actions", "lab")
	return cache, os.MkdirAll(cache, 0o700)
}

// once makes a directory unless it is there, whole or not at all.
func once(dir string, fill func(dir string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := fill(partial); err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	return os.Rename(partial, dir)
}

func bootstrap(dir string) error {
	fmt.Fprintln(os.Stderr, "making the base of the lab's hosts (once on this machine, takes about a minute)")
	if _, err := run("debootstrap", "--variant=minbase", "--include="+packages, "bookworm", dir); err != nil {
		return err
	}
	if _, err := run("chroot", dir, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "nix-bin"); err != nil {
		return err
	}
	_, err := run("chroot", dir, "sh", "-c", "apt-get clean; rm -f /etc/ssh/ssh_host_* /etc/resolv.conf; : >/etc/resolv.conf; : >/etc/machine-id")
	return err
}

// furnishing is run in the tree; it is part of what names the base.
const furnishing = `set -eu
rm -rf /var/lib/apt/lists/* /var/log/journal
systemctl -q enable nix-daemon.socket lab-metadata ssh
systemctl -q mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer \
	systemd-timesyncd.service console-getty.service getty.target systemd-resolved.service systemd-update-utmp-runlevel.service
mkdir -p /usr/local/lab /var/lib/lab /etc/lab
for name in lsblk findmnt; do ln -s /usr/local/lab/labhost /usr/local/bin/$name; done
share=/usr/local/share/lab
cp --remove-destination $share/os-release /etc/os-release
: >/etc/NIXOS
# What only a node's system brings is kept once more for hosts that are none
# yet, and so are /etc and /var without it, as NixOS has them on an empty disk.
cat >$share/node.list <<END
etc/systemd/system/k3s.service
etc/systemd/system/tailscaled.service
etc/systemd/system/multi-user.target.wants/k3s.service
etc/systemd/system/multi-user.target.wants/tailscaled.service
etc/rancher
etc/sudoers.d/nixos
etc/ssh/sshd_config.d/lab.conf
usr/local/bin/k3s
usr/local/bin/kubectl
usr/local/bin/tailscale
END
tar -C / --exclude-from=$share/node.list --exclude=var/lib/dpkg -cf $share/etc.tar etc var
useradd --create-home --shell /bin/bash nixos
systemctl -q enable tailscaled k3s
for name in k3s kubectl tailscale; do ln -s /usr/local/lab/labhost /usr/local/bin/$name; done
install -d -m 0700 /etc/rancher/k3s
tar -C / -T $share/node.list -cf $share/node.tar
echo node >/etc/lab/kind
system=$(` + buildCommand + ` --argstr label 1 --argstr kernel "$(uname -r)")
NIX_REMOTE='' nix-env -p /nix/var/nix/profiles/system --set "$system"
`

// furnish makes of a Debian tree what the hosts share: units, users, and the
// first generation of the system.
func furnish(debian, dir string) error {
	// Hard links would let a host's base be changed through another's.
	if _, err := run("cp", "-a", "--reflink=auto", debian, dir); err != nil {
		return err
	}
	err := fs.WalkDir(tree, "rootfs", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return install(filepath.Join(dir, strings.TrimPrefix(path, "rootfs")), path, d)
	})
	if err != nil {
		return err
	}
	err = fs.WalkDir(tree, "nix", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return install(filepath.Join(dir, "usr/local/share/lab", path), path, d)
	})
	if err != nil {
		return err
	}
	// nix-build wants a /proc and a terminal's master, which a chroot lacks.
	cmd := exec.Command("systemd-nspawn", "-q", "-D", dir, "--register=no", "--keep-unit", "--resolv-conf=off", "--pipe", "/bin/sh", "-c", furnishing)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("furnishing the base: %w: %s", err, out)
	}
	return nil
}

// buildCommand builds a system on a host. The daemon is not needed by root.
const buildCommand = `NIX_REMOTE='' nix-build --no-out-link /usr/local/share/lab/nix/system.nix`

func install(to, from string, d fs.DirEntry) error {
	if d.IsDir() {
		return os.MkdirAll(to, 0o755)
	}
	data, err := tree.ReadFile(from)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	switch {
	case strings.HasPrefix(string(data), "#!"): // an embedded file has no mode
		mode = 0o755
	case strings.Contains(to, "sudoers.d"):
		mode = 0o440
	}
	return os.WriteFile(to, data, mode)
}

// labhost builds the doubles' binary and returns its directory.
func labhost() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	where, err := run("go", "list", "-f", "{{.Dir}}", "edge-actions/internal/testing/lab")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Linked anew only when something changed; the rename is for those who run
	// the old one.
	temp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(temp, "labhost"), "./labhost")
	cmd.Dir, cmd.Env = strings.TrimSpace(where), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building labhost: %w: %s", err, out)
	}
	return dir, os.Rename(filepath.Join(temp, "labhost"), filepath.Join(dir, "labhost"))
}
