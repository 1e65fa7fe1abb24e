// Package lab makes test hosts that are real where it counts: a systemd that
// boots, reboots and fails units, an sshd, sudo, a Nix store with generations
// of the system, a boot partition that can be full, a network that can be cut.
// They are containers of systemd-nspawn over one Debian base, each in a network
// namespace of its own. It needs Linux and root.
//
// Doubles on a host: K3s, kubectl, tailscale, lsblk, findmnt and the cloud's
// metadata service (labhost), and switch-to-configuration (nix), because a real
// NixOS system can't be built without nixpkgs. Each says what it leaves out. What is
// before a host's first process (firmware, boot loader, NixOS's initrd, kexec)
// is supervisor.sh.
//
// A bare host is what a cloud hands out. It becomes NixOS by /etc/NIXOS_LUSTRATE
// and a boot loader, or by an installer that kexec starts (package infecttest).
// It has Nix from the start, and its /usr stays Debian's for good.
package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Lab is a set of hosts on one bridge.
type Lab struct {
	Hosts []*Host
	// Key is the private key of the operator, whom every host lets in as user
	// "nixos", or a bare one as "ubuntu".
	Key string

	dir    string // everything of this lab
	number int    // of its subnet
	base   string // the Debian tree that all hosts share
	bin    string // the directory with labhost
}

// root is where labs live. It must allow overlay mounts on it.
const root = "/var/tmp/edge-actions-lab"

// ForPeople is the owner of a lab that outlives the process that made it.
const ForPeople = "people"

// New brings up n hosts for a test, named edge-1 and so on, and takes them
// down at its end.
func New(t testing.TB, n int) *Lab {
	t.Helper()
	return fresh(t, n, Up)
}

// NewBare is New with hosts as a cloud hands them out.
func NewBare(t testing.TB, n int) *Lab {
	t.Helper()
	return fresh(t, n, UpBare)
}

func fresh(t testing.TB, n int, up func(int, string) (*Lab, error)) *Lab {
	t.Helper()
	owner, err := mark(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	l, err := up(n, owner)
	if err != nil {
		t.Fatalf("bringing up the lab: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, h := range l.Hosts {
				t.Logf("%s:\n%s", h.Name, h.tail())
			}
		}
		if err := l.Down(); err != nil {
			t.Errorf("taking the lab down: %v", err)
		}
	})
	return l
}

// Up brings up n hosts for an owner: the mark of a process, or ForPeople. What
// owners that are gone have left is removed first.
func Up(n int, owner string) (*Lab, error) { return up(n, owner, false) }

// UpBare is Up with hosts as a cloud hands them out: a Debian without NixOS
// and without anything of a node, user "ubuntu" with sudo, and for root a key
// that lets in to nothing but words.
func UpBare(n int, owner string) (*Lab, error) { return up(n, owner, true) }

func up(n int, owner string, bare bool) (_ *Lab, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the lab needs root: its hosts are containers with networks of their own")
	}
	if err := Sweep(); err != nil {
		return nil, err
	}
	l := &Lab{}
	if l.base, err = base(); err != nil {
		return nil, fmt.Errorf("making the base: %w", err)
	}
	if l.bin, err = labhost(); err != nil {
		return nil, err
	}
	if err := roomForHosts(); err != nil {
		return nil, err
	}
	if err := l.allocate(owner); err != nil {
		return nil, err
	}
	if err := l.fill(n, bare); err != nil {
		return nil, errors.Join(err, l.Down())
	}
	return l, nil
}

// roomForHosts raises a limit of the machine's: the systemd of each host takes
// some seven of inotify's instances, of which root has 128 unless told otherwise.
func roomForHosts() error {
	const path, wanted = "/proc/sys/fs/inotify/max_user_instances", 4096
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && n >= wanted {
		return nil
	}
	return os.WriteFile(path, []byte(strconv.Itoa(wanted)), 0o644)
}

// allocate takes the first free number; making its directory is what takes it.
func (l *Lab) allocate(owner string) error {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	for l.number = 1; l.number < 250; l.number++ {
		l.dir = filepath.Join(root, strconv.Itoa(l.number))
		err := os.Mkdir(l.dir, 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		l.Key = filepath.Join(l.dir, "operator")
		return os.WriteFile(filepath.Join(l.dir, "owner"), []byte(owner), 0o600)
	}
	return fmt.Errorf("all numbers of labs are taken: look at %s", root)
}

func (l *Lab) fill(n int, bare bool) error {
	if _, err := run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", l.Key); err != nil {
		return err
	}
	bridge := l.bridge()
	for _, args := range [][]string{
		{"link", "add", bridge, "type", "bridge"}, {"addr", "add", l.gateway() + "/24", "dev", bridge},
		{"addr", "add", fmt.Sprintf("198.19.%d.1/24", l.number), "dev", bridge}, {"link", "set", bridge, "up"},
	} {
		if _, err := run("ip", args...); err != nil {
			return err
		}
	}
	var hosts []*Host
	for i := range n {
		hosts = append(hosts, l.host(fmt.Sprintf("edge-%d", i+1), i+1, bare))
	}
	return l.bring(hosts)
}

