package assert

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

// tetherChild is set where this binary is the process that is killed.
const tetherChild = "ASSERT_TEST_TETHERS"

// What is tethered ends with us, even where nothing of ours can run any more.
func TestTetherEndsWithUs(t *testing.T) {
	if script := os.Getenv(tetherChild); script != "" {
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Stdout = os.Stdout
		if _, err := tether(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name, script := range map[string]string{
		"a program":             `echo $$; exec sleep 600`,
		"a child of it":         `sleep 600 & echo $!; wait`,
		"one that hears no one": `trap '' TERM HUP INT; sleep 600 & echo $!; wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			us := exec.Command(os.Args[0], "-test.run=^TestTetherEndsWithUs$")
			us.Env = append(os.Environ(), tetherChild+"="+script)
			out, err := us.StdoutPipe()
			if err == nil {
				err = us.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			pid, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || !running(pid) {
				t.Fatalf("%q: %v", pid, err)
			}
			us.Process.Kill()
			us.Wait()
			if !gone(pid) {
				t.Errorf("%s outlived us", strings.TrimSpace(pid))
			}
		})
	}
}

// A tethered program has the exit code, the stdin and the descriptors that it
// would have without.
func TestTetherIsNotSeen(t *testing.T) {
	for script, want := range map[string]int{
		`exit 7`: 7, `test ! -e /proc/self/fd/3`: 0, `test -z "$(cat)"`: 0, `test "$1 $2" = "a b c"`: 0,
	} {
		cmd := exec.Command("/bin/sh", "-c", script, "sh", "a b", "c")
		end, err := tether(cmd)
		if err != nil {
			t.Fatal(err)
		}
		_ = cmd.Run() // its code says it
		end()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: %d, want %d", script, got, want)
		}
	}
}

// gone waits until a process is: the kernel ends it when it gets to it.
func gone(pid string) bool {
	for range 200 {
		if !running(pid) {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// running reports whether a process is there and not a zombie.
func running(pid string) bool {
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// A device is not opened to see that it is none of a file: this one has no
// driver, and would say so.
func TestDeviceIsNotOpened(t *testing.T) {
	r := newRestored(t)
	if err := syscall.Mknod(r.at("/dev/watchdog"), syscall.S_IFCHR|0o600, 240<<8|99); err != nil {
		t.Fatalf("making a device (needs root): %v", err)
	}
	expect(t, r.assert(Assertion{File: &File{Path: "/dev/watchdog"}}), map[string]verdict.Verdict{FilePresent: disproven}, "not a regular file")
}

// The sockets are in the scratch, however deep that lies, and nowhere else.
func TestEtcdInADeepScratch(t *testing.T) {
	whole, _ := snapshot(t, map[string][]byte{bootstrapKey(marker): sealed(t, marker, "{}")})
	t.Setenv("TMPDIR", "/nonexistent")
	r := cluster(t)
	r.write("/snap", string(whole))
	r.work = filepath.Join(r.work, strings.Repeat("d", 120))
	if err := os.Mkdir(r.work, 0o700); err != nil {
		t.Fatal(err)
	}
	r.tools.TempDir = r.work
	expect(t, r.assert(Assertion{K3s: &K3s{Token: k3sTokenPath, ServerCA: k3sCAPath, EtcdSnapshot: "/snap"}}),
		map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: proven, K3sSnapshotKeys: proven, K3sBootstrap: proven})
}
