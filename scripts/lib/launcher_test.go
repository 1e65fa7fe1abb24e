// Package lib_test tests scripts/action and its lock on a small module of
// their own: two actions, one package.
package lib_test

import (
	"debug/elf"
	"debug/macho"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"edge-actions/internal/testing/runnertest"
)

// tree is a copied worktree, without .git, in a path with a blank.
type tree struct {
	t      *testing.T
	root   string
	runner *runnertest.Runner
	// builds counts: each "go build" adds a line.
	builds string
}

func newTree(t *testing.T) *tree {
	t.Helper()
	tr := &tree{t: t, runner: runnertest.New(t)}
	tr.root = filepath.Join(tr.runner.Workspace, "a worktree")
	for to, from := range map[string]string{"scripts/action": "../action", "scripts/lib/lock.sh": "lock.sh", "scripts/lib/release.sh": "release.sh", "scripts/lib/memo.sh": "memo.sh"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		tr.write(to, string(data))
	}
	tr.write("go.mod", "module fixture\n\ngo 1.26\n")
	tr.write("go.sum", "")
	tr.write("internal/word/word.go", "package word\n\nconst Word = \"one\"\n")
	for _, name := range []string{"hello", "other"} {
		tr.write("actions/"+name+"/main.go", fmt.Sprintf(`package main

import (
	"fmt"
	"os"

	"fixture/internal/word"
)

func main() { fmt.Printf("%s %%s %%d %%q\n", word.Word, os.Getpid(), os.Args[1:]) }
`, name))
	}
	// A go on PATH that counts, and hangs when it is told to.
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(tr.runner.Home, "bin")
	tr.builds = filepath.Join(tr.runner.Home, "builds")
	tr.writeAt(filepath.Join(bin, "go"), `#!/bin/sh
if test "$1" = build; then
	echo "CGO_ENABLED=$CGO_ENABLED $*" >>"$HOME/builds"
	if test -n "$GO_HANGS"; then touch "$HOME/hanging"; sleep 60; fi
	if test -n "$GO_FAILS"; then echo "::add-path::/evil"; exit 1; fi
fi
exec "`+real+`" "$@"
`)
	tr.runner.Env["PATH"] = bin + ":" + tr.runner.Env["PATH"]
	return tr
}

func (tr *tree) write(path, text string) { tr.writeAt(filepath.Join(tr.root, path), text) }

func (tr *tree) writeAt(path, text string) {
	tr.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *tree) step(args ...string) *runnertest.Step {
	return tr.runner.Step(append([]string{filepath.Join(tr.root, "scripts", "action")}, args...), nil)
}

// run runs an action that is to work, and returns its log.
func (tr *tree) run(args ...string) string {
	tr.t.Helper()
	res := tr.step(args...).Run()
	if res.ExitCode != 0 {
		tr.t.Fatalf("exit code %d:\n%s", res.ExitCode, res.RawLog)
	}
	return res.RawLog
}

func (tr *tree) built() int {
	data, _ := os.ReadFile(tr.builds)
	return strings.Count(string(data), "\n")
}

// binDir is where the binaries of the one version built so far are.
func (tr *tree) binDir() string {
	tr.t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(tr.runner.ToolCache, "edge-actions", "bin", "*"))
	if len(dirs) != 1 {
		tr.t.Fatalf("versions in the cache: %q, want one", dirs)
	}
	return dirs[0]
}

