package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/agent"
	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/restictest"
	"edge-actions/internal/testing/runnertest"
)

// secret is in every file that is backed up, and must be nowhere else.
const secret = "what-the-operator-keeps-to-himself"

func TestMain(m *testing.M) {
	if agent.Called(os.Args) { // this binary, on a host
		os.Exit(agent.Serve(serve))
	}
	os.Exit(restictest.Main(m))
}

// job is a job beside a real restic repository that two hosts share.
type job struct {
	*jobtest.Job
	t               *testing.T
	repo, key, data string
}

func newJob(t *testing.T) *job {
	t.Helper()
	j := without(t)
	j.Inputs["repository_id"] = restictest.New(t, j.repo)
	return j
}

// without is a job without the repository.
func without(t *testing.T) *job {
	t.Helper()
	j := &job{Job: jobtest.New(t, metadata, run), t: t}
	dir := t.TempDir()
	j.repo, j.key, j.data = filepath.Join(dir, "repo"), filepath.Join(j.Home, "password"), filepath.Join(dir, "srv")
	write(t, j.key, restictest.Password+"\n")
	for name, text := range map[string]string{"app.conf": secret, "data/one": strings.Repeat(secret, 1000), "data/two": secret} {
		write(t, filepath.Join(j.data, name), text)
	}
	must(t, os.Symlink("/etc/passwd", filepath.Join(j.data, "link")))
	for name, value := range map[string]string{
		"repository": j.repo, "password_file": j.key, "repository_id": strings.Repeat("a", 64), "host": "forgejo-pi", "paths": j.data, "restic_path": realtools.Path(t, "restic"),
		"scratch_dir": filepath.Join(j.Home, "scratch"), "timeout": "60s", "allow_tmpfs": "true",
	} {
		j.Inputs[name] = value
	}
	return j
}

// restic runs the real one, as a host would.
func (j *job) restic(args ...string) string {
	j.t.Helper()
	cmd := exec.Command(realtools.Path(j.t, "restic"), append([]string{"--repo", j.repo, "--password-file", j.key, "--no-cache", "--quiet"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		j.t.Fatalf("restic %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (j *job) backup(args ...string) {
	j.t.Helper()
	j.restic(append([]string{"backup", "--host", "forgejo-pi", j.data}, args...)...)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clean fails if anything of a rehearsal is left, or was said.
func (j *job) clean(r *jobtest.Result) {
	j.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(j.Inputs["scratch_dir"], "*")); len(left) > 0 {
		j.t.Errorf("left: %v", left)
	}
	report, _ := json.Marshal(r.Report)
	if strings.Contains(r.Log+string(report), secret) {
		j.t.Errorf("the content of a file was said:\n%s", r.Log)
	}
}

func tomorrow() string { return time.Now().Add(24 * time.Hour).Format("2006-01-02 15:04:05") }

// digest is of all that is below a directory: names, modes and contents.
func digest(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %s\n", p, info.Mode())
		if d.Type().IsRegular() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			h.Write(data)
		}
		return nil
	})
	must(t, err)
	return fmt.Sprintf("%x ", h.Sum(nil))
}

// step is the action as a runner starts it.
func (j *job) step(binary string) *runnertest.Step {
	j.t.Helper()
	r := runnertest.New(j.t)
	for _, kv := range j.Environ() {
		if name, value, _ := strings.Cut(kv, "="); !strings.HasPrefix(name, "GITHUB_") && !strings.HasPrefix(name, "RUNNER_") && !strings.HasPrefix(name, "INPUT_") {
			r.Env[name] = value
		}
	}
	r.Workspace = j.Workspace
	s := r.Step([]string{binary}, j.Inputs)
	s.Timeout = time.Minute
	return s
}
