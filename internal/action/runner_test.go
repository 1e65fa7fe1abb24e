package action_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/testing/runnertest"
	"edge-actions/internal/verdict"
)

const metadata = `
name: example
inputs:
  text: {description: "Some text. More about it.", default: " fallback "}
  needed: {description: "A needed thing.", required: true}
  flag: {description: A flag., default: "true"}
  size: {description: A size., default: "3"}
  wait: {description: A wait., default: 5m}
  color: {description: A color., default: red}
  colors: {description: Some colors., default: "red, blue"}
  list: {description: A list.}
  version: {description: A constraint., default: ">= 1.0, < 2"}
  slug: {description: A slug.}
  digest: {description: A digest.}
  dir: {description: A directory.}
  keep: {description: A lasting path.}
  key: {description: A secret file.}
outputs:
  report: {description: The report.}
  failure_reason: {description: The first check that did not hold.}
  a: {description: One.}
  b: {description: Two.}
`

// scenarios are runs of an action in a process of its own: this test binary
// started again, by name.
var scenarios = map[string]action.Run{
	"proven": func(_ context.Context, a *action.Action) error {
		a.Report.Subject = "a node"
		a.Report.Prove("port", "an open port", "22")
		a.SetOutput("a", "one")
		a.SetOutput("b", "two\nlines")
		a.Summarize("more\n")
		a.Logf("hello %s", "world")
		return nil
	},
	"nothing": func(context.Context, *action.Action) error { return nil },
	"refused": func(_ context.Context, a *action.Action) error {
		a.SetOutput("a", "one")
		return verdict.Refuse("port", "an open port", "a closed one", "open it")
	},
	"output refused": func(_ context.Context, a *action.Action) error {
		a.Report.Prove("port", "an open port", "22")
		a.SetOutput("a", "one\r\n")
		a.SetOutput("b", "two")
		return nil
	},
	"panic": func(_ context.Context, a *action.Action) error {
		a.SetOutput("a", "one")
		panic("::add-path::/evil\n::set-output name=b::evil")
	},
	"hostile": func(_ context.Context, a *action.Action) error {
		for _, w := range []func(string){
			func(s string) { f := a.Fence("host"); fmt.Fprint(f, s); f.Close() },
			func(s string) { a.Logf("%s", s) },
			func(s string) { a.Report.Prove("x", s, s) },
		} {
			w("::add-path::/evil\n  ::set-env name=PATH::/evil\nx ##[add-path]/evil\n##[set-output name=verdict;]proven\n::stop-commands::t\n::t::\n")
		}
		return errors.New("::add-path::/evil\n::set-output name=verdict::proven")
	},
	"unfenced": func(_ context.Context, a *action.Action) error {
		fmt.Println("::add-path::/evil")
		return nil
	},
	"fence left open": func(_ context.Context, a *action.Action) error {
		f := a.Fence("host")
		fmt.Fprintln(f, "text")
		if a.Getenv("WAIT") != "" {
			time.Sleep(time.Minute)
		}
		return nil
	},
	"mask": func(_ context.Context, a *action.Action) error {
		secret := a.Getenv("SECRET")
		a.Mask(secret)
		f := a.Fence("host")
		fmt.Fprintln(f, secret)
		f.Close()
		fmt.Println(secret)
		a.Logf("it said %q", secret)
		return nil
	},
	"mask behind a fence": func(_ context.Context, a *action.Action) error {
		f, g := a.Fence("one"), a.Fence("two")
		a.Mask("hunter22")
		fmt.Fprintln(f, "hunter22")
		f.Close()
		fmt.Fprintln(g, "::add-path::/evil")
		fmt.Println("::add-path::/evil") // a child that got our terminal
		g.Close()
		return nil
	},
	"cancel": func(ctx context.Context, a *action.Action) error {
		a.SetOutput("a", "before")
		a.Logf("ready")
		<-ctx.Done()
		return fmt.Errorf("waiting: %w", ctx.Err())
	},
	"leave secrets": leaveSecrets,
	"big summary": func(_ context.Context, a *action.Action) error {
		a.Summarize(strings.Repeat("0123456789 line\n", 100_000))
		return nil
	},
}

func TestMain(m *testing.M) {
	if run := scenarios[os.Getenv("ACTION_TEST_SCENARIO")]; run != nil {
		os.Exit(action.Main([]byte(metadata), run, nil))
	}
	os.Exit(m.Run())
}

func scenario(r *runnertest.Runner, name string) *runnertest.Step {
	step := r.Step([]string{os.Args[0]}, nil)
	step.Env["ACTION_TEST_SCENARIO"] = name
	return step
}