func (tr *tree) entries(dir string) string {
	tr.t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		tr.t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestFirstUseBuildsAndLaterUsesLookUp(t *testing.T) {
	tr := newTree(t)
	if log := tr.run("hello", "a", "b c"); !strings.Contains(log, "building hello") || !strings.Contains(log, `["a" "b c"]`) {
		t.Errorf("first use:\n%s", log)
	}
	if log := tr.run("hello"); strings.Contains(log, "build") || !strings.HasPrefix(log, "hello one ") {
		t.Errorf("second use:\n%s", log)
	}
	tr.run("other")
	if n := tr.built(); n != 2 {
		t.Errorf("%d builds, want one for each action", n)
	}
	how, _ := os.ReadFile(tr.builds)
	for _, part := range []string{"CGO_ENABLED=0 ", " -trimpath ", " -buildvcs=false ", " -tags=nethttpomithttp2 ", " -ldflags=-s -w "} {
		if !strings.Contains(string(how), part) {
			t.Errorf("built without %s: %s", part, how)
		}
	}
	if got := tr.entries(tr.binDir()); got != "hello other" {
		t.Errorf("in the cache: %s", got)
	}
}

func TestTheBinaryIsTheProcess(t *testing.T) {
	tr := newTree(t)
	tr.run("hello")
	cmd := exec.Command(filepath.Join(tr.root, "scripts", "action"), "hello")
	cmd.Env = []string{"PATH=" + tr.runner.Env["PATH"], "HOME=" + tr.runner.Home, "RUNNER_TOOL_CACHE=" + tr.runner.ToolCache}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("process %d started, the binary says %q: it was not exec'd", cmd.Process.Pid, out)
	}
}

func TestTogetherTheyBuildOnce(t *testing.T) {
	tr := newTree(t)
	var steps []*runnertest.Step
	for range 4 {
		step := tr.step("hello")
		step.Start()
		steps = append(steps, step)
	}
	for _, step := range steps {
		if res := step.Wait(); res.ExitCode != 0 || !strings.Contains(res.RawLog, "hello one") {
			t.Errorf("exit code %d:\n%s", res.ExitCode, res.RawLog)
		}
	}
	if n := tr.built(); n != 1 {
		t.Errorf("%d builds, want one", n)
	}
}

func TestAKilledBuildBlocksNobody(t *testing.T) {
	tr := newTree(t)
	tr.runner.Env["GO_HANGS"] = "yes"
	step := tr.step("hello")
	step.Start()
	if res := step.KillOnFile(filepath.Join(tr.runner.Home, "hanging")); res.ExitCode != -1 {
		t.Fatalf("exit code %d", res.ExitCode)
	}
	if left := tr.entries(tr.binDir()); !strings.Contains(left, ".hello.lock") || !strings.Contains(left, ".partial-") {
		t.Fatalf("left by the kill: %s; this test expects a lock and half a build", left)
	}
	delete(tr.runner.Env, "GO_HANGS")
	if log := tr.run("hello"); !strings.Contains(log, "hello one") {
		t.Errorf("after the kill:\n%s", log)
	}
	if left := tr.entries(tr.binDir()); left != "hello" {
		t.Errorf("not swept: %s", left)
	}
	if n := tr.built(); n != 2 {
		t.Errorf("%d builds, want two", n)
	}
}

// Several find the lock of the dead at the same moment.
func TestAKilledBuildIsTakenOverOnce(t *testing.T) {
	tr := newTree(t)
	tr.runner.Env["GO_HANGS"] = "yes"
	step := tr.step("hello")
	step.Start()
	step.KillOnFile(filepath.Join(tr.runner.Home, "hanging"))
	delete(tr.runner.Env, "GO_HANGS")
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() { tr.exec("hello") })
	}
	wait.Wait()
	if n := tr.built(); n != 2 {
		t.Errorf("%d builds, want the killed one and one more", n)
	}
}

// exec runs an action outside the runner, for use in goroutines.
func (tr *tree) exec(args ...string) {
	cmd := exec.Command(filepath.Join(tr.root, "scripts", "action"), args...)
	for name, value := range tr.runner.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env, "RUNNER_TOOL_CACHE="+tr.runner.ToolCache)
	if out, err := cmd.CombinedOutput(); err != nil {
		tr.t.Errorf("%v:\n%s", err, out)
	}
}

