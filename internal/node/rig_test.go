package node

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
)

// What the healthy node of these tests is.
const (
	bootNow    = "11111111-2222-3333-4444-555555555555"
	bootBefore = "99999999-2222-3333-4444-555555555555"
	machine    = "0123456789abcdef0123456789abcdef"
	store      = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-edge-1"
	olderStore = "/nix/store/1123456789abcdfghijklmnpqrsvwxyz-nixos-system-edge-1"
	release    = "6.12.1"
)

// rig is a root directory with commands of its own, on which the probe runs.
type rig struct {
	t         testing.TB
	root, bin string
	port      int // one that answers
}

// tools are what the probe may rely on; the rest is faked.
var tools = []string{"sh", "bash", "base64", "cat", "date", "find", "head", "mktemp", "readlink", "rm", "sleep", "stat", "timeout", "uname", "yes"}

func newRig(t testing.TB) *rig {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, root: filepath.Join(dir, "root"), bin: filepath.Join(dir, "bin")}
	for _, tool := range tools {
		r.link(filepath.Join(r.bin, tool), realtools.Path(t, tool))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r.port = l.Addr().(*net.TCPAddr).Port

	up := 1000
	for path, text := range map[string]string{
		"proc/uptime":                        fmt.Sprintf("%d.25 1234.00\n", up),
		"proc/sys/kernel/random/boot_id":     bootNow + "\n",
		"proc/sys/kernel/hostname":           "edge-1\n",
		"proc/sys/kernel/osrelease":          release + "\n",
		"proc/sys/kernel/arch":               "aarch64\n",
		"proc/meminfo":                       "MemTotal:        5981292 kB\nMemFree:         1 kB\n",
		"etc/NIXOS":                          "",
		"etc/machine-id":                     machine + "\n",
		"etc/os-release":                     "NAME=NixOS\nID=nixos\nVERSION_ID=\"25.11\"\n",
		"boot/loader/loader.conf":            "timeout 5\ndefault nixos-generation-42.conf\neditor no\n",
		"boot/loader/entries/" + entryOf(42): "title NixOS\nlinux /EFI/nixos/kernel.efi\noptions init=" + store + "/init loglevel=4\n",
		"boot/loader/entries/" + entryOf(41): "title NixOS\noptions init=" + olderStore + "/init loglevel=4\n",
		"run/secrets.d/1/restic/password":    "sesame\n",
		"run/secrets.d/1/rustdesk-key":       "sesame\n",
		"var/lib/sops-nix/key.txt":           "AGE-SECRET-KEY-1\n",
		store + "/kernel-modules/lib/modules/" + release + "/modules.dep": "",
		olderStore + "/init": "",
	} {
		r.write(path, text)
	}
	for path, mode := range map[string]os.FileMode{"run/secrets.d/1/restic/password": 0o400, "run/secrets.d/1/rustdesk-key": 0o440, "var/lib/sops-nix": 0o700, "var/lib/sops-nix/key.txt": 0o600} {
		r.mode(path, mode)
	}
	for path, to := range map[string]string{
		"run/booted-system": ".." + store, "run/current-system": ".." + store, "run/secrets": "secrets.d/1",
		"nix/var/nix/profiles/system": "system-42-link", "nix/var/nix/profiles/system-42-link": "../../../.." + store,
	} {
		r.link(filepath.Join(r.root, path), to)
	}
	r.fake("systemctl", `case $1 in
is-system-running) echo running ;;
show) printf 'Id=k3s.service\nNames=k3s.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\nId=ssh.service\nNames=ssh.service sshd.service\nLoadState=loaded\nActiveState=active\nSubState=running\n' ;;
esac`)
	r.fake("tailscale", `cat <<'END'
{"BackendState":"Running","Self":{"DNSName":"edge-1.tail.net.","HostName":"edge-1","TailscaleIPs":["100.64.0.1"],"Online":true,"KeyExpiry":"2222-01-01T00:00:00Z"},"Health":[],"Peer":null}
END`)
	r.fake("kubectl", "cat <<'END'\n"+clusterJSON(time.Now().Add(-time.Minute))+"\nEND")
	r.fake("sshd", `printf 'port 22\npermitrootlogin no\npasswordauthentication no\nkbdinteractiveauthentication no\npermitemptypasswords no\n'`)
	r.fake("lsblk", "cat <<'END'\n"+lsblkJSON+"\nEND")
	r.fake("curl", "printf ocid1.instance.oc1.eu.abc")
	return r
}

// lsblkJSON is what lsblk (util-linux 2.38) prints of a disk with two
// partitions.
const lsblkJSON = `{"blockdevices": [
  {"path":"/dev/loop0","label":null,"fstype":"squashfs","size":4096,"fsavail":"0","mountpoints":["/snap/core/1"]},
  {"path":"/dev/sda","label":null,"fstype":null,"size":50010783744,"fsavail":null,"mountpoints":[null],"children":[
    {"path":"/dev/sda1","label":"cloudimg-rootfs","fstype":"ext4","size":49893326336,"fsavail":40000000000,"mountpoints":["/nix/store","/"]},
    {"path":"/dev/sda15","label":"UEFI","fstype":"vfat","size":104857600,"fsavail":94371840,"mountpoints":["/boot/efi"]}]}]}`