func report(t *testing.T, res *runnertest.Result) verdict.Report {
	t.Helper()
	data, err := os.ReadFile(res.Outputs["report"])
	if err != nil {
		t.Fatalf("no report: %v; the log:\n%s", err, res.RawLog)
	}
	var out verdict.Report
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAProvenRun(t *testing.T) {
	r := runnertest.New(t)
	res := scenario(r, "proven").Run()
	if !res.Green() || res.Outputs["a"] != "one" || res.Outputs["b"] != "two\nlines" || res.Outputs["failure_reason"] != "" {
		t.Errorf("exit code %d, outputs %q", res.ExitCode, res.Outputs)
	}
	if rep := report(t, res); rep.Verdict != verdict.Proven || rep.Action != "example" || rep.Schema != verdict.Schema || len(rep.Checks) != 1 {
		t.Errorf("report %+v", rep)
	}
	if info, err := os.Stat(res.Outputs["report"]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the report's mode: %v, %v", info.Mode(), err)
	}
	if !strings.HasPrefix(res.Outputs["report"], r.Temp+"/") {
		t.Errorf("the report is in %s, which no runner deletes", res.Outputs["report"])
	}
	if !strings.Contains(res.Log, "hello world\n") || !strings.Contains(res.Log, "| example: PROVEN (a node)") {
		t.Errorf("log:\n%s", res.Log)
	}
	if !strings.Contains(res.Summary, "### example: proven") || !strings.Contains(res.Summary, "more\n") {
		t.Errorf("summary:\n%s", res.Summary)
	}
	if marks, _ := filepath.Glob(filepath.Join(r.Temp, "edge-actions", "fence-*")); len(marks) > 0 {
		t.Errorf("left: %q", marks)
	}
}

func TestOnlyProvenIsGreen(t *testing.T) {
	for name, want := range map[string]verdict.Verdict{"nothing": verdict.Unproven, "refused": verdict.Disproven, "output refused": verdict.Disproven, "panic": verdict.Unproven} {
		t.Run(name, func(t *testing.T) {
			res := scenario(runnertest.New(t), name).Run()
			if res.ExitCode != 1 {
				t.Errorf("exit code %d", res.ExitCode)
			}
			// The file is what others read, so it must say what the step said.
			if rep := report(t, res); rep.Verdict != want {
				t.Errorf("report %+v", rep)
			}
			if !strings.Contains(res.Log, "example: "+strings.ToUpper(string(want))) {
				t.Errorf("log:\n%s", res.Log)
			}
		})
	}
}

func TestAFailedRunWritesItsOutputs(t *testing.T) {
	res := scenario(runnertest.New(t), "refused").Run()
	if res.Outputs["a"] != "one" || res.Outputs["failure_reason"] != "port" {
		t.Errorf("outputs %q", res.Outputs)
	}
	res = scenario(runnertest.New(t), "output refused").Run()
	if _, ok := res.Outputs["a"]; ok || res.Outputs["b"] != "two" || res.Outputs["failure_reason"] != "output" {
		t.Errorf("outputs %q", res.Outputs)
	}
	if !strings.Contains(res.Log, "carriage returns") {
		t.Errorf("log:\n%s", res.Log)
	}
	res = scenario(runnertest.New(t), "nothing").Run()
	if res.Outputs["failure_reason"] != "empty" {
		t.Errorf("outputs %q", res.Outputs)
	}
}

func TestAPanicIsFenced(t *testing.T) {
	res := scenario(runnertest.New(t), "panic").Run()
	if len(res.Path) > 0 || res.Outputs["b"] != "" || res.Outputs["a"] != "one" || res.Outputs["failure_reason"] != "panic" {
		t.Errorf("path %q, outputs %q", res.Path, res.Outputs)
	}
	if !strings.Contains(res.Log, "goroutine") {
		t.Errorf("no trace:\n%s", res.Log)
	}
}

func TestForeignTextIsNoCommand(t *testing.T) {
	if res := scenario(runnertest.New(t), "unfenced").Run(); len(res.Path) != 1 {
		t.Fatal("the runner of this test does not honour what is printed unfenced")
	}
	res := scenario(runnertest.New(t), "hostile").Run()
	if len(res.Honoured) > 0 || len(res.Path) > 0 || len(res.Env) > 0 || res.Outputs["verdict"] != "" {
		t.Errorf("honoured %v, path %q, env %q, outputs %q; the log:\n%s", res.Honoured, res.Path, res.Env, res.Outputs, res.RawLog)
	}
}

func TestMasks(t *testing.T) {
	for name, test := range map[string]struct{ secret, hidden string }{
		"plain":            {"hunter22", "hunter22"},
		"two lines":        {"first-line\nsecond-line", "second-line"},
		"windows lines":    {"first-line\r\nsecond-line", "first-line"},
		"percent":          {"50%off%25%0A", "50%off%25%0A"},
		"double colon":     {"left-part::right-part", "right-part"},
		"three colons":     {"left-part:::right-part", "right-part"},
		"colon first":      {":colonized", "colonized"},
		"blanks around":    {"    indented  ", "indented"},
		"a command":        {"::add-mask::inner", "inner"},
		"quotes":           {`say "this" \ now`, `say \"this`},
		"control":          {"with\x1bescape", "escape"},
		"one in the other": {"hunter22\nhunter22-and-more", "and-more"},
	} {
		t.Run(name, func(t *testing.T) {
			step := scenario(runnertest.New(t), "mask")
			step.Env["SECRET"] = test.secret
			res := step.Run()
			if by := res.ShownBy(test.hidden); len(by) > 0 {
				t.Errorf("%q is shown by %v; the log:\n%s", test.hidden, by, res.RawLog)
			}
		})
	}
	step := scenario(runnertest.New(t), "mask")
	step.Env["SECRET"] = "a\n\nno\n      \nabc"
	if res := step.Run(); len(res.Masks) > 0 {
		t.Errorf("masks that blank the log: %q", res.Masks)
	}
}

func TestAMaskBehindAFence(t *testing.T) {
	res := scenario(runnertest.New(t), "mask behind a fence").Run()
	if by := res.ShownBy("hunter22"); len(by) > 0 {
		t.Errorf("shown by %v; the log:\n%s", by, res.RawLog)
	}
	if len(res.Path) > 0 {
		t.Errorf("one fence's end was the other's: path %q; the log:\n%s", res.Path, res.RawLog)
	}
}

// A kill in the middle of a fence must not cost the next step its masks.
func TestAFenceThatAKillLeftOpen(t *testing.T) {
	r := runnertest.New(t)
	step := scenario(r, "fence left open")
	step.Env["WAIT"] = "yes"
	step.Start()
	step.KillAt("text")
	next := scenario(r, "mask")
	next.Env["SECRET"] = "hunter22"
	if res := next.Run(); len(res.ShownBy("hunter22")) > 0 {
		t.Errorf("shown by %v; the log:\n%s", res.ShownBy("hunter22"), res.RawLog)
	}
}

func TestAForgottenFenceEndsWithTheRun(t *testing.T) {
	r := runnertest.New(t)
	scenario(r, "fence left open").Run()
	if marks, _ := filepath.Glob(filepath.Join(r.Temp, "edge-actions", "fence-*")); len(marks) > 0 {
		t.Errorf("left: %q", marks)
	}
	// The next step is somebody else's and knows nothing of our marks.
	res := r.Step([]string{"/bin/sh", "-c", "echo ::add-mask::hunter22; echo hunter22"}, nil).Run()
	if by := res.ShownBy("hunter22"); len(by) > 0 {
		t.Errorf("shown by %v", by)
	}
}

func TestCancel(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM} {
		step := scenario(runnertest.New(t), "cancel")
		step.Start()
		step.WaitLog("ready")
		step.Signal(signal)
		res := step.Wait()
		if res.ExitCode != 1 || res.Outputs["a"] != "before" || !strings.Contains(res.Log, "interrupted") {
			t.Errorf("%s: exit code %d, outputs %q, log:\n%s", name, res.ExitCode, res.Outputs, res.Log)
		}
		if rep := report(t, res); rep.Verdict != verdict.Unproven {
			t.Errorf("%s: report %+v", name, rep)
		}
	}
}

