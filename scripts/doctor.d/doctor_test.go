package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"net/http"
	"net/http/httptest"
)

// forge answers with the time and with nothing else.
func forge(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.URL
}

func TestAllIsThere(t *testing.T) {
	m := newMachine(t)
	m.mkdir(".local/state/edge-actions", 0o700)
	m.mkdir("tofu", 0o700)
	m.workflow("tofu-plan-with-state-backup", "mode: drift", "backend_config: path="+m.home+"/tofu/edge.tfstate")
	if code, lines := m.doctor("--server", forge(t)); code != 0 {
		t.Errorf("exit code %d:\n%s", code, strings.Join(lines, "\n"))
	}
	// One thing less, and it is not.
	m.chmod(m.home+"/tofu", 0o755)
	if code, lines := m.doctor("--server", forge(t)); code != 1 {
		t.Errorf("exit code %d:\n%s", code, strings.Join(lines, "\n"))
	}
	// What can't be told is not there either.
	m.chmod(m.home+"/tofu", 0o700)
	if code, lines := m.doctor("--server", "http://127.0.0.1:1"); code != 1 {
		t.Errorf("exit code %d:\n%s", code, strings.Join(lines, "\n"))
	}
}

func TestValues(t *testing.T) {
	m := newMachine(t)
	dir := m.mkdir("state", 0o700)
	for name, test := range map[string]struct {
		value  string
		args   []string
		status string // "": nothing is looked at, and nothing asked
		about  string
	}{
		"literal":              {dir, nil, "ok", "seen_dir ~/state"},
		"a variable":           {"${{ vars.DIR }}", []string{"--var", "DIR=" + dir}, "ok", "seen_dir ~/state"},
		"in other letters":     {"${{ vars.dir }}", []string{"--var", "Dir=" + dir}, "ok", "seen_dir ~/state"},
		"a part":               {"${{ vars.HOME }}/state", []string{"--var", "HOME=" + m.home}, "ok", "seen_dir ~/state"},
		"nobody said":          {"${{ vars.DIR }}", nil, "UNKNOWN", "the value of vars.DIR"},
		"said to be empty":     {"${{ vars.DIR }}", []string{"--var", "DIR="}, "MISSING", "seen_dir ~/.local/state"}, // the default
		"one or the other":     {"${{ vars.NO || vars.DIR }}", []string{"--var", "NO=", "--var", "DIR=" + dir}, "ok", "seen_dir ~/state"},
		"one of which is text": {"${{ vars.NO || '" + dir + "' }}", []string{"--var", "NO="}, "ok", "seen_dir ~/state"},
		"an input's default":   {"${{ inputs.dir }}", nil, "ok", "seen_dir ~/state"},
		"an input":             {"${{ inputs.dir }}", []string{"--var", "DIR=" + m.home + "/new"}, "MISSING", "seen_dir ~/new"},
		"an unknown input":     {"${{ inputs.other }}", nil, "UNKNOWN", "the value of inputs.other"},
		"the environment":      {"${{ env.PLACE }}", nil, "ok", "seen_dir ~/state"},
		"a secret":             {"${{ secrets.DIR }}", nil, "UNKNOWN", "the value of secrets.DIR"},
		"a matrix":             {"${{ matrix.dir }}", nil, "UNKNOWN", "the value of matrix.dir"},
		"a function":           {"${{ format('{0}', vars.DIR) }}", []string{"--var", "DIR=" + dir}, "UNKNOWN", "the value of format"},
		"an earlier step":      {"${{ steps.x.outputs.dir }}", nil, "", "seen_dir"},
		"an earlier job":       {"${{ needs.x.outputs.dir }}", nil, "", "seen_dir"},
	} {
		t.Run(name, func(t *testing.T) {
			m.t = t
			m.write("on:\n  workflow_dispatch:\n    inputs:\n      dir: {default: " + dir + "}\nenv:\n  PLACE: " + dir +
				"\njobs:\n  job:\n    steps:\n      - uses: ./actions/verify-handoff\n        with:\n          seen_dir: \"" + test.value + "\"\n")
			code, lines := m.doctor(append(test.args, "--server", forge(t))...)
			if test.status == "" {
				m.silent(lines, test.about)
				m.silent(lines, "the value of")
				return
			}
			m.says(lines, test.status, test.about)
			if (code == 0) != (test.status == "ok") {
				t.Errorf("exit code %d for %s", code, test.status)
			}
		})
	}
}

