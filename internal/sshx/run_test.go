package sshx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/testing/realtools"

	"github.com/google/go-cmp/cmp"
)

// hostile are values that a shell must not read as anything but values.
var hostile = []string{
	"", " ", "'", `"`, `it's`, `'\''`, `\`, `\\`, `\'`, "$(touch pwned)", "`touch pwned`", "${HOME}", "!!", "*", "~", "-rf", "--", "; touch pwned",
	"a\nb", "\n", "a\n", "\r\n", "&&", "|", "<", ">", "#", "=", "%s", "\x01\x7f\xff", "ünïcödé", "EOF", "$'\\n'", strings.Repeat("long ", 10000),
}

func TestArgumentsArriveUnchanged(t *testing.T) {
	h := newHome(t)
	s := startServer(t, []string{h.key})
	c := dialed(t, h.target(s.Port, s.HostKey))
	want := strings.Join(hostile, "\x00") + "\x00"
	for name, cmd := range map[string]Cmd{
		"a script":  {Script: `printf '%s\0' "$@"`, Args: hostile},
		"a command": {Args: append([]string{"printf", `%s\0`}, hostile...)},
		"in public": {Script: `printf '%s\0' "$@"`, Args: hostile, Public: true},
		"too long":  {Script: `printf '%s\0' "$@" #` + strings.Repeat("x", maxInline), Args: hostile, Public: true},
	} {
		cmd.Timeout = generous
		out, err := c.Output(t.Context(), cmd, 1<<20)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, string(out)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	// No value is in the line that the host's process list shows.
	out, err := c.Output(t.Context(), Cmd{Script: `ps -o args= -p $$ -p $PPID; echo "$1"`, Args: []string{"sesame"}, Timeout: generous}, 1<<20)
	if err != nil || strings.Count(string(out), "sesame") != 1 {
		t.Errorf("%v, %q", err, out)
	}
}

func TestScripts(t *testing.T) {
	h := newHome(t)
	s := startServer(t, []string{h.key})
	c := dialed(t, h.target(s.Port, s.HostKey))
	for name, test := range map[string]struct {
		cmd  Cmd
		want string
	}{
		"no arguments":            {Cmd{Script: `echo $#`}, "0\n"},
		"a child reads stdin":     {Cmd{Script: "cat\necho after"}, "after\n"},
		"stdin is the script's":   {Cmd{Script: "cat; echo after", Stdin: strings.NewReader("a\x00b'\n")}, "a\x00b'\nafter\n"},
		"stdin that is not read":  {Cmd{Script: "echo done", Stdin: strings.NewReader(strings.Repeat("x", 8<<20))}, "done\n"},
		"a comment at the end":    {Cmd{Script: "echo one # two"}, "one\n"},
		"a line that goes on":     {Cmd{Script: "echo one \\"}, "one\n"},
		"a document at the end":   {Cmd{Script: "cat <<END\none\nEND"}, "one\n"},
		"a long script":           {Cmd{Script: strings.Repeat("# some words\n", 5000) + "echo end"}, "end\n"},
		"functions and set -e":    {Cmd{Script: "set -eu\nf() { echo \"$1\"; }\nf \"$1\"", Args: []string{"x"}}, "x\n"},
		"more than a window full": {Cmd{Script: "dd if=/dev/zero bs=1024 count=4096 2>/dev/null | wc -c | tr -d ' '"}, "4194304\n"},
	} {
		test.cmd.Timeout = generous
		out, err := c.Output(t.Context(), test.cmd, 1<<20)
		if err != nil || string(out) != test.want {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
	for name, cmd := range map[string]Cmd{
		"no timeout":              {Script: "true"},
		"nothing":                 {Timeout: generous},
		"a zero byte":             {Args: []string{"echo", "a\x00b"}, Timeout: generous},
		"the mark in it":          {Script: "echo " + mark, Timeout: generous},
		"the mark in an argument": {Script: "true", Args: []string{mark}, Timeout: generous},
	} {
		if err := c.Run(t.Context(), cmd); err == nil {
			t.Errorf("%s: it ran", name)
		}
	}
	if _, err := c.Output(t.Context(), Cmd{Script: "echo 123456", Timeout: generous}, 3); err == nil || !strings.Contains(err.Error(), "more than 3 bytes") {
		t.Errorf("%v", err)
	}
}

func TestEnds(t *testing.T) {
	h := newHome(t)
	s := startServer(t, []string{h.key})
	c := dialed(t, h.target(s.Port, s.HostKey))
	var stderr bytes.Buffer
	err := c.Run(t.Context(), Cmd{Name: "look", Script: `printf '::add-path::/evil\n\033[2J' >&2; exit 3`, Stderr: &stderr, Timeout: generous})
	if command.Code(err) != 3 || strings.ContainsAny(err.Error(), "\n\x1b") || !strings.HasPrefix(err.Error(), "look on ") || !strings.Contains(err.Error(), `::add-path::/evil\n`) {
		t.Errorf("%q", err)
	}
	if stderr.String() != "::add-path::/evil\n\x1b[2J" {
		t.Errorf("%q", stderr.String())
	}
	var exit *command.ExitError
	if err := c.Run(t.Context(), Cmd{Script: "kill -9 $$", Timeout: generous}); !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
		t.Errorf("%v", err)
	}
	if err := c.Run(t.Context(), Cmd{Args: []string{"no-such-program"}, Timeout: generous}); command.Code(err) != 127 {
		t.Errorf("%v", err)
	}
	works(t, c)
}

func TestDeadlines(t *testing.T) {
	h := newHome(t)
	s := startServer(t, []string{h.key})
	c := dialed(t, h.target(s.Port, s.HostKey))
	err := c.Run(t.Context(), Cmd{Script: "exec sleep 20", Timeout: 500 * time.Millisecond})
	if err == nil || !strings.HasSuffix(err.Error(), "no end after 500ms; it may still be running there") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the job was cancelled")
	time.AfterFunc(200*time.Millisecond, func() { cancel(cause) })
	if err := c.Run(ctx, Cmd{Script: "sleep 20", Timeout: generous}); !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	// A reader that never ends must not hold up the end.
	r, w := io.Pipe()
	defer w.Close()
	if err := c.Run(t.Context(), Cmd{Script: "true", Stdin: r, Timeout: generous}); err != nil {
		t.Error(err)
	}
	// A reader that fails half-way must not pass for its end.
	broke := errors.New("the download broke")
	failing := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broke))
	if err := c.Run(t.Context(), Cmd{Script: "cat", Stdin: failing, Timeout: generous}); !errors.Is(err, broke) {
		t.Errorf("%v", err)
	}
	works(t, c)

	// A connection that stalls keeps nobody longer than the deadline, even
	// while its keep-alive still hopes.
	p := newProxy(t, s.Address)
	c, err = Dial(t.Context(), h.target(p.port, s.HostKey), Options{DialTimeout: generous, KeepAlive: generous})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p.stall()
	if err := c.Run(t.Context(), Cmd{Script: "true", Timeout: 200 * time.Millisecond}); err == nil || !strings.HasSuffix(err.Error(), "no end after 200ms; it may still be running there") {
		t.Errorf("%v", err)
	}
}