// The binary for a host is another one of the same source: built once, and its
// path is all that stdout has.
func TestForAnotherMachine(t *testing.T) {
	tr := newTree(t)
	tr.run("hello")
	machines := map[string]uint16{"linux/amd64": 62, "linux/arm64": 183} // e_machine of ELF
	for range 2 {
		for platform, machine := range machines {
			out := tr.stdout(tr.root, filepath.Join("scripts", "action"), "--for", platform, "hello")
			path := strings.TrimSuffix(out, "\n")
			if !filepath.IsAbs(path) || strings.Contains(path, "\n") {
				t.Fatalf("%s: stdout is %q", platform, out)
			}
			f, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if uint16(f.Machine) != machine {
				t.Errorf("%s: a binary for %s", platform, f.Machine)
			}
		}
	}
	out := tr.stdout(tr.root, filepath.Join("scripts", "action"), "--for", "darwin/arm64", "other")
	if f, err := macho.Open(strings.TrimSuffix(out, "\n")); err != nil || f.Cpu != macho.CpuArm64 {
		t.Errorf("%q: %v", out, err)
	} else {
		f.Close()
	}
	if n := tr.built(); n != 4 {
		t.Errorf("%d builds, want one for each machine", n)
	}
	if log := tr.run("hello"); !strings.HasPrefix(log, "hello one ") {
		t.Errorf("this machine's own:\n%s", log)
	}
	tr.write("internal/word/word.go", "package word\n\nconst Word = \"two\"\n")
	tr.stdout(tr.root, filepath.Join("scripts", "action"), "--for", "linux/arm64", "hello")
	if n := tr.built(); n != 5 {
		t.Errorf("%d builds: another source is another binary", n)
	}
	for _, platform := range []string{"", "linux", "plan9/amd64", "linux/arm", "linux/arm64/x", "../x", "::add-path::/x", "linux/arm64\nx"} {
		res := tr.step("--for", platform, "hello").Run()
		if res.ExitCode != 1 || !strings.Contains(res.RawLog, "error: there is no binary for") || len(res.Honoured) > 0 {
			t.Errorf("%q: exit code %d, %q", platform, res.ExitCode, res.RawLog)
		}
	}
	for _, args := range [][]string{{"--for"}, {"--for", "linux/arm64"}, {"--for", "linux/arm64", "nope"}, {"--for", "linux/arm64", "../hello"}} {
		if res := tr.step(args...).Run(); res.ExitCode != 1 || !strings.Contains(res.RawLog, "error: there is no action") {
			t.Errorf("%q: exit code %d, %q", args, res.ExitCode, res.RawLog)
		}
	}
}

// A binary is told where its launcher is, wherever that was called from.
func TestTheLauncherTellsItsPlace(t *testing.T) {
	tr := newTree(t)
	tr.write("actions/hello/main.go", "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(os.Getenv(\"EDGE_ACTIONS_LAUNCHER\")) }\n")
	want := filepath.Join(tr.root, "scripts", "action")
	for dir, call := range map[string]string{
		"/":                               want,
		tr.root:                           "scripts/action",
		filepath.Join(tr.root, "scripts"): "./action",
		filepath.Join(tr.root, "actions"): "../scripts/action",
	} {
		got := tr.stdout(dir, call, "hello")
		if !filepath.IsAbs(got) || filepath.Clean(got) != want {
			t.Errorf("%s in %s: %q, want %q", call, dir, got, want)
		}
	}
}

// stdout runs the launcher as call says, in dir.
func (tr *tree) stdout(dir, call string, args ...string) string {
	tr.t.Helper()
	cmd := exec.Command("/usr/bin/env", append([]string{"bash", call}, args...)...)
	cmd.Dir = dir
	for name, value := range tr.runner.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env, "RUNNER_TOOL_CACHE="+tr.runner.ToolCache)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tr.t.Fatalf("%s %q: %v\n%s", call, args, err, stderr.String())
	}
	return string(out)
}

