package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/signature"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

const metadata = `
name: example
outputs:
  report: {description: The report.}
  failure_reason: {description: The first check that did not hold.}
  a: {description: One.}
  b: {description: Two.}
`

// runner is one with a ledger.
type runner struct {
	t                          *testing.T
	home, temp, workspace, dir string
	key                        string
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	r := &runner{t: t, home: t.TempDir(), temp: t.TempDir(), workspace: t.TempDir()}
	r.dir, r.key = filepath.Join(r.home, "ledger"), keyFile(t, filepath.Join(r.home, "key"))
	return r
}

func proven(_ context.Context, a *action.Action) error {
	a.Report.Prove("port", "an open port", "22")
	return nil
}

// do runs an action; its ledger is where env says.
func (r *runner) do(ctx context.Context, run action.Run, env ...string) (a *action.Action, code int, log string) {
	r.t.Helper()
	var out bytes.Buffer
	all := []string{
		"HOME=" + r.home, "RUNNER_TEMP=" + r.temp, "GITHUB_WORKSPACE=" + r.workspace, "GITHUB_OUTPUT=" + filepath.Join(r.temp, "output"),
		"GITHUB_REPOSITORY=example/runtime", "GITHUB_WORKFLOW=validate", "GITHUB_JOB=node", "GITHUB_RUN_ID=4711", "GITHUB_RUN_NUMBER=42", "GITHUB_SHA=" + strings.Repeat("ab", 20), "RUNNER_NAME=mini",
	}
	a, err := action.New([]byte(metadata), &out, append(all, env...))
	if err != nil {
		r.t.Fatal(err)
	}
	a.Record = Record
	return a, a.Do(ctx, run), out.String()
}

func (r *runner) set() []string { return []string{DirVar + "=" + r.dir, KeyVar + "=" + r.key} }

