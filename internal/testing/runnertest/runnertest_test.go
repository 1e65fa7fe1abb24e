package runnertest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	githubactions "github.com/sethvargo/go-githubactions"
)

func shell(r *Runner, script string) *Step {
	return r.Step([]string{"/bin/sh", "-c", script}, nil)
}

func TestTerminalOnAllThree(t *testing.T) {
	res := shell(New(t), `for fd in 0 1 2; do test -t $fd && echo "tty $fd"; done`).Run()
	if want := "tty 0\ntty 1\ntty 2\n"; res.Log != want {
		t.Errorf("log %q, want %q", res.Log, want)
	}
}

func TestEnvironmentLeaksIn(t *testing.T) {
	r := New(t)
	r.Env["INPUT_NAME"] = "of an outer action"
	r.Env["TF_CLI_ARGS_plan"] = "-destroy"
	script := `echo "$INPUT_NAME,$TF_CLI_ARGS_plan,$INPUT_LEFT_BY_THE_DAEMON,$GITHUB_TOKEN"`
	if res := shell(r, script).Run(); res.Log != "of an outer action,-destroy,leaked,"+Token+"\n" {
		t.Errorf("log %q", res.Log)
	}
	step := r.Step([]string{"/bin/sh", "-c", script}, map[string]string{"name": ""})
	if res := step.Run(); !strings.HasPrefix(res.Log, ",") {
		t.Errorf("a mapped input does not hide the leaked one: %q", res.Log)
	}
}

// The library's delimiter is a constant, so a value can end itself.
func TestConstantDelimiterInjects(t *testing.T) {
	file := filepath.Join(t.TempDir(), "output")
	gha := githubactions.New(githubactions.WithGetenv(func(string) string { return file }))
	gha.SetOutput("notes", "harmless\n_GitHubActionsFileCommandDelimeter_\nverdict=proven")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := ParseFile([]byte(strings.TrimSuffix(string(data), "_GitHubActionsFileCommandDelimeter_\n")))
	if got["verdict"] != "proven" {
		t.Errorf("outputs %v, want an injected verdict", got)
	}
}

func TestOutputs(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	tests := map[string]struct {
		file string
		want map[string]string
		lost bool
		fail bool
	}{
		"single":                  {file: "a=1\nb==<<2\n", want: map[string]string{"a": "1", "b": "=<<2"}},
		"several lines":           {file: "a<<E\n1\n\n2\n\nE\n", want: map[string]string{"a": "1\n\n2\n"}},
		"empty":                   {file: "a<<E\n\nE\n", want: map[string]string{"a": ""}},
		"empty lines first":       {file: "a<<E\n\n\n1\nE\n", want: map[string]string{"a": "1"}},
		"carriage return":         {file: "a<<E\n1\r\nE\r\n", want: map[string]string{"a": "1"}},
		"long line":               {file: "a=1\nb=" + long + "\nc=3\n", want: map[string]string{"a": "1"}, lost: true},
		"long line in a heredoc":  {file: "a=1\nb<<E\n" + long + "\nE\nc=3\n", want: map[string]string{"a": "1"}, lost: true},
		"no delimiter at the end": {file: "a=1\nb<<E\n1\n", fail: true},
		"neither form":            {file: "a=1\nhello\n", fail: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := New(t)
			if err := os.WriteFile(filepath.Join(r.Workspace, "file"), []byte(test.file), 0o644); err != nil {
				t.Fatal(err)
			}
			res := shell(r, `cat file >>"$GITHUB_OUTPUT"`).Run()
			if (res.FileError != nil) != test.fail || res.Green() == test.fail {
				t.Fatalf("error %v", res.FileError)
			}
			if res.OutputsLost != test.lost {
				t.Errorf("lost %v, want %v", res.OutputsLost, test.lost)
			}
			if !test.fail && !equal(res.Outputs, test.want) {
				t.Errorf("outputs %.80q, want %.80q", res.Outputs, test.want)
			}
		})
	}
}