func TestVarFile(t *testing.T) {
	m := newMachine(t)
	dir := m.mkdir("state", 0o700)
	m.workflow("verify-handoff", "seen_dir: ${{ vars.DIR }}")
	_, lines := m.doctor("--var-file", m.file("vars", "# mine\n\nDIR="+dir+"\n", 0o644))
	m.says(lines, "ok", "seen_dir")
}

func TestWrongCalls(t *testing.T) {
	for name, test := range map[string]struct {
		workflow string
		args     []string
		says     string
	}{
		"no workflow":        {"", nil, "found none; name some"},
		"none of ours":       {"on: push\njobs:\n  a:\n    steps:\n      - uses: actions/checkout@v4\n      - uses: o/r/actions/hello@v1\n", nil, `["o/r/actions/hello@v1"]`},
		"not a workflow":     {"on: push\n", nil, "wanted a mapping of jobs"},
		"a file that is not": {"", []string{"x.yml"}, "x.yml"},
		"a flag":             {"", []string{"--fast"}, "Usage"},
		"no value":           {"", []string{"--var", "NAME"}, "wanted NAME=VALUE"},
		"no such file":       {"", []string{"--var-file", "nowhere"}, "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			if test.workflow != "" {
				m.write(test.workflow)
			}
			if code, lines := m.doctor(test.args...); code != 2 || !strings.Contains(lines[0], test.says) {
				t.Errorf("exit code %d, %q", code, lines)
			}
		})
	}
	if code := realMain(t.Context(), []string{"--help"}, &strings.Builder{}, &strings.Builder{}); code != 0 {
		t.Errorf("--help ends with %d", code)
	}
}

func TestTheRunnerItself(t *testing.T) {
	m := newMachine(t)
	m.write("on: push\njobs:\n  a:\n    steps:\n      - uses: actions/checkout@v4\n      - uses: ./actions/verify-handoff\n")
	_, lines := m.doctor()
	m.says(lines, "ok", "Go >= 1.26")
	m.says(lines, "ok", "the place for the actions' binaries, ~/.cache by HOME")
	m.says(lines, "ok", "node for actions/checkout")
	m.program("go", "echo go1.22.3")
	_, lines = m.doctor()
	m.says(lines, "WRONG", "Go >= 1.26")
	m.without("tofu")
	os.Remove(filepath.Join(m.bin, "go"))
	_, lines = m.doctor()
	m.says(lines, "MISSING", "Go >= 1.26")
	m.says(lines, "MISSING", "node for actions/checkout")
	_, lines = m.doctor("--released")
	m.says(lines, "ok", "a release of this source")
	m.silent(lines, "Go >=")
	t.Setenv("RUNNER_TOOL_CACHE", m.file("file", "", 0o600))
	t.Setenv("RUNNER_TEMP", "relative")
	_, lines = m.doctor()
	m.says(lines, "WRONG", "by RUNNER_TOOL_CACHE")
	m.says(lines, "WRONG", "RUNNER_TEMP relative")
	t.Setenv("RUNNER_TOOL_CACHE", "")
	t.Setenv("HOME", "")
	_, lines = m.doctor()
	m.says(lines, "MISSING", "a place for the actions' binaries")
}

// TestShow: one line each, whatever others have written into it.
func TestShow(t *testing.T) {
	var out strings.Builder
	code := show(&out, []finding{
		{status: missing, what: "b", found: "none", fix: "get it", by: []string{"w.yml: 1"}},
		{status: ok, what: "a", found: "1\n::add-path::/evil\x1b[2J", by: []string{"w.yml: 1"}},
		{status: missing, what: "b", found: "none", fix: "get it", by: []string{"w.yml: 2"}},
		{status: unknown, what: "c", found: "?", fix: "see", by: []string{"1", "2", "3", "4", "5"}},
	}, "for nobody")
	want := `ok       a: 1 ::add-path::/evil?[2J [w.yml: 1]
UNKNOWN  c: found ?; see [1, 2, 3 and 2 more]
MISSING  b: found none; get it [w.yml: 1, w.yml: 2]
1 of 3 are as they must be, for nobody
`
	if out.String() != want || code != 1 {
		t.Errorf("exit code %d, got:\n%swant:\n%s", code, out.String(), want)
	}
	if code := show(&strings.Builder{}, nil, ""); code != 1 {
		t.Errorf("nothing to look at ends with %d", code)
	}
}

