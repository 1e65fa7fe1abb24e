package agent

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The launcher itself is tested where it is (scripts/lib); this one stands for
// it: it says how it was called and what it saw, and then what a test wants.
func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path, err := Program("x", nil)(t.Context(), runtime.GOOS, runtime.GOARCH)
	if err != nil || path != self {
		t.Errorf("%q, %v", path, err)
	}
	dir := t.TempDir()
	launcher, seen := filepath.Join(dir, "action"), filepath.Join(dir, "seen")
	environ := []string{launcherVariable + "=" + launcher, "PATH=" + os.Getenv("PATH"), "RUNNER_TOOL_CACHE=/cache", "GOPROXY=off", "INPUT_PASSWORD=hunter2", "FORGEJO_TOKEN=hunter2"}
	for says, want := range map[string]string{
		"echo /cache/x":                 "",
		"echo building >&2; echo /x":    "",
		"echo x":                        "no path",
		"echo /x; echo /y":              "no path",
		":":                             "no path",
		"echo error: no go >&2; exit 1": "no go",
	} {
		if err := os.WriteFile(launcher, []byte("#!/bin/sh\n{ echo \"$@\"; env; } >'"+seen+"'\n"+says+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		path, err := Program("restic-restore-check", environ)(t.Context(), "linux", "riscv64")
		if want == "" && (err != nil || !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "\n")) {
			t.Errorf("%s: %q, %v", says, path, err)
		} else if want != "" {
			refused(t, err, NoProgram, want, "--for linux/riscv64 restic-restore-check")
		}
		text := read(t, seen)
		if !strings.HasPrefix(text, "--for linux/riscv64 restic-restore-check\n") || !strings.Contains(text, "RUNNER_TOOL_CACHE=/cache\n") || !strings.Contains(text, "GOPROXY=off\n") || strings.Contains(text, "hunter2") {
			t.Errorf("%s", text)
		}
	}
	for _, environ := range [][]string{nil, {launcherVariable + "="}, {launcherVariable + "=scripts/action"}} {
		_, err := Program("x", environ)(t.Context(), "linux", "riscv64")
		refused(t, err, NoProgram, "start the action with scripts/action")
	}
}

func TestCalled(t *testing.T) {
	for args, want := range map[string]bool{"x agent /dir": true, "x agent": true, "x": false, "": false, "x agents": false, "x y agent": false} {
		if got := Called(strings.Fields(args)); got != want {
			t.Errorf("%q: %v", args, got)
		}
	}
}