func TestTheSummaryIsCutAtAWholeLine(t *testing.T) {
	res := scenario(runnertest.New(t), "big summary").Run()
	if len(res.Summary) >= 1<<20 || len(res.Summary) < 800<<10 {
		t.Fatalf("%d bytes", len(res.Summary))
	}
	lines := strings.Split(strings.TrimRight(res.Summary, "\n"), "\n")
	last := lines[len(lines)-1]
	if !strings.Contains(last, "more bytes are in the log") {
		t.Errorf("last line %q", last)
	}
	if cut := lines[len(lines)-3]; cut != "0123456789 line" {
		t.Errorf("cut at %q", cut)
	}
}

func TestWithoutAPlaceForOutputs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plain-file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	step := scenario(runnertest.New(t), "proven")
	step.Env["RUNNER_TEMP"] = file
	res := step.Run()
	if res.ExitCode != 1 || res.Outputs["failure_reason"] != "report" || res.Outputs["a"] != "one" {
		t.Errorf("exit code %d, outputs %q, log:\n%s", res.ExitCode, res.Outputs, res.Log)
	}
}

// The report on disk is evidence: it says what the step's exit code says.
func TestAReportOfAStepWhoseOutputsWereNotWritten(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	a := newAction(t, &log, "RUNNER_TEMP="+dir, "GITHUB_OUTPUT="+dir)
	code := a.Do(t.Context(), func(_ context.Context, a *action.Action) error {
		a.Report.Prove("port", "an open port", "22")
		return nil
	})
	data, err := os.ReadFile(a.Output("report"))
	if err != nil {
		t.Fatal(err)
	}
	if code != 1 || !strings.Contains(string(data), `"verdict": "unproven"`) || !strings.Contains(log.String(), "example: UNPROVEN") {
		t.Errorf("exit code %d, report %s, log:\n%s", code, data, log.String())
	}
}
