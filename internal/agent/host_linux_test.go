package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/testing/realtools"
)

func mount(t *testing.T, options string, flags uintptr) string {
	t.Helper()
	if !root() {
		t.Fatal("this needs a mount, and a mount needs root: run ./scripts/test as root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("agent", dir, "tmpfs", flags, "mode=0700,"+options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// Directories that won't do, and what is left in them: nothing.
func TestDirectoriesThatWontDo(t *testing.T) {
	t.Parallel()
	h := here("sh", nil)
	built := false
	try := func(dir string) error {
		o := options(dir)
		built = false
		o.Program = func(ctx context.Context, goos, goarch string) (string, error) {
			built = true
			return itself(ctx, goos, goarch)
		}
		_, err := Call[result](t.Context(), h, o, order{}, nil)
		return err
	}
	noexec := mount(t, "size=64m", syscall.MS_NOEXEC)
	refused(t, try(noexec), DirUnusable, "noexec", "another file system")
	if built {
		t.Error("a program was made for a host that takes none")
	}
	empty(t, noexec)
	full := mount(t, "size=1m", 0)
	refused(t, try(full), NoSpace, "No space left on device")
	empty(t, full)
	inodes := mount(t, "size=64m,nr_inodes=1", 0)
	refused(t, try(inodes), DirUnusable, "No space left on device")
	empty(t, inodes)
	readOnly := mount(t, "size=1m", 0)
	if err := syscall.Mount("", readOnly, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	refused(t, try(readOnly), DirUnusable, "Read-only")
	refused(t, try(filepath.Join(readOnly, "below")), DirUnusable, "Read-only")

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, try(file), DirUnusable)
	for mode, safe := range map[os.FileMode]bool{0o777: false, 0o770: false, 0o702: false, 0o777 | os.ModeSticky: true, 0o755: true, 0o500: root()} {
		dir := t.TempDir()
		os.Chmod(dir, mode)
		if err := try(dir); safe != (err == nil) {
			t.Errorf("mode %v: %v", mode, err)
		} else if !safe {
			refused(t, err, DirUnusable, "somebody else")
		}
		link := filepath.Join(t.TempDir(), "link")
		os.Symlink(dir, link)
		if err := try(link); safe != (err == nil) {
			t.Errorf("a link to mode %v: %v", mode, err)
		}
		empty(t, dir)
	}
	others := t.TempDir()
	if err := os.Chown(others, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	refused(t, try(others), DirUnusable, "somebody else")
	// A path that a shell could take for more than one word.
	odd := filepath.Join(t.TempDir(), "-a 'b' $(touch pwned) *")
	if err := try(odd); err != nil {
		t.Error(err)
	}
	empty(t, odd)
}

// Each program that the script needs, gone.
func TestToolsThatAreMissing(t *testing.T) {
	t.Parallel()
	path := regexp.MustCompile(`(?m)^PATH=.*$`)
	for _, user := range []string{"", "nobody"} {
		for _, tool := range []string{"timeout", "sha256sum", "head", "dd", "find", "sed", "id", "getent", "setpriv"} {
			bin := t.TempDir()
			for _, name := range []string{"sh", "uname", "timeout", "sha256sum", "head", "dd", "find", "sed", "id", "getent", "setpriv", "env", "readlink", "mkdir", "chmod", "rm", "ls"} {
				if name != tool {
					if err := os.Symlink(realtools.Path(t, name), filepath.Join(bin, name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			dir := t.TempDir()
			o := options(dir)
			o.User = user
			h := here("sh", func(text string) string { return path.ReplaceAllString(text, "PATH="+bin) })
			_, err := Call[result](t.Context(), h, o, order{}, nil)
			if tool == "setpriv" && user == "" {
				if err != nil {
					t.Errorf("nobody needs setpriv: %v", err)
				}
				continue
			}
			refused(t, err, ToolsMissing, `no ["`+tool+`"]`, "install it there")
			empty(t, dir)
		}
	}
	o := options(t.TempDir())
	o.User = "nobody-of-that-name"
	_, err := Call[result](t.Context(), here("sh", nil), o, order{}, nil)
	refused(t, err, UserUnknown, "nobody-of-that-name")
	uname := func(text string) string { return strings.Replace(text, "$(uname -sm)", "$(echo Darwin arm64)", 1) }
	_, err = Call[result](t.Context(), here("sh", uname), options(t.TempDir()), order{}, nil)
	refused(t, err, PlatformUnknown, "Darwin arm64")
}

// What agents that were killed have left goes, and nothing else does.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	boot, _, _ := strings.Cut(read(t, "/proc/sys/kernel/random/boot_id"), "-")
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	space = strings.Trim(strings.TrimPrefix(space, "pid:"), "[]")
	mark := func(pid int) string {
		stat := read(t, fmt.Sprintf("/proc/%d/stat", pid))
		return fmt.Sprintf("%d-%s", pid, strings.Fields(stat[strings.LastIndex(stat, ")"):])[20])
	}
	alive := exec.Command("sleep", "86400")
	if err := alive.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { alive.Process.Kill(); alive.Wait() })
	dead := exec.Command("sleep", "86400")
	dead.Start()
	was := mark(dead.Process.Pid)
	dead.Process.Kill()
	dead.Wait()
	another := "00000000"
	sweeps := map[string]bool{
		".edge-agent-" + boot + "-" + space + "-" + mark(alive.Process.Pid):    false,
		".edge-agent-" + boot + "-" + space + "-" + was:                        true,
		fmt.Sprintf(".edge-agent-%s-%s-%d-1", boot, space, alive.Process.Pid):  true,  // that number is in use again
		".edge-agent-" + another + "-" + space + "-" + mark(alive.Process.Pid): true,  // before the reboot
		".edge-agent-" + boot + "-1-" + was:                                    false, // another namespace
		".edge-agent-" + boot + "-" + space + "-" + was + "-1":                 false,
		".edge-agent-" + another + "-" + space:                                 false,
		".edge-agent-" + boot + "-" + space + "-" + was + " x":                 false,
		".edge-agent-a b-c-d-e":                                                false,
		".edge-agent-":                                                         false,
		"edge-agent-" + another + "-" + space + "-1-1":                         false,
		"b-c-d-e": false,
	}
	for name := range sweeps {
		if err := os.MkdirAll(filepath.Join(dir, name, "in it"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	kept := t.TempDir()
	os.WriteFile(filepath.Join(kept, "precious"), nil, 0o600)
	link, file := ".edge-agent-"+another+"-1-1-1", ".edge-agent-"+another+"-1-1-2"
	os.Symlink(kept, filepath.Join(dir, link))
	os.WriteFile(filepath.Join(dir, file), nil, 0o600)
	sweeps[link], sweeps[file] = false, false
	if root() {
		strangers := ".edge-agent-" + another + "-1-1-3"
		os.Mkdir(filepath.Join(dir, strangers), 0o700)
		os.Chown(filepath.Join(dir, strangers), 65534, 65534)
		sweeps[strangers] = false
	}
	ask(t, here("sh", nil), options(dir), order{Do: "look"})
	for name, sweep := range sweeps {
		if exists(filepath.Join(dir, name)) == sweep {
			t.Errorf("%q: swept %v, want %v", name, !sweep, sweep)
		}
	}
	if !exists(filepath.Join(kept, "precious")) {
		t.Error("a link was followed")
	}
}

// A connection that is gone before the script says its first word.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"dash", "bash"} {
		dir := t.TempDir()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := exec.Command(shell, "-c", script, "sh", dir, "", "60")
		cmd.Stdout = w
		err = cmd.Run()
		w.Close()
		if err == nil || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: %v", shell, err)
		}
		empty(t, dir)
	}
}

// Two at once, in one directory: the second does not take the first for dead.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := options(dir)
	o.Program = func(ctx context.Context, goos, goarch string) (string, error) { // the first has its directory by now
		ask(t, here("sh", nil), options(dir), order{Do: "look"})
		return itself(ctx, goos, goarch)
	}
	ask(t, here("sh", nil), o, order{Do: "look"})
	empty(t, dir)
}