func TestHostileLinesAreHonoured(t *testing.T) {
	for line, want := range map[string]string{
		`::add-path::/evil`:                   "add-path",
		`   ::add-path::/evil`:                "add-path",
		`::set-env name=PATH::/evil`:          "set-env",
		`##[add-path]/evil`:                   "add-path",
		`at 12:00 ##[add-path]/evil`:          "add-path",
		`::set-output name=verdict::proven`:   "set-output",
		`##[set-output name=verdict;]proven`:  "set-output",
		`::stop-commands::t`:                  "",
		`| ::add-path::/evil`:                 "",
		`:: add-path::/evil`:                  "",
		`::nonsense::x`:                       "",
		`a line about ::add-path:: in a text`: "",
	} {
		got := ""
		if commands := Honoured(line + "\n"); len(commands) > 0 {
			got = commands[0].Name
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestCommandsReachTheNextStep(t *testing.T) {
	r := New(t)
	res := shell(r, `echo ::add-path::/evil >&2; echo "::set-env name=A::1%0A2"; echo ::set-output name=o::v`).Run()
	if res.Outputs["o"] != "v" || !slices.Equal(res.Path, []string{"/evil"}) || res.Env["A"] != "1\n2" {
		t.Errorf("outputs %v, path %v, env %v", res.Outputs, res.Path, res.Env)
	}
	if next := shell(r, `echo "$PATH $A"`).Run(); !strings.HasPrefix(next.Log, "/evil:") || !strings.HasSuffix(next.Log, "1\n2\n") {
		t.Errorf("next step: %q", next.Log)
	}
}

func TestStoppedCommands(t *testing.T) {
	res := shell(New(t), "echo ::stop-commands::tok; echo ::add-path::/a; echo ::other::; echo ::tok::; echo ::add-path::/b").Run()
	if !slices.Equal(res.Path, []string{"/b"}) {
		t.Errorf("path %v", res.Path)
	}
}

// What a kill in the middle of a fence does on Forgejo: the next mask is not
// taken for one, and is printed.
func TestAnOpenFenceSwallowsTheNextStepsMask(t *testing.T) {
	r := New(t)
	shell(r, "echo ::stop-commands::tok").Run()
	res := shell(r, "echo ::add-mask::hunter22; echo hunter22").Run()
	if got := res.ShownBy("hunter22"); !slices.Equal(got, []string{"forgejo"}) {
		t.Errorf("shown by %v", got)
	}
	shell(r, "echo ::tok::").Run()
	if res := shell(r, "echo ::add-mask::hunter23; echo hunter23").Run(); len(res.ShownBy("hunter23")) > 0 {
		t.Errorf("still shown by %v", res.ShownBy("hunter23"))
	}
}

func TestMasks(t *testing.T) {
	tests := map[string]struct {
		script, secret string
		shown          []string
	}{
		"plain":            {`echo ::add-mask::hunter2; echo hunter2`, "hunter2", nil},
		"percent, escaped": {`echo ::add-mask::50%25off; echo 50%off`, "50%off", []string{"forgejo"}},
		"percent, raw":     {`echo ::add-mask::50%off; echo 50%off`, "50%off", nil},
		"two lines":        {`echo ::add-mask::one1%0Atwo2; echo one1; echo two2`, "one1", []string{"forgejo", "act"}},
		"double colon":     {`echo ::add-mask::aa::bb; echo x`, "aa::bb", []string{"act"}},
		"colon first":      {`echo ::add-mask:::abcd; echo x`, ":abcd", []string{"act"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := shell(New(t), test.script).Run().ShownBy(test.secret); !slices.Equal(got, test.shown) {
				t.Errorf("shown by %v, want %v", got, test.shown)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	r := New(t)
	r.Secrets["KEY"] = "s3cret-value"
	if res := shell(r, `echo 's3cret-value'`).Run(); res.Log != "***\n" {
		t.Errorf("a secret is shown: %q", res.Log)
	}
	shell(r, `echo 'A=${{ secrets.KEY }}' >>"$GITHUB_ENV"`).Run()
	shell(r, `printf %s "$A" >"$HOME/leak"`).Run()
	if got := r.FilesWith("s3cret-value"); len(got) != 1 || got[0] != filepath.Join(r.Home, "leak") {
		t.Errorf("files with the secret: %v", got)
	}
	r.NextJob()
	if res := shell(r, `echo "$A"`).Run(); res.Log != "\n" {
		t.Errorf("the next job has it too: %q", res.Log)
	}
}

func TestKillGroup(t *testing.T) {
	r := New(t)
	step := shell(r, `trap 'echo caught' INT TERM HUP; sh -c 'trap "" HUP INT TERM; echo child; sleep 60' & touch started; wait`)
	step.Start()
	step.WaitLog("child")
	res := step.KillOnFile(filepath.Join(r.Workspace, "start*"))
	if res.ExitCode != -1 || res.Green() || strings.Contains(res.Log, "caught") {
		t.Errorf("exit code %d, log %q", res.ExitCode, res.Log)
	}
	for range 100 { // SIGKILL takes its time to arrive
		if len(alive(step.cmd.Process.Pid)) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := alive(step.cmd.Process.Pid); len(got) > 0 {
		t.Errorf("alive after a kill: %v", got)
	}
}

func TestSignalReachesOneProcess(t *testing.T) {
	step := shell(New(t), `trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done`)
	step.Start()
	step.WaitLog("ready")
	step.Signal(syscall.SIGINT)
	if res := step.Wait(); res.ExitCode != 3 || !strings.Contains(res.Log, "caught") {
		t.Errorf("exit code %d, log %q", res.ExitCode, res.Log)
	}
}

func TestWhatOutlivesAStep(t *testing.T) {
	res := shell(New(t), `trap "" HUP; sleep 60 & printf 'no end of line'`).Run()
	if len(res.Alive) != 1 {
		t.Errorf("alive: %v, want the sleep", res.Alive)
	}
	if res.Log != "" || res.RawLog != "no end of line" {
		t.Errorf("log %q, raw %q", res.Log, res.RawLog)
	}
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}