func TestManySessionsOnOneConnection(t *testing.T) {
	h := newHome(t)
	s := startServer(t, []string{h.key})
	p := newProxy(t, s.Address)
	c := dialed(t, h.target(p.port, s.HostKey))
	var all sync.WaitGroup
	for i := range 40 { // sshd allows ten at a time
		all.Go(func() {
			out, err := c.Output(t.Context(), Cmd{Script: `sleep 0.1; echo "$1"`, Args: []string{fmt.Sprint(i)}, Timeout: generous}, 100)
			if err != nil || string(out) != fmt.Sprintln(i) {
				t.Errorf("%d: %v, %q", i, err, out)
			}
		})
	}
	all.Wait()
	if p.count() != 1 {
		t.Errorf("%d connections", p.count())
	}
}

// A script whose end did not arrive must not run: run the constant with what a
// cut at every byte would leave.
func TestHalfAScriptDoesNotRun(t *testing.T) {
	sh := realtools.Path(t, "sh")
	program, err := Cmd{Script: "echo ran\necho 'and again'", Args: []string{"a"}}.program()
	if err != nil {
		t.Fatal(err)
	}
	whole := fmt.Sprintf("%d\n%s", len(program), program)
	for cut := range len(whole) + 1 {
		child := exec.Command(sh, "-c", remote)
		child.Stdin = strings.NewReader(whole[:cut])
		out, err := child.Output()
		if done := cut == len(whole); done != (err == nil) || done != (string(out) == "ran\nand again\n") || !done && len(out) > 0 {
			t.Fatalf("cut after %q: %v, %q", whole[:cut], err, out)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, value := range hostile {
		f.Add(value, "x")
	}
	sh := realtools.Path(f, "sh")
	f.Fuzz(func(t *testing.T, a, b string) {
		program, err := Cmd{Script: `printf '%s\0' "$@"`, Args: []string{a, b}}.program()
		if err != nil {
			if !strings.ContainsAny(a+b, "\x00#") {
				t.Fatal(err)
			}
			return
		}
		child := exec.Command(sh, "-c", remote)
		child.Stdin = strings.NewReader(fmt.Sprintf("%d\n%s", len(program), program))
		out, err := child.Output()
		if want := a + "\x00" + b + "\x00"; err != nil || string(out) != want {
			t.Fatalf("%v: %q, want %q", err, out, want)
		}
	})
}

func TestForeignErrorsAreQuoted(t *testing.T) {
	cause := errors.New("gone\n::error::\x1b[2J")
	if err := foreign(cause); strings.ContainsAny(err.Error(), "\n\x1b") || !errors.Is(err, cause) {
		t.Errorf("%q", err)
	}
}

// What comes after Run has returned must not be written to its caller's.
func TestAGateCloses(t *testing.T) {
	var b bytes.Buffer
	g := &gate{w: &b}
	g.Write([]byte("before"))
	g.close()
	if _, err := g.Write([]byte("after")); err == nil || b.String() != "before" {
		t.Errorf("%v, %q", err, b.String())
	}
}
