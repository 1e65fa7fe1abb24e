package command

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
)

func TestMain(m *testing.M) {
	realtools.Interruptible()
	os.Exit(m.Run())
}

func sh(script string) Cmd {
	return Cmd{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=" + os.Getenv("PATH")}, Timeout: 20 * time.Second, Grace: 5 * time.Second}
}

func TestExit(t *testing.T) {
	var out, stderr bytes.Buffer
	c := sh("echo out; echo err >&2; exit 3")
	c.Stdout, c.Stderr = &out, &stderr
	err := Run(t.Context(), c)
	if Code(err) != 3 || out.String() != "out\n" || stderr.String() != "err\n" {
		t.Errorf("%v, %q, %q", err, out.String(), stderr.String())
	}
	if err.Error() != `sh ended with exit code 3: "err"` {
		t.Errorf("%v", err)
	}
	if Code(nil) != -1 || Code(errors.New("x")) != -1 {
		t.Error("a code from nowhere")
	}
	var exit *ExitError
	if err := Run(t.Context(), sh("kill -9 $$")); !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL || exit.Code != -1 {
		t.Errorf("%v", err)
	}
	c = sh("")
	c.Path = "/nowhere/tool"
	if err := Run(t.Context(), c); err == nil || !strings.HasPrefix(err.Error(), "running tool: ") {
		t.Errorf("%v", err)
	}
}

func TestForeignTextInAnErrorIsQuoted(t *testing.T) {
	err := Run(t.Context(), sh(`printf '::add-path::/evil\n\033[2J' >&2; exit 1`))
	if strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("%q", err.Error())
	}
}

func TestNothingIsLeftToChance(t *testing.T) {
	for name, change := range map[string]func(*Cmd){
		"environment": func(c *Cmd) { c.Env = nil },
		"timeout":     func(c *Cmd) { c.Timeout = 0 },
		"grace":       func(c *Cmd) { c.Grace = 0 },
	} {
		c := sh("true")
		change(&c)
		if err := Run(t.Context(), c); err == nil {
			t.Errorf("run without %s", name)
		}
	}
	var out bytes.Buffer
	c := sh("cat; env | sort")
	c.Env, c.Stdout = []string{"ONLY=this"}, &out
	if err := Run(t.Context(), c); err == nil {
		t.Log("no PATH is needed for cat here")
	}
	c.Args[1] = "read x && echo got; echo $ONLY,$HOME"
	out.Reset()
	if err := Run(t.Context(), c); err != nil || out.String() != "this,\n" {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestDeadline(t *testing.T) {
	start := time.Now()
	var out bytes.Buffer
	c := sh(`trap 'echo saved; exit 0' INT; echo ready; while :; do sleep 0.05; done`)
	c.Timeout, c.Stdout = 300*time.Millisecond, &out
	// An exit code of 0 after the deadline is no success.
	if err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no end after 300ms") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(out.String(), "saved") {
		t.Errorf("no graceful end: %q", out.String())
	}
	c = sh(`trap '' INT; while :; do sleep 0.05; done`)
	c.Timeout, c.Grace = 200*time.Millisecond, 200*time.Millisecond
	if err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no end after") {
		t.Errorf("%v", err)
	}
	// A grandchild that keeps the pipe open must not keep us.
	c = sh(`sleep 30 & echo gone`)
	c.Grace, c.Stdout = 200*time.Millisecond, &out
	if err := Run(t.Context(), c); err == nil {
		t.Error("an output that was cut off is taken for whole")
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the runner said so")
	time.AfterFunc(200*time.Millisecond, func() { cancel(why) })
	if err := Run(ctx, sh(`trap 'exit 0' INT; while :; do sleep 0.05; done`)); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}

func TestOutput(t *testing.T) {
	if out, err := Output(t.Context(), sh("echo 1234"), 5); err != nil || string(out) != "1234\n" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := Output(t.Context(), sh("echo 12345"), 5); err == nil || out != nil {
		t.Errorf("%q, %v", out, err)
	}
	// What is too much is read all the same: a closed pipe kills half-way.
	c := sh("head -c 300000 /dev/zero; echo whole >&2")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if _, err := Output(t.Context(), c, 10); err == nil || stderr.String() != "whole\n" {
		t.Errorf("%v, %q", err, stderr.String())
	}
}

func TestTheTailOfStderr(t *testing.T) {
	var exit *ExitError
	err := Run(t.Context(), sh("head -c 100000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last >&2; exit 1"))
	if !errors.As(err, &exit) || len(exit.Stderr) > 16<<10 || !strings.HasSuffix(exit.Stderr, "\nlast\n") {
		t.Errorf("%d bytes", len(exit.Stderr))
	}
}

func TestEnviron(t *testing.T) {
	from := []string{
		"PATH=/bin", "HOME=/root", "LC_ALL=C", "LCX=1", "TF_CLI_ARGS_plan=-destroy", "TF_VAR_region=eu",
		"AWS_SECRET_ACCESS_KEY=s", "GITHUB_TOKEN=t", "INPUT_KEY=k", "PAGER=less", "GIT_SSH_COMMAND=evil",
		"LD_PRELOAD=x", "BASH_ENV=x", "SSH_AUTH_SOCK=/s", "EQUALS=a=b", "strange",
	}
	got := Environ(from, append(slices.Clone(Base), "TF_VAR_*", "EQUALS", "strange"), map[string]string{"TF_IN_AUTOMATION": "1", "HOME": "/elsewhere"})
	want := []string{
		"EQUALS=a=b", "GIT_TERMINAL_PROMPT=0", "HOME=/elsewhere", "LC_ALL=C", "NO_COLOR=1", "PAGER=cat", "PATH=/bin",
		"TF_IN_AUTOMATION=1", "TF_VAR_region=eu", "strange=",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if env := Environ(nil, nil, nil); env == nil {
		t.Error("nil, which Run takes for forgotten")
	}
}
