package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/realtools"
)

// machine is a home and a checkout, and a PATH of which tests take programs
// away or put older ones in front. The programs behind it are the real ones.
type machine struct {
	t         *testing.T
	home, dir string
	bin       string // in front of PATH
	root      string // of this source
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, home: t.TempDir(), dir: t.TempDir(), bin: t.TempDir(), root: root}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "GITHUB_") || strings.HasPrefix(name, "RUNNER_") || strings.HasPrefix(name, "EDGE_ACTIONS_") || strings.HasPrefix(name, "TF_") || strings.HasPrefix(name, "RCLONE_") || strings.HasPrefix(name, "XDG_") {
			t.Setenv(name, "") // t.Setenv puts it back
			os.Unsetenv(name)
		}
	}
	t.Setenv("HOME", m.home)
	t.Setenv("PATH", m.bin+":"+os.Getenv("PATH"))
	t.Chdir(m.dir)
	return m
}

// without leaves only these of the real programs on PATH.
func (m *machine) without(programs ...string) {
	m.t.Helper()
	for _, name := range programs {
		if err := os.Symlink(realtools.Path(m.t, name), filepath.Join(m.bin, name)); err != nil {
			m.t.Fatal(err)
		}
	}
	m.t.Setenv("PATH", m.bin)
}

// program puts a shell script in front of the real program of that name.
func (m *machine) program(name, script string) string {
	return m.file(filepath.Join(m.bin, name), "#!/bin/sh\n"+script, 0o755)
}

func (m *machine) file(path, text string, mode os.FileMode) string {
	m.t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(m.home, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		m.t.Fatal(err)
	}
	return path
}

func (m *machine) mkdir(path string, mode os.FileMode) string {
	m.t.Helper()
	path = filepath.Join(m.home, path)
	if err := os.MkdirAll(path, 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// sshKey makes a key with ssh-keygen.
func (m *machine) sshKey(name, passphrase string) string {
	path := filepath.Join(m.home, name)
	realtools.Output(m.t, "ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path)
	return path
}

// ageKey makes a key with age-keygen.
func (m *machine) ageKey(name string) string {
	path := filepath.Join(m.home, name)
	realtools.Output(m.t, "age-keygen", "-o", path)
	return path
}

// workflow writes a workflow with one step that uses an action.
func (m *machine) workflow(action string, with ...string) {
	m.t.Helper()
	text := "on: push\njobs:\n  job:\n    steps:\n      - id: step\n        uses: ./actions/" + action + "\n"
	if len(with) > 0 {
		text += "        with:\n          " + strings.Join(with, "\n          ") + "\n"
	}
	m.write(text)
}

func (m *machine) write(text string) {
	m.file(filepath.Join(m.dir, ".forgejo", "workflows", "w.yml"), text, 0o644)
}

// doctor looks, and returns the exit code and the lines.
func (m *machine) doctor(args ...string) (int, []string) {
	m.t.Helper()
	var stdout, stderr strings.Builder
	code := realMain(m.t.Context(), append([]string{"--root", m.root}, args...), &stdout, &stderr)
	if code == 2 {
		return code, []string{stderr.String()}
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	return code, lines[:len(lines)-1] // without the sum
}

// says finds the one line about something, which begins with that status.
func (m *machine) says(lines []string, status, about string) string {
	m.t.Helper()
	var found []string
	for _, line := range lines {
		if strings.Contains(strings.NewReplacer(m.home, "~", m.dir, ".", m.bin, "BIN").Replace(line), about) {
			found = append(found, line)
		}
	}
	if len(found) != 1 || !strings.HasPrefix(found[0], status+" ") {
		m.t.Errorf("wanted one line about %q that begins with %s, found %q in\n%s", about, status, found, strings.Join(lines, "\n"))
		return ""
	}
	return found[0]
}

func (m *machine) silent(lines []string, about string) {
	m.t.Helper()
	for _, line := range lines {
		if strings.Contains(strings.NewReplacer(m.home, "~", m.dir, ".", m.bin, "BIN").Replace(line), about) {
			m.t.Errorf("wanted nothing about %q, found %q", about, line)
		}
	}
}

// mends does what a line says: the command that it ends in.
func (m *machine) mends(line, command string) {
	m.t.Helper()
	if !strings.Contains(line, "; "+command) && !strings.Contains(line, ": "+command) {
		m.t.Errorf("wanted a line that says %q, found %q", command, line)
		return
	}
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		m.t.Errorf("%s: %v\n%s", command, err, out)
	}
}