func entryOf(n int) string { return fmt.Sprintf("nixos-generation-%d.conf", n) }

// clusterJSON is what kubectl prints of a cluster of one node.
func clusterJSON(started time.Time) string {
	at := started.UTC().Format(time.RFC3339)
	deployment := func(name string) string {
		return fmt.Sprintf(`{"kind":"Deployment","metadata":{"name":%q,"namespace":"rustdesk","generation":3},"spec":{"replicas":1,"template":{"spec":{"containers":[{"name":%q}]}}},
			"status":{"observedGeneration":3,"replicas":1,"updatedReplicas":1,"availableReplicas":1,"readyReplicas":1}}`, name, name)
	}
	pod := func(name string) string {
		return fmt.Sprintf(`{"kind":"Pod","metadata":{"name":"%s-abc","namespace":"rustdesk"},"spec":{"nodeName":"edge-1"},
			"status":{"phase":"Running","containerStatuses":[{"name":%q,"ready":true,"state":{"running":{"startedAt":%q}}}]}}`, name, name, at)
	}
	return `{"apiVersion":"v1","kind":"List","items":[{"kind":"Node","metadata":{"name":"edge-1"},"status":{"nodeInfo":{"bootID":"` + bootNow + `"},"conditions":[{"type":"Ready","status":"True"}]}},` +
		strings.Join([]string{deployment("hbbs"), deployment("hbbr"), pod("hbbs"), pod("hbbr")}, ",") + `]}`
}

func (r *rig) path(path string) string { return filepath.Join(r.root, path) }

func (r *rig) write(path, text string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(path)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.path(path), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) mode(path string, mode os.FileMode) {
	r.t.Helper()
	if err := os.Chmod(r.path(path), mode); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) remove(paths ...string) {
	r.t.Helper()
	for _, path := range paths {
		if err := os.RemoveAll(r.path(path)); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) link(path, to string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	os.Remove(path)
	if err := os.Symlink(to, path); err != nil {
		r.t.Fatal(err)
	}
}

// fake puts a script in a command's place. It must be gone first: it may be a
// link to the real one.
func (r *rig) fake(name, script string) {
	r.t.Helper()
	path := filepath.Join(r.bin, name)
	os.Remove(path)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) without(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(r.bin, name)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// impatient has the timeouts of some commands end after a second, and the
// others never: the machine may be busy.
func (r *rig) impatient(commands ...string) {
	r.fake("timeout", fmt.Sprintf(`[ "$1" = -k ] && [ "$2" -ge 1 ] && [ "$3" -ge 1 ] || exit 125
shift 3
case ' %s ' in *" $1 "* | *" ${1##*/} "*) exec %s -k 1 1 "$@" ;; esac
exec "$@"`, strings.Join(commands, " "), realtools.Path(r.t, "timeout")))
}

// all are the probe's groups.
var all = []string{"host", "machine", "system", "loader", "space", "systemd", "tailscale", "k3s", "ports", "secrets", "sshd", "disk", "oci"}

// expect is what the rig's node is.
func (r *rig) expect() Expect {
	e := DefaultExpect()
	e.Hostname, e.MachineID, e.InstanceID = "edge-1", machine, "ocid1.instance.oc1.eu.abc"
	e.BootIDBefore, e.System, e.Generation = bootBefore, store, 42
	e.Units, e.Ports, e.Secrets = []string{"k3s.service", "sshd.service"}, []int{r.port}, []string{"restic/password", "rustdesk-key"}
	e.MinBootFree, e.MinStoreFree = 1, 1
	e.Now, e.MaxSkew = time.Now(), time.Minute
	e.Architecture, e.MinMemory = "aarch64", 5<<30
	e.RootLabel, e.ESPLabel, e.MinESP, e.MinESPFree = "cloudimg-rootfs", "UEFI", 90<<20, 40<<20
	return e
}

// document runs the probe in a shell.
func (r *rig) document(shell string, groups []string, e Expect) []byte {
	r.t.Helper()
	args, err := arguments(groups, e)
	if err != nil {
		r.t.Fatal(err)
	}
	words := append(strings.Fields(shell), "-c", script(), "probe")
	words = append(append(words, args...), r.root)
	cmd := exec.Command(realtools.Path(r.t, words[0]), words[1:]...)
	cmd.Env = []string{"PATH=" + r.bin, "SSH_CONNECTION=127.0.0.1 50000 127.0.0.1 22"}
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%s: %v", shell, err)
	}
	return out
}

func (r *rig) facts(shell string) *Facts {
	r.t.Helper()
	f, err := Parse(r.document(shell, all, r.expect()))
	if err != nil {
		r.t.Fatalf("%s: %v", shell, err)
	}
	return f
}