// bring makes hosts, all at once, and waits until each has booted.
func (l *Lab) bring(hosts []*Host) error {
	l.Hosts = append(l.Hosts, hosts...)
	errs := make([]error, len(hosts))
	var all sync.WaitGroup
	for i, h := range hosts {
		all.Go(func() {
			if errs[i] = h.make(); errs[i] == nil {
				h.start()
				errs[i] = h.settled()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (l *Lab) bridge() string  { return fmt.Sprintf("ea%d", l.number) }
func (l *Lab) gateway() string { return fmt.Sprintf("198.18.%d.1", l.number) }

// Down ends the hosts and removes everything of the lab.
func (l *Lab) Down() error { return remove(l.dir) }

// remove takes down a lab of which only the directory is known: its maker may
// have been killed at any moment.
func remove(dir string) error {
	number := filepath.Base(dir)
	hosts, err := filepath.Glob(filepath.Join(dir, "hosts", "*"))
	if err != nil {
		return err
	}
	for _, h := range hosts {
		kill(h)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			points = append(points, fields[4])
		}
	}
	slices.Reverse(points) // what was mounted last lies on top
	var errs []error
	for _, point := range points {
		_, err := run("umount", "--lazy", point)
		errs = append(errs, err)
	}
	// The ends of the hosts' cables out here: with its network one would go
	// a moment later, when the next lab may have the number already.
	links, err := filepath.Glob("/sys/class/net/ea" + number + "h*")
	errs = append(errs, err)
	for _, link := range links {
		_, err := run("ip", "link", "delete", filepath.Base(link))
		if _, gone := os.Stat(link); gone == nil {
			errs = append(errs, err)
		}
	}
	for _, h := range hosts {
		name := "ea" + number + "-" + filepath.Base(h)
		removeGroups(name)
		if _, err := os.Stat("/run/netns/" + name); err == nil {
			_, err := run("ip", "netns", "delete", name)
			errs = append(errs, err)
		}
	}
	if _, err := os.Stat("/sys/class/net/ea" + number); err == nil {
		_, err := run("ip", "link", "delete", "ea"+number)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// removeGroups removes the control groups of a host that is off.
func removeGroups(name string) {
	trees, _ := filepath.Glob("/sys/fs/cgroup/*/" + name) // the pattern is right
	for _, tree := range append(trees, "/sys/fs/cgroup/"+name) {
		var dirs []string
		filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // what can't be read can't be removed
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs) // the inner ones first
		for _, dir := range dirs {
			os.Remove(dir) // a group that is left costs a name
		}
	}
}

// Sweep removes the labs whose owners are gone.
func Sweep() error {
	dirs, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		owner, err := os.ReadFile(filepath.Join(dir, "owner"))
		if errors.Is(err, fs.ErrNotExist) {
			if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < time.Minute {
				continue // being made or removed at this moment
			}
		} else if err != nil {
			return err
		}
		if string(owner) == ForPeople || alive(string(owner)) {
			continue
		}
		if err := remove(dir); err != nil {
			return fmt.Errorf("removing the lab that a killed run left in %s: %w", dir, err)
		}
	}
	return nil
}

// mark names a process by its id and its start, since ids are used again.
func mark(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" {
		return "", fmt.Errorf("process %d is gone", pid)
	}
	return fmt.Sprintf("%d:%s", pid, fields[19]), nil
}

func alive(m string) bool {
	pid, err := strconv.Atoi(strings.SplitN(m, ":", 2)[0])
	if err != nil {
		return false
	}
	now, err := mark(pid)
	return err == nil && now == m
}

// kill ends the supervisor of the host in dir, and the container, which may
// live on for a moment without it and would hold the network.
func kill(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "supervisor"))
	if err != nil || !alive(string(data)) {
		return
	}
	pid, _ := strconv.Atoi(strings.SplitN(string(data), ":", 2)[0])
	ends := append([]string{string(data)}, descendants(pid)...)
	syscall.Kill(-pid, syscall.SIGKILL) //nolint:errcheck // gone already is as good
	for range 1000 {
		gone := true
		for _, m := range ends {
			if alive(m) {
				gone = false
				pid, _ := strconv.Atoi(strings.SplitN(m, ":", 2)[0])
				syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // gone already is as good
			}
		}
		if gone {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// descendants marks the children of a process and theirs, as far as the
// container's first: with that one all the others of the container end.
func descendants(pid int) []string {
	var out []string
	for _, child := range children(pid) {
		if m, err := mark(child); err == nil {
			out = append(out, m)
			for _, grandchild := range children(child) {
				if m, err := mark(grandchild); err == nil {
					out = append(out, m)
				}
			}
		}
	}
	return out
}

func children(pid int) []int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var out []int
	for _, word := range strings.Fields(string(data)) {
		if n, err := strconv.Atoi(word); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// run runs a program and returns its stdout.
func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, exit.Stderr)
		}
		return "", fmt.Errorf("%s: %w: run scripts/test or scripts/lab, which install what is needed", name, err)
	}
	return string(out), nil
}