func TestAFailedBuildIsSaidAndLeavesNothing(t *testing.T) {
	tr := newTree(t)
	tr.runner.Env["GO_FAILS"] = "yes"
	res := tr.step("hello").Run()
	if res.ExitCode != 1 || !strings.Contains(res.RawLog, "error: go build ended with exit code 1") || !strings.Contains(res.RawLog, "hint:") {
		t.Errorf("exit code %d:\n%s", res.ExitCode, res.RawLog)
	}
	if len(res.Path) > 0 {
		t.Errorf("the compiler's words changed PATH: %v", res.Path)
	}
	if left := tr.entries(tr.binDir()); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestAnotherSourceIsAnotherBinary(t *testing.T) {
	tr := newTree(t)
	tr.run("hello")
	tr.write("internal/word/word.go", "package word\n\nconst Word = \"two\"\n")
	if log := tr.run("hello"); !strings.Contains(log, "hello two") {
		t.Errorf("after a change:\n%s", log)
	}
	tr.write("internal/word/word_test.go", "package word\n")
	tr.write("internal/word/testdata/x", "x")
	tr.write("internal/testing/double/double.go", "package double\n")
	tr.run("hello")
	if n := tr.built(); n != 2 {
		t.Errorf("%d builds, want two: tests are no part of the binary", n)
	}
	tr.write("actions/hello/action.yml", "name: hello\n") // embedded, as a rule
	tr.run("hello")
	if n := tr.built(); n != 3 {
		t.Errorf("%d builds, want three", n)
	}
	tr.write("internal/word/word.go", "package word\n\nconst Word = \"one\"\n")
	if err := os.Remove(filepath.Join(tr.root, "actions/hello/action.yml")); err != nil {
		t.Fatal(err)
	}
	tr.run("hello")
	if n := tr.built(); n != 3 {
		t.Errorf("%d builds: the first source was built again", n)
	}
}

// A copy of the tree elsewhere is the same source: the Forgejo runner makes
// one for every step.
func TestACopyIsTheSameSource(t *testing.T) {
	tr := newTree(t)
	tr.run("hello")
	copied := filepath.Join(tr.runner.Temp, "copy")
	if err := os.CopyFS(copied, os.DirFS(tr.root)); err != nil {
		t.Fatal(err)
	}
	// What a copied worktree has for a .git.
	if err := os.WriteFile(filepath.Join(copied, ".git"), []byte("gitdir: /nowhere\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tr.root = copied
	tr.run("hello")
	if n := tr.built(); n != 1 {
		t.Errorf("%d builds, want one", n)
	}
	tr.run("other") // builds beside the broken .git
}

func TestTheSourceTreeIsNotWrittenTo(t *testing.T) {
	tr := newTree(t)
	list := func() (out []string) {
		err := filepath.WalkDir(tr.root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			out = append(out, fmt.Sprint(path, info.Size(), info.ModTime(), info.Mode()))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	err := filepath.WalkDir(tr.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, 0o555)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		filepath.WalkDir(tr.root, func(path string, _ fs.DirEntry, _ error) error { return os.Chmod(path, 0o755) })
	})
	before := list()
	tr.run("hello")
	if after := list(); strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("the tree changed:\n%s\n%s", before, after)
	}
}

func TestHalfABinaryIsNone(t *testing.T) {
	tr := newTree(t)
	tr.run("hello")
	dir := tr.binDir()
	if err := os.Remove(filepath.Join(dir, "hello")); err != nil {
		t.Fatal(err)
	}
	tr.writeAt(filepath.Join(dir, ".partial-hello-abc123", "bin", "hello"), "#!/bin/sh\necho half\n")
	if log := tr.run("hello"); !strings.Contains(log, "hello one") || strings.Contains(log, "half") {
		t.Errorf("log:\n%s", log)
	}
	if left := tr.entries(dir); left != "hello" {
		t.Errorf("not swept: %s", left)
	}
}

func TestUnknownNames(t *testing.T) {
	tr := newTree(t)
	tr.run("hello")
	tr.writeAt(filepath.Join(tr.binDir(), "evil"), "#!/bin/sh\necho evil\n")
	tr.write("scripts/main.go", "package main\n")
	for _, name := range []string{"nope", "evil-too", "../scripts", "..", ".", "", "hello/", "Hello", "-x", "a b", "::add-path::/x", "hello\nx"} {
		res := tr.step(name).Run()
		if res.ExitCode != 1 || !strings.Contains(res.RawLog, "error: there is no action") || len(res.Honoured) > 0 {
			t.Errorf("%q: exit code %d, %q", name, res.ExitCode, res.RawLog)
		}
	}
	if res := tr.step().Run(); res.ExitCode != 1 {
		t.Errorf("no name: exit code %d", res.ExitCode)
	}
}

func TestTheEnvironmentDoesNotChangeTheBuild(t *testing.T) {
	tr := newTree(t)
	tr.write("actions/hello/evil.go", "//go:build evil\n\npackage main\n\nfunc init() { panic(\"evil\") }\n")
	for name, value := range map[string]string{
		"GOFLAGS": "-tags=evil", "GOOS": "plan9", "GOARCH": "arm", "GOWORK": "/nowhere/go.work",
		"GOTOOLCHAIN": "go9.99.9", "LC_ALL": "C", "OSTYPE": "../../x", "CDPATH": "/",
	} {
		tr.runner.Env[name] = value
	}
	if log := tr.run("hello"); !strings.Contains(log, "hello one") {
		t.Errorf("log:\n%s", log)
	}
}

func TestWithoutGo(t *testing.T) {
	tr := newTree(t)
	bin := filepath.Join(tr.runner.Temp, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"bash", "sh", "sha256sum", "b2sum", "shasum", "openssl", "readlink", "id", "mkdir", "cat"} {
		if path, err := exec.LookPath(tool); err == nil {
			if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tr.runner.Env["PATH"] = bin
	step := tr.runner.Step([]string{"/usr/bin/env", "bash", filepath.Join(tr.root, "scripts/action"), "hello"}, nil)
	res := step.Run()
	if res.ExitCode != 1 || !strings.Contains(res.RawLog, "no go on PATH") || !strings.Contains(res.RawLog, "hint: install Go") {
		t.Errorf("exit code %d:\n%s", res.ExitCode, res.RawLog)
	}
	if strings.Count(res.RawLog, "\n") != 2 {
		t.Errorf("more than an error and a hint:\n%s", res.RawLog)
	}
}

func TestWithoutAToolCache(t *testing.T) {
	tr := newTree(t)
	step := tr.step("hello")
	step.Env = map[string]string{"RUNNER_TOOL_CACHE": ""}
	if res := step.Run(); res.ExitCode != 0 {
		t.Fatalf("exit code %d:\n%s", res.ExitCode, res.RawLog)
	}
	if dirs, _ := filepath.Glob(filepath.Join(tr.runner.Home, ".cache/edge-actions/bin/*/hello")); len(dirs) != 1 {
		t.Errorf("not below HOME: %q", dirs)
	}
	step = tr.step("hello")
	step.Env = map[string]string{"RUNNER_TOOL_CACHE": "", "HOME": ""}
	if res := step.Run(); res.ExitCode != 1 || !strings.Contains(res.RawLog, "no place for the binary") {
		t.Errorf("without HOME: exit code %d:\n%s", res.ExitCode, res.RawLog)
	}
}

func lock(t *testing.T, script string) (string, error) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "set -euo pipefail; . ./lock.sh; L=$1; "+script, "bash", filepath.Join(t.TempDir(), "lock"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestALivingOwnerIsWaitedFor(t *testing.T) {
	out, err := lock(t, `process_mark "$PPID"; ln -s "$MARK" "$L"; take_lock "$L" 1 "the thing"`)
	if err == nil || !strings.Contains(out, "waiting for it") || !strings.Contains(out, "has held") || !strings.Contains(out, "hint: see what it does") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// A process id that is in use again is not the owner.
func TestAReusedProcessIDIsNotTheOwner(t *testing.T) {
	out, err := lock(t, `ln -s "$PPID:1" "$L"; take_lock "$L" 5 "the thing"; process_mark $$; test "$(readlink "$L")" = "$MARK"; drop_lock "$L"; test ! -L "$L"`)
	if err != nil || strings.Contains(out, "waiting") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestOnlyTheOwnerGivesBack(t *testing.T) {
	if out, err := lock(t, `ln -s 1:2 "$L"; drop_lock "$L"; test -L "$L"`); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestSomethingElseInTheWay(t *testing.T) {
	if out, err := lock(t, `mkdir "$L"; take_lock "$L" 5 "the thing"`); err == nil || !strings.Contains(out, "in the way") {
		t.Errorf("%v:\n%s", err, out)
	}
}
