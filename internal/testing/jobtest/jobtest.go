// Package jobtest runs an action in the test's own process, in a job of its
// own: with a checkout, a place for what goes with the job, and a home for what
// stays. What a runner does to an action is runnertest's; here it is about what
// the action says.
package jobtest

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

// Token is in the environment of each job, and must be nowhere else.
const Token = "hunter2hunter2"

// Job is a job with one step.
type Job struct {
	// Workspace is the checkout, Temp goes with the job, Home stays.
	Workspace, Temp, Home string
	Inputs                map[string]string
	Env                   []string // besides, or instead of, the usual variables

	t        testing.TB
	metadata []byte
	run      action.Run
}

// New prepares a job with an action: its action.yml and what it runs.
func New(t testing.TB, metadata []byte, run action.Run) *Job {
	t.Helper()
	return &Job{Workspace: t.TempDir(), Temp: t.TempDir(), Home: t.TempDir(), Inputs: map[string]string{}, t: t, metadata: metadata, run: run}
}

// Reach has the job reach hosts of the lab as their operator.
func (j *Job) Reach(l *lab.Lab, hosts ...*lab.Host) {
	var names, keys []string
	for _, h := range hosts {
		names, keys = append(names, h.Name), append(keys, h.Name+" "+h.HostKey)
	}
	maps.Copy(j.Inputs, map[string]string{
		"nodes": strings.Join(names, " "), "host_keys": strings.Join(keys, "\n"), "identity_file": l.Key, "tailnet": "off", "ssh_config": "none",
		"connect_timeout": "5s", "min_store_free_mib": "100", // the store is this machine's disk
	})
}

// Environ is the environment of the step.
func (j *Job) Environ() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + j.Home, "RUNNER_TEMP=" + j.Temp, "GITHUB_WORKSPACE=" + j.Workspace,
		"GITHUB_OUTPUT=" + filepath.Join(j.Temp, "output"), "GITHUB_STEP_SUMMARY=" + filepath.Join(j.Temp, "summary"), "SOME_TOKEN=" + Token,
	}
	env = append(env, j.Env...)
	for name, value := range j.Inputs {
		env = append(env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	return env
}

// Result is what a step leaves behind.
type Result struct {
	Code    int
	Log     string
	Outputs map[string]string
	Report  verdict.Report
	Read    map[string]bool // the inputs that were read

	t testing.TB
}

// Do runs the action.
func (j *Job) Do() *Result {
	j.t.Helper()
	for _, name := range []string{"output", "summary"} {
		if err := os.WriteFile(filepath.Join(j.Temp, name), nil, 0o600); err != nil {
			j.t.Fatal(err)
		}
	}
	var log bytes.Buffer
	a, err := action.New(j.metadata, &log, j.Environ())
	if err != nil {
		j.t.Fatal(err)
	}
	r := &Result{Code: a.Do(j.t.Context(), j.run), Outputs: map[string]string{}, Read: a.Read(), t: j.t}
	r.Log = log.String()
	for name := range a.Meta.Outputs {
		r.Outputs[name] = a.Output(name)
	}
	r.decode(r.Outputs["report"], true, &r.Report)
	if testing.Verbose() {
		j.t.Logf("%s", r.Log)
	}
	if strings.Contains(r.Log, Token) {
		j.t.Error("a token of the runner's is in the log")
	}
	return r
}

// Nodes reads the output "nodes" into a list of structs.
func (r *Result) Nodes(into any) {
	r.t.Helper()
	if r.Outputs["nodes"] != "" {
		r.decode(r.Outputs["nodes"], false, into)
	}
}

func (r *Result) decode(text string, isPath bool, into any) {
	r.t.Helper()
	data, err := []byte(text), error(nil)
	if isPath {
		data, err = os.ReadFile(text)
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		r.t.Fatalf("%v\n%s", err, r.Log)
	}
}

// Not are the checks that are not proven, as "id=verdict", with " (waived)"
// after it, and the subject before it if the report is of several. That nodes
// are reached without a tailnet is left out: those of the lab all are.
func (r *Result) Not() []string {
	several := strings.Contains(r.Report.Subject, ", ")
	var out []string
	for _, c := range r.Report.Checks {
		if c.Verdict == verdict.Proven && c.Waived == "" || c.Waived == "tailnet: off" {
			continue
		}
		text := c.ID + "=" + string(c.Verdict)
		if several {
			text = c.Subject + ": " + text
		}
		if c.Waived != "" {
			text += " (waived)"
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

// Want holds the result against an outcome ("" for none), and against exactly
// the checks that are not proven. It is green if all of those are waived.
func (r *Result) Want(outcome string, checks ...string) {
	r.t.Helper()
	slices.Sort(checks)
	code := 0
	for _, c := range checks {
		if !strings.HasSuffix(c, " (waived)") {
			code = 1
		}
	}
	if diff := cmp.Diff(checks, r.Not()); diff != "" || r.Code != code || r.Outputs["outcome"] != outcome {
		r.t.Errorf("exit code %d, wanted %d; outcome %q, wanted %q; checks that are not proven (-want +got):\n%s\n%s", r.Code, code, r.Outputs["outcome"], outcome, diff, r.Log)
	}
}

// Says proves that the log has these words.
func (r *Result) Says(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.Log, text) {
			r.t.Errorf("the log does not say %q:\n%s", text, r.Log)
		}
	}
}
