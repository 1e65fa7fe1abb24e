package action_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/action"

	"github.com/google/go-cmp/cmp"
)

// runnerJob is a job as far as its secret files are concerned.
type runnerJob struct{ home, temp, workspace, run, attempt, job string }

func (j runnerJob) action(t *testing.T) *action.Action {
	t.Helper()
	a, err := action.New([]byte("name: example"), new(bytes.Buffer), []string{
		"HOME=" + j.home, "RUNNER_TEMP=" + j.temp, "GITHUB_WORKSPACE=" + j.workspace, "GITHUB_REPOSITORY=example/infra", "GITHUB_SERVER_URL=https://forge.example.org",
		"GITHUB_RUN_ID=" + j.run, "GITHUB_RUN_ATTEMPT=" + j.attempt, "GITHUB_JOB=" + j.job,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (j runnerJob) keep(t *testing.T, keepFor time.Duration) string {
	t.Helper()
	s, err := j.action(t).KeepSecretFiles(t.Context(), keepFor)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Write("token", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(); err != nil {
		t.Fatal(err)
	}
	return s.Dir
}

// sweep returns what is swept and what is left, as "removed/left".
func (j runnerJob) sweep(t *testing.T, own bool) [2]int {
	t.Helper()
	removed, left, err := j.action(t).SweepSecretFiles(t.Context(), own)
	if err != nil {
		t.Fatal(err)
	}
	return [2]int{removed, left}
}

func newRunnerJob(t *testing.T) runnerJob {
	return runnerJob{home: t.TempDir(), temp: t.TempDir(), workspace: t.TempDir(), run: "1", attempt: "1", job: "deploy"}
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func registered(t *testing.T, home string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(home, ".local/state/edge-actions/secret-files"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != ".lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestSecretFiles(t *testing.T) {
	j := newRunnerJob(t)
	s, err := j.action(t).KeepSecretFiles(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.Write("token", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "/a", "token"} {
		if _, err := s.Write(name, nil); err == nil {
			t.Errorf("%q is written", name)
		}
	}
	for path, want := range map[string]fs.FileMode{path: 0o600, s.Dir: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if got := j.sweep(t, true); got != [2]int{0, 1} || !isThere(path) {
		t.Errorf("swept %v while it is being written", got)
	}
	if err := s.Close(); err != nil || isThere(s.Dir) || len(registered(t, j.home)) != 0 {
		t.Errorf("left after Close: %v, %v", err, registered(t, j.home))
	}
}

// TestSweepSecretFiles is about what was kept, by a job that may still run.
func TestSweepSecretFiles(t *testing.T) {
	for name, test := range map[string]struct {
		other   func(*runnerJob)
		keepFor time.Duration
		own     bool
		want    [2]int
	}{
		"the same job":                         {func(*runnerJob) {}, time.Hour, false, [2]int{0, 1}},
		"the same job, to be swept":            {func(*runnerJob) {}, time.Hour, true, [2]int{1, 0}},
		"another job elsewhere":                {func(j *runnerJob) { j.run, j.workspace, j.temp = "2", t.TempDir(), t.TempDir() }, time.Hour, true, [2]int{0, 1}},
		"another job with the same temp":       {func(j *runnerJob) { j.run, j.workspace = "2", t.TempDir() }, time.Hour, true, [2]int{0, 1}},
		"another leg of the matrix":            {func(j *runnerJob) { j.workspace = t.TempDir() }, time.Hour, true, [2]int{0, 1}},
		"a later run in this workspace":        {func(j *runnerJob) { j.run = "2" }, time.Hour, false, [2]int{1, 0}},
		"a later attempt in this workspace":    {func(j *runnerJob) { j.attempt, j.temp = "2", t.TempDir() }, time.Hour, false, [2]int{1, 0}},
		"a later job in this workspace":        {func(j *runnerJob) { j.job = "validate" }, time.Hour, false, [2]int{1, 0}},
		"expired, another job elsewhere":       {func(j *runnerJob) { j.run, j.workspace, j.temp = "2", t.TempDir(), t.TempDir() }, -time.Hour, false, [2]int{1, 0}},
		"no workspace at all, another job":     {func(j *runnerJob) { j.workspace, j.run = "", "2" }, time.Hour, true, [2]int{0, 1}},
		"another home, so another register":    {func(j *runnerJob) { j.home, j.run, j.temp = t.TempDir(), "2", t.TempDir() }, time.Hour, true, [2]int{0, 0}},
		"another register, the same temp":      {func(j *runnerJob) { j.home = t.TempDir() }, time.Hour, true, [2]int{1, 0}},
		"no home, so a register in the temp":   {func(j *runnerJob) { j.home = "" }, time.Hour, true, [2]int{1, 0}},
		"expired, the same job, not asked for": {func(*runnerJob) {}, -time.Hour, false, [2]int{1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			j := newRunnerJob(t)
			dir := j.keep(t, test.keepFor)
			next := j
			test.other(&next)
			got := next.sweep(t, test.own)
			if diff := cmp.Diff(test.want, got); diff != "" || isThere(dir) != (got[0] == 0) {
				t.Errorf("removed and left (-want +got), there %v:\n%s", isThere(dir), diff)
			}
		})
	}
}

// TestSweepLeavesWhatIsNotOurs: no marker, name or entry makes another's
// directory ours.
func TestSweepLeavesWhatIsNotOurs(t *testing.T) {
	j := newRunnerJob(t)
	dir := j.keep(t, -time.Hour)
	root, register := filepath.Dir(dir), filepath.Join(j.home, ".local/state/edge-actions/secret-files")
	write := func(path, text string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	marker, err := os.ReadFile(filepath.Join(dir, ".edge-actions.json"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	stay := []string{
		write(filepath.Join(root, "kept-nothing/file"), ""),
		write(filepath.Join(root, "kept-file"), ""),
		write(filepath.Join(root, "kept-copied/.edge-actions.json"), string(marker)),
		write(filepath.Join(root, "kept-copied/.alive"), ""),
		write(filepath.Join(root, "kept-broken/.edge-actions.json"), "{"),
		write(filepath.Join(root, "kept-broken/.alive"), ""),
		write(filepath.Join(elsewhere, "home/file"), ""),
		write(filepath.Join(register, "kept-home"), filepath.Join(elsewhere, "home")),
		write(filepath.Join(elsewhere, "kept-linked/file"), ""),
	}
	// Empty, so nothing but the entry's own name says that it is not ours.
	empty := filepath.Join(elsewhere, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	stay = append(stay, empty, write(filepath.Join(register, "kept-empty"), empty))
	write(filepath.Join(register, ".partial-1"), "")
	write(filepath.Join(register, "kept-gone"), filepath.Join(elsewhere, "kept-gone"))
	// A link in a directory of ours is removed, and not what it leads to.
	if err := os.Symlink(filepath.Join(elsewhere, "kept-linked"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(elsewhere, "kept-linked"), filepath.Join(root, "kept-linked")); err != nil {
		t.Fatal(err)
	}
	if got := j.sweep(t, true); got[0] != 1 || isThere(dir) {
		t.Errorf("%v", got)
	}
	for _, path := range stay {
		if !isThere(path) {
			t.Errorf("%s is gone", path)
		}
	}
	if diff := cmp.Diff([]string{"kept-empty", "kept-home"}, registered(t, j.home)); diff != "" {
		t.Errorf("in the register (-want +got):\n%s", diff)
	}
}

// TestSecretFilesAreWhereTheySay refuses places that others chose.
func TestSecretFilesAreWhereTheySay(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(j *runnerJob) error
		says    string
	}{
		"no RUNNER_TEMP": {func(j *runnerJob) error { j.temp = ""; return nil }, "RUNNER_TEMP"},
		"a relative one": {func(j *runnerJob) error { j.temp = "tmp"; return nil }, "RUNNER_TEMP"},
		"a link in it":   {func(j *runnerJob) error { return os.Symlink(j.workspace, filepath.Join(j.temp, "edge-actions")) }, "is a link to another place"},
		"open to others": {func(j *runnerJob) error {
			dir := filepath.Join(j.temp, "edge-actions")
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			return os.Chmod(dir, 0o777)
		}, "run chmod go-w"},
		"a link for a register": {func(j *runnerJob) error {
			dir := filepath.Join(j.home, ".local/state/edge-actions")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			return os.Symlink(j.workspace, filepath.Join(dir, "secret-files"))
		}, "is a link to another place"},
	} {
		t.Run(name, func(t *testing.T) {
			j := newRunnerJob(t)
			if err := test.prepare(&j); err != nil {
				t.Fatal(err)
			}
			if _, err := j.action(t).KeepSecretFiles(t.Context(), time.Hour); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
			if _, _, err := j.action(t).SweepSecretFiles(t.Context(), true); err == nil {
				t.Error("swept there")
			}
			if entries, _ := os.ReadDir(j.workspace); len(entries) > 0 {
				t.Errorf("%v was written where the link leads", entries)
			}
		})
	}
}

// TestMarkerHasNoSecret: it is what a person finds after a kill.
func TestMarkerHasNoSecret(t *testing.T) {
	j := newRunnerJob(t)
	data, err := os.ReadFile(filepath.Join(j.keep(t, time.Hour), ".edge-actions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Job  map[string]string
		Kept bool
	}
	if err := json.Unmarshal(data, &m); err != nil || !m.Kept || m.Job["run_id"] != "1" || m.Job["workspace"] != j.workspace {
		t.Errorf("%v: %s", err, data)
	}
}
