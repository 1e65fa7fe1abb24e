package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/mirror"
	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/testing/jobtest"
)

func TestMain(m *testing.M) { os.Exit(forgetest.Main(m)) }

// job is a job with the action, of a repository with a real push mirror on the
// same forge.
type job struct {
	*jobtest.Job
	t       *testing.T
	forge   *forgetest.Forge
	from    *forgetest.Repo
	to      *forgetest.Repo
	secrets []string
}

func newJob(t *testing.T) *job {
	t.Helper()
	f := forgetest.New(t)
	j := newJobAt(t, f.URL)
	j.to = f.EmptyRepo(t)
	j.mirror(j.to.GitURL())
	j.from.PushMirror(t, j.to.GitURL(), forgetest.User, j.token("write:repository"))
	return j
}

// newJobAt asks the forge at another address, and has no mirror yet.
func newJobAt(t *testing.T, base string) *job {
	t.Helper()
	f := forgetest.New(t)
	j := &job{Job: jobtest.New(t, metadata, run), t: t, forge: f, from: f.Repo(t)}
	maps.Copy(j.Inputs, map[string]string{"forge_url": base, "repository": j.from.Owner + "/" + j.from.Name})
	j.Inputs["token_file"] = j.file("forge-token", j.token("write:repository"))
	return j
}

// mirror has the job look at a mirror over http.
func (j *job) mirror(url string) {
	j.Inputs["mirror"] = url
	j.Inputs["mirror_token_file"] = j.file("mirror-token", j.token("read:repository"))
}

func (j *job) token(scopes ...string) string {
	j.t.Helper()
	token := j.forge.Token(j.t, scopes...)
	j.secrets = append(j.secrets, token)
	return token
}

func (j *job) file(name, text string) string {
	j.t.Helper()
	path := filepath.Join(j.Home, name)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		j.t.Fatal(err)
	}
	return path
}

// do runs the action and proves that no token is in what it leaves behind; a
// mask alone names it.
func (j *job) do() *jobtest.Result {
	j.t.Helper()
	r := j.Do()
	var shown strings.Builder
	for line := range strings.Lines(r.Log) {
		if !strings.HasPrefix(line, "::add-mask::") {
			shown.WriteString(line)
		}
	}
	for _, input := range []string{"token_file", "mirror_token_file"} {
		if j.Inputs[input] == "" {
			continue
		}
		token, err := os.ReadFile(j.Inputs[input])
		if err != nil || !strings.Contains(r.Log, "::add-mask::"+string(token)) {
			j.t.Errorf("the token of %s is not masked, %v", input, err)
		}
	}
	report, err := os.ReadFile(r.Outputs["report"])
	if err != nil {
		j.t.Fatal(err)
	}
	texts := map[string]string{"the log": shown.String(), "the report": string(report)}
	for name, value := range r.Outputs {
		texts["output "+name] = value
	}
	for where, text := range texts {
		for _, secret := range j.secrets {
			if strings.Contains(text, secret) {
				j.t.Errorf("a token is in %s:\n%s", where, text)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(j.Temp, "edge-actions", "secret-*")); len(left) > 0 {
		j.t.Errorf("left behind: %q", left)
	}
	return r
}

// want holds a result against the checks that are not proven, and against the
// refs that are not equal.
func (j *job) want(r *jobtest.Result, counts mirror.Counts, checks ...string) {
	j.t.Helper()
	r.Want("", checks...)
	verdict := "proven"
	for _, c := range checks {
		if strings.HasSuffix(c, "=disproven") {
			verdict = "disproven"
		} else if verdict == "proven" {
			verdict = "unproven"
		}
	}
	if r.Outputs["verdict"] != verdict {
		j.t.Errorf("verdict %q, wanted %q", r.Outputs["verdict"], verdict)
	}
	var got mirror.Counts
	if err := json.Unmarshal([]byte(r.Outputs["refs"]), &got); err != nil || got != counts {
		j.t.Errorf("refs %s, wanted %+v, %v\n%s", r.Outputs["refs"], counts, err, r.Log)
	}
}