// entries are those of the ledger, which is whole.
func (r *runner) entries() []Entry {
	r.t.Helper()
	public, err := os.ReadFile(r.key + ".pub")
	if err != nil {
		r.t.Fatal(err)
	}
	signers, err := signature.ParseSigners("runner "+string(public), Namespace)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []Entry
	if _, err := Check(context.Background(), r.dir, signers, Options{Each: func(e *Entry) error { out = append(out, *e); return nil }}); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// Green or red, cancelled or defect: each run leaves one entry, with the verdict
// of its step.
func TestEachRunLeavesAnEntry(t *testing.T) {
	r := newRunner(t)
	ctx, cancel := context.WithCancel(t.Context())
	for _, tt := range []struct {
		ctx    context.Context
		run    action.Run
		want   verdict.Verdict
		reason string
	}{
		{t.Context(), proven, verdict.Proven, ""},
		{t.Context(), func(context.Context, *action.Action) error {
			return verdict.Refuse("port", "open", "closed", "open it")
		}, verdict.Disproven, "port"},
		{t.Context(), func(context.Context, *action.Action) error { panic("x") }, verdict.Unproven, "panic"},
		{ctx, func(ctx context.Context, a *action.Action) error { cancel(); return ctx.Err() }, verdict.Unproven, "run"},
	} {
		a, code, log := r.do(tt.ctx, tt.run, r.set()...)
		entries := r.entries()
		e := entries[len(entries)-1]
		if e.Report.Verdict != tt.want || e.Outputs["failure_reason"] != tt.reason || (code == 0) != (tt.want == verdict.Proven) || !strings.Contains(log, "Evidence: entry ") {
			t.Errorf("%s: entry %+v, exit code %d, log:\n%s", tt.reason, e, code, log)
		}
		want := Entry{Schema: Schema, Seq: int64(len(entries)), Previous: e.Previous, Time: e.Time, Repository: "example/runtime", Workflow: "validate", Job: "node", RunID: "4711", RunNumber: "42",
			Commit: strings.Repeat("ab", 20), Runner: "mini", Report: *a.Report, Outputs: a.Outputs()}
		if diff := cmp.Diff(want, e); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if data, err := os.ReadFile(a.Output("report")); err != nil || !strings.Contains(string(data), `"verdict": "`+string(tt.want)+`"`) {
			t.Errorf("the report on disk: %s, %v", data, err)
		}
	}
	if n := len(r.entries()); n != 4 {
		t.Errorf("%d entries", n)
	}
}

func TestWithoutALedger(t *testing.T) {
	r := newRunner(t)
	if _, code, log := r.do(t.Context(), proven); code != 0 || strings.Contains(strings.ToLower(log), "evidence") || strings.Contains(log, "ledger") {
		t.Errorf("exit code %d, log:\n%s", code, log)
	}
	if _, err := os.Stat(r.dir); err == nil {
		t.Error("there is one")
	}
}

// What is wrong with the settings turns a green step red, and says what to do.
func TestSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		env  func(r *runner) []string
		want string
		do   string
	}{
		"no key":                  {func(r *runner) []string { return []string{DirVar + "=" + r.dir} }, KeyVar, "set both"},
		"no directory":            {func(r *runner) []string { return []string{KeyVar + "=" + r.key} }, DirVar, "set both"},
		"a relative directory":    {func(r *runner) []string { return append(r.set(), DirVar+"=ledger") }, "is not absolute", "put it elsewhere"},
		"in the workspace":        {func(r *runner) []string { return append(r.set(), DirVar+"="+r.workspace+"/ledger") }, "which the runner deletes", "put it elsewhere"},
		"in RUNNER_TEMP":          {func(r *runner) []string { return append(r.set(), DirVar+"="+r.temp+"/ledger") }, "which the runner deletes", "put it elsewhere"},
		"no parent":               {func(r *runner) []string { return append(r.set(), DirVar+"="+r.home+"/a/b") }, "no such file", "look at the directory"},
		"a key in the workspace":  {func(r *runner) []string { return append(r.set(), KeyVar+"="+r.workspace+"/key") }, "which the runner deletes", "put it elsewhere"},
		"a key that is not there": {func(r *runner) []string { return append(r.set(), KeyVar+"="+r.home+"/nowhere") }, "only the runner's user", "correct the file"},
		"a public key":            {func(r *runner) []string { r.mode(r.key+".pub", 0o600); return append(r.set(), KeyVar+"="+r.key+".pub") }, "a file that is none", "not of the .pub file"},
		"an open key":             {func(r *runner) []string { r.mode(r.key, 0o644); return r.set() }, "chmod 600", "correct the file"},
		"signers not there":       {func(r *runner) []string { return append(r.set(), SignersVar+"="+r.home+"/nowhere") }, "allowed_signers", "correct the file"},
		"signers that are none":   {func(r *runner) []string { return append(r.set(), SignersVar+"="+r.key+".pub") }, "", ""},
		"an edited ledger": {func(r *runner) []string {
			r.do(t.Context(), proven, r.set()...)
			if err := os.Truncate(filepath.Join(r.dir, EntriesFile), 10); err != nil {
				t.Fatal(err)
			}
			return r.set()
		}, "its head says", "compare it with a copy"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t)
			a, code, log := r.do(t.Context(), proven, tt.env(r)...)
			if tt.want == "" { // a .pub file is one line of the form
				if code != 0 {
					t.Errorf("exit code %d, log:\n%s", code, log)
				}
				return
			}
			if code != 1 || a.Output("failure_reason") != "evidence" || a.Report.Verdict != verdict.Unproven {
				t.Errorf("exit code %d, failure_reason %q, verdict %s", code, a.Output("failure_reason"), a.Report.Verdict)
			}
			c := a.Report.Checks[len(a.Report.Checks)-1]
			if c.ID != "evidence" || c.Verdict != verdict.Unproven || !strings.Contains(c.Wanted+c.Got, tt.want) || !strings.Contains(c.Hint, tt.do) {
				t.Errorf("check %+v", c)
			}
			if strings.Contains(log, "PRIVATE KEY") {
				t.Errorf("the key is in the log:\n%s", log)
			}
		})
	}
}

func (r *runner) mode(path string, mode os.FileMode) {
	r.t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		r.t.Fatal(err)
	}
}

// The home of the runner's user may be named as the inputs may.
func TestHome(t *testing.T) {
	r := newRunner(t)
	if _, code, log := r.do(t.Context(), proven, DirVar+"=~/ledger", KeyVar+"=~/key"); code != 0 || len(r.entries()) != 1 {
		t.Errorf("exit code %d, log:\n%s", code, log)
	}
}