// TestLauncher starts scripts/doctor as a person does.
func TestLauncher(t *testing.T) {
	// Before there is another home: with an empty cache it would take minutes.
	cache, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	m.workflow("verify-handoff", "seen_dir: "+m.mkdir("state", 0o700))
	dirs := strings.Fields(string(cache))
	temp := m.mkdir("tmp", 0o700)
	run := func(path string, args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(m.root, "scripts", "doctor"), args...)
		cmd.Dir = m.dir
		cmd.Env = []string{"PATH=" + path, "HOME=" + m.home, "TMPDIR=" + temp, "GOCACHE=" + dirs[0], "GOMODCACHE=" + dirs[1]}
		cmd.WaitDelay = time.Minute
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	path := os.Getenv("PATH")
	if out, code := run(path, "--server", forge(t)); code != 0 || !strings.Contains(out, "ok       seen_dir "+m.home+"/state") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if out, code := run(path, "--server", "http://127.0.0.1:1"); code != 1 || !strings.Contains(out, "UNKNOWN  the clock") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "edge-actions-doctor.*")); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
	m.program("go", "echo go1.22.3")
	if out, code := run(path); code != 1 || !strings.HasPrefix(out, "WRONG    Go 1.26 or later") || !strings.Contains(out, "found 1.22.3") {
		t.Errorf("with an old Go: exit code %d:\n%s", code, out)
	}
	os.Remove(filepath.Join(m.bin, "go"))
	m.without("bash", "sed", "env", "mktemp", "uname", "rm")
	if out, code := run(m.bin); code != 1 || !strings.HasPrefix(out, "MISSING  Go 1.26 or later") {
		t.Errorf("without Go: exit code %d:\n%s", code, out)
	}
}

// TestLauncherOutOfARelease: a runner without Go takes the program out of a
// signed release of its source, and no other.
func TestLauncherOutOfARelease(t *testing.T) {
	m := newMachine(t)
	root, releases := m.mkdir("source", 0o700), m.mkdir("releases", 0o700)
	libs, err := filepath.Glob(filepath.Join(m.root, "scripts", "lib", "*.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum", "scripts/doctor", "scripts/action"} {
		libs = append(libs, filepath.Join(m.root, name))
	}
	for _, path := range libs {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m.file(filepath.Join(root, strings.TrimPrefix(path, m.root)), string(data), 0o755)
	}
	m.file(filepath.Join(root, "CHANGELOG.md"), "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n", 0o644)
	key := m.sshKey("release", "")
	pub, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	signers := m.file("signers", "release "+string(pub), 0o644)
	os.Remove(filepath.Join(m.bin, "go"))
	sh := func(script string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "bash", "-euc", script).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	dir := filepath.Join(releases, "v1.2.3")
	os.Mkdir(dir, 0o700)
	platform := sh(`uname -s | tr A-Z a-z`) + "_" + sh(`uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/'`)
	sh(`printf '#!/bin/sh\necho "this is it: $*"\nexit 1\n' | gzip >` + dir + `/doctor.d_` + platform + `.gz
cd ` + dir + `
{ echo "# release v1.2.3"; echo "# source sha256:$(` + root + `/scripts/action --key)"; sha256sum *.gz; } >SHA256SUMS
ssh-keygen -Y sign -q -f ` + key + ` -n edge-actions-release SHA256SUMS`)

	m.without("bash", "sed", "env", "mktemp", "uname", "rm", "id", "head", "wc", "find", "gzip", "chmod", "mv", "sha256sum", "cat", "ssh-keygen")
	run := func(env ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "doctor"), "--server", "x y", "w.yml")
		cmd.Env = append(env, "PATH="+m.bin, "HOME="+m.home, "TMPDIR="+m.mkdir("tmp", 0o700))
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	out, code := run("EDGE_ACTIONS_RELEASES="+releases, "EDGE_ACTIONS_RELEASE_SIGNERS="+signers)
	if code != 1 || !strings.Contains(out, "this is it: --root "+root+" --released --server x y w.yml") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if out, code := run(); code != 1 || !strings.HasPrefix(out, "MISSING  Go 1.26 or later") || !strings.Contains(out, "EDGE_ACTIONS_RELEASES") {
		t.Errorf("without a release: exit code %d:\n%s", code, out)
	}
	m.file(filepath.Join(dir, "SHA256SUMS"), "# release v1.2.3\n", 0o600)
	out, code = run("EDGE_ACTIONS_RELEASES="+releases, "EDGE_ACTIONS_RELEASE_SIGNERS="+signers)
	if code != 1 || strings.Contains(out, "this is it") || !strings.Contains(out, "is refused") {
		t.Errorf("with a list that is not signed: exit code %d:\n%s", code, out)
	}
}
