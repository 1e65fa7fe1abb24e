package assert

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

func TestCommand(t *testing.T) {
	sh := func(script string) []string { return []string{"sh", "-c", script} }
	for name, tt := range map[string]struct {
		argv    []string
		timeout string
		want    verdict.Verdict
		says    string
	}{
		"it holds":                     {sh(`test "$(cat etc/app.conf)" = "` + marker + `"`), "", proven, "exit code 0"},
		"it does not":                  {sh(`cat etc/app.conf; cat etc/app.conf >&2; exit 3`), "", disproven, "exit code 3 and 50 bytes of output"},
		"nothing of the job":           {sh(`test -z "$JOB_TOKEN" && test -z "$GITHUB_TOKEN"`), "", proven, ""},
		"a home of its own":            {sh(`test "$HOME" = "$TMPDIR" && echo x >"$HOME/x" && mktemp`), "", proven, ""},
		"it is killed":                 {sh(`kill -9 $$`), "", disproven, "exit code 137"},
		"no input":                     {sh(`test -z "$(cat)"`), "", proven, ""},
		"too long":                     {sh(`sleep 600`), "1s", unproven, "no end after 1s"},
		"a child that is too long":     {sh(`sleep 600 & sleep 600`), "1s", unproven, "no end after 1s"},
		"a program in it is not there": {sh(`no-such-program`), "", unproven, "exit code 127"},
		"one that cannot be run":       {sh(`./etc/app.conf`), "", unproven, "exit code 126"},
		"no such program":              {[]string{"no-such-program"}, "", unproven, "no such program"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRestored(t)
			r.write("/etc/app.conf", marker)
			r.tools.Env = append(r.tools.Env, "JOB_TOKEN=x", "GITHUB_TOKEN=x")
			expect(t, r.assert(Assertion{Command: &Command{Argv: tt.argv, Timeout: tt.timeout}}), map[string]verdict.Verdict{CommandExit: tt.want}, tt.says)
		})
	}
}

// What was restored is not run, by whatever name it is called.
func TestCommandThatWasRestored(t *testing.T) {
	r := newRestored(t)
	r.write("/bin/check", "#!/bin/sh\nexit 0\n")
	os.Chmod(r.at("/bin/check"), 0o700)
	link := filepath.Join(r.work, "..", "check")
	os.Symlink(r.at("/bin/check"), link)
	for _, program := range []string{r.at("/bin/check"), link} {
		expect(t, r.assert(Assertion{Command: &Command{Argv: []string{program}}}), map[string]verdict.Verdict{CommandExit: disproven}, "never run")
	}
}

func TestCommandEndsWithItsContext(t *testing.T) {
	r := newRestored(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() { // as soon as it runs
		for up := []string(nil); len(up) == 0; time.Sleep(time.Millisecond) {
			up, _ = filepath.Glob(filepath.Join(r.work, "*/home/up"))
		}
		cancel(context.Canceled)
	}()
	a := Assertion{Name: "x", Command: &Command{Argv: []string{"sh", "-c", `touch "$HOME/up"; exec sleep 600`}}}
	got, text := told(a.Assert(ctx, r.dir, r.tools))
	if got[CommandExit] != unproven {
		t.Error(text)
	}
}