// What was masked in the log is masked in the ledger, wherever a run says it.
func TestNoSecretGetsIn(t *testing.T) {
	const secret = "hunter2-hunter2"
	r := newRunner(t)
	r.do(t.Context(), func(_ context.Context, a *action.Action) error {
		a.Mask(secret)
		a.Mask("two\nsecond-line")
		a.Report.Subject = "node " + secret
		a.Report.Add(verdict.Check{ID: "x", Subject: secret, Verdict: verdict.Disproven, Wanted: "w " + secret, Got: "g " + secret + " second-line", Hint: "h " + secret, Waived: secret})
		a.SetOutput("a", "value "+secret)
		a.SetOutput("b", strings.Repeat(secret+"\n", 3000))
		return nil
	}, append(r.set(), "GITHUB_WORKFLOW=flow "+secret)...)
	data, err := os.ReadFile(filepath.Join(r.dir, EntriesFile))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(secret)) || bytes.Contains(data, []byte("second-line")) {
		t.Errorf("the ledger has a secret: %s", data)
	}
	e := r.entries()[0]
	if e.Report.Subject != "node ***" || e.Outputs["a"] != "value ***" || e.Workflow != "flow ***" {
		t.Errorf("%+v", e)
	}
}

func TestLongAndStrangeWords(t *testing.T) {
	r := newRunner(t)
	long := strings.Repeat("0123456789abcde\n", 2<<10)
	a, _, _ := r.do(t.Context(), func(_ context.Context, a *action.Action) error {
		a.SetOutput("a", long[:maxOutput])
		a.SetOutput("b", long)
		return nil
	}, append(r.set(), "GITHUB_WORKFLOW=a\x1b[2Jb\xff\u202ec", "GITHUB_JOB="+strings.Repeat("ä", 4000))...)
	e := r.entries()[0]
	want := map[string]string{"a": long[:maxOutput], "report": a.Output("report"), "failure_reason": "empty"}
	if diff := cmp.Diff(want, e.Outputs); diff != "" {
		t.Errorf("-want +got:\n%.500s", diff)
	}
	if diff := cmp.Diff(map[string]string{"b": digest([]byte(long))}, e.Omitted); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if e.Workflow != "a\ufffd[2Jb\ufffd\ufffdc" || e.Job != strings.Repeat("ä", maxWord/2)+"…" {
		t.Errorf("workflow %q, job %q", e.Workflow, e.Job)
	}
}

// An entry that no check would read is not written.
func TestAnEntryThatIsTooLong(t *testing.T) {
	r := newRunner(t)
	a, code, _ := r.do(t.Context(), func(_ context.Context, a *action.Action) error {
		a.Report.Prove("x", "", strings.Repeat("x", maxLine))
		return nil
	}, r.set()...)
	if code != 1 || a.Output("failure_reason") != "evidence" {
		t.Errorf("exit code %d, %q", code, a.Output("failure_reason"))
	}
	r.do(t.Context(), proven, r.set()...)
	if n := len(r.entries()); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// After a change of the key the file with the one before is wanted, once.
func TestTheKeyIsChanged(t *testing.T) {
	r := newRunner(t)
	r.do(t.Context(), proven, r.set()...)
	old := r.key
	r.key = keyFile(t, filepath.Join(r.home, "key-2"))
	a, code, _ := r.do(t.Context(), proven, r.set()...)
	if code != 1 || a.Output("failure_reason") != "evidence" {
		t.Errorf("after somebody else's head: exit code %d", code)
	}
	signers := filepath.Join(r.home, "allowed_signers")
	var text string
	for _, key := range []string{old, r.key} {
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		text += "runner " + string(public)
	}
	if err := os.WriteFile(signers, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, code, log := r.do(t.Context(), proven, append(r.set(), SignersVar+"="+signers)...); code != 0 {
		t.Errorf("exit code %d, log:\n%s", code, log)
	}
	if _, code, log := r.do(t.Context(), proven, r.set()...); code != 0 {
		t.Errorf("exit code %d, log:\n%s", code, log)
	}
}

// The form that other programs read.
func TestForm(t *testing.T) {
	r := newRunner(t)
	r.do(t.Context(), proven, r.set()...)
	data, err := os.ReadFile(filepath.Join(r.dir, EntriesFile))
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		Entry     map[string]any `json:"entry"`
		Signature []byte         `json:"signature"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&line); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"schema", "seq", "previous", "time", "repository", "workflow", "job", "run_id", "run_number", "commit", "runner", "report", "outputs"} {
		if _, ok := line.Entry[name]; !ok {
			t.Errorf("no %s in %v", name, line.Entry)
		}
	}
	if !bytes.HasPrefix(line.Signature, []byte("SSHSIG")) {
		t.Errorf("signature %q", line.Signature)
	}
}
