package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/realtools"
)

// secretWord is in every secret of the tests.
const secretWord = "correct-horse"

// secretsYAML is what is encrypted.
const secretsYAML = `k3s:
    token: correct-horse-1
    "a/b": correct-horse-2
restic/password: correct-horse-3
"../../escape": correct-horse-4
ssh: |
    -----BEGIN correct-horse-5-----
    correct-horse-6::correct-horse-7%
number: 4711
host_unencrypted: edge-1
nothing: ""
`

// job is a runner's job with a SOPS file in its checkout and a key in its home.
type job struct {
	*jobtest.Job
	t         testing.TB
	key       string // the file with the age identity
	recipient string
}

func newJob(t testing.TB) *job {
	t.Helper()
	j := &job{Job: jobtest.New(t, metadata, run), t: t}
	j.Env = []string{"GITHUB_REPOSITORY=example/runtime", "GITHUB_RUN_ID=1", "GITHUB_RUN_ATTEMPT=1", "GITHUB_JOB=deploy"}
	j.key, j.recipient = j.newKey("key.txt")
	j.encrypt("secrets.yaml", secretsYAML, "age: "+j.recipient)
	j.Inputs["file"], j.Inputs["age_key_file"] = "secrets.yaml", j.key
	j.Inputs["keys"] = "k3s/token\n[\"k3s\"][\"a/b\"]=second\nssh=id_ed25519"
	return j
}

// newKey has age-keygen make a key.
func (j *job) newKey(name string) (path, recipient string) {
	j.t.Helper()
	path = filepath.Join(j.Home, name)
	realtools.Output(j.t, "age-keygen", "-o", path)
	return path, strings.TrimSpace(realtools.Output(j.t, "age-keygen", "-y", path))
}

// encrypt has the real sops make a file in the checkout.
func (j *job) encrypt(name, text string, rule ...string) {
	j.t.Helper()
	dir := j.t.TempDir()
	plain := filepath.Join(dir, name)
	for path, content := range map[string]string{plain: text, filepath.Join(dir, ".sops.yaml"): "creation_rules:\n  - " + strings.Join(rule, "\n    ") + "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			j.t.Fatal(err)
		}
	}
	cmd := exec.Command(realtools.Path(j.t, "sops"), "encrypt", "--output", filepath.Join(j.Workspace, name), plain)
	cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		j.t.Fatalf("sops: %v\n%s", err, out)
	}
}

// edit changes a file of the checkout.
func (j *job) edit(name string, change func(string) string) {
	j.t.Helper()
	path := filepath.Join(j.Workspace, name)
	data, err := os.ReadFile(path)
	if err != nil {
		j.t.Fatal(err)
	}
	text := change(string(data))
	if text == string(data) {
		j.t.Fatal("nothing was changed")
	}
	j.write(name, text)
}

func (j *job) write(name, text string) {
	j.t.Helper()
	if err := os.WriteFile(filepath.Join(j.Workspace, name), []byte(text), 0o600); err != nil {
		j.t.Fatal(err)
	}
}

// paths are the decrypted files.
func paths(t testing.TB, r *jobtest.Result) map[string]string {
	t.Helper()
	var out map[string]string
	if err := json.Unmarshal([]byte(r.Outputs["paths"]), &out); err != nil {
		t.Fatalf("%v\n%s", err, r.Log)
	}
	return out
}

// red proves that the run ended with exactly the checks, said it in one line
// each, and that nothing of a secret is left anywhere.
func (j *job) red(r *jobtest.Result, checks ...string) {
	j.t.Helper()
	r.Want("", checks...)
	for _, name := range []string{"dir", "paths", "path"} {
		if r.Outputs[name] != "" {
			j.t.Errorf("the output %s is %q", name, r.Outputs[name])
		}
	}
	for _, c := range r.Report.Checks {
		if strings.Contains(c.Wanted+c.Got+c.Hint, "\n") {
			j.t.Errorf("more than a line: %+v", c)
		}
	}
	j.clean(r.Log)
}

// clean proves that no secret is in the job's directories or in the log, but
// for the masks in that.
func (j *job) clean(log string) {
	j.t.Helper()
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "::add-mask::") && strings.Contains(line, secretWord) {
			j.t.Errorf("in the log: %q", line)
		}
	}
	for _, path := range j.plaintext() {
		j.t.Errorf("a secret is in %s", path)
	}
}

// plaintext lists the files of the job that have a secret.
func (j *job) plaintext() []string {
	j.t.Helper()
	var found []string
	for _, dir := range []string{j.Temp, j.Workspace, j.Home} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if strings.Contains(string(data), secretWord) {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			j.t.Fatal(err)
		}
	}
	return found
}

func mkfifo(t testing.TB, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}
