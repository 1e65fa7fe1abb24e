package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

// What runs on the host, as whom, and what is left of it.
func TestWhatRunsThere(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	conn := h.dial(h.address)
	users := map[string]int{"": os.Getuid()}
	if root() {
		users["root"], users["nobody"] = 0, 65534
	}
	for name, uid := range users {
		dir := filepath.Join(t.TempDir(), "made", "for it")
		o := options(dir)
		o.User = name
		r := ask(t, over(conn), o, order{Do: "look", Secret: "hunter3"})
		if r.UID != uid || r.Umask != 0o077 || r.Dir != "/" || r.Secret != "hunter3" {
			t.Errorf("as %q: %+v", name, r)
		}
		if !strings.HasSuffix(r.Exe, " (deleted)") || !strings.HasPrefix(r.Exe, dir+"/") {
			t.Errorf("as %q: it runs from %q, which has a name still, or had none there", name, r.Exe)
		}
		if diff := cmp.Diff([]string{"/proc/self/fd/9", "agent", dir}, r.Args); diff != "" {
			t.Error(diff)
		}
		// The fourth is that of the directory which ls looks into.
		if diff := cmp.Diff([]string{"0", "1", "2", "3"}, r.Descriptors); diff != "" {
			t.Errorf("what a child gets: %s", diff)
		}
		env := strings.Join(r.Env, "\n")
		if strings.Contains(env, "hunter2") || strings.Contains(env, h.word) || strings.Contains(env, "SSH_") {
			t.Errorf("as %q it has what the login has: %s", name, env)
		}
		if name == "nobody" && (!slices.Contains(r.Env, "USER=nobody") || slices.Contains(r.Env, "HOME=/root") || r.GID != 65534) {
			t.Errorf("as %q: %d %s", name, r.GID, env)
		}
		if !strings.Contains(env, "/run/current-system/sw/bin:") {
			t.Errorf("the programs of NixOS are not on PATH: %s", env)
		}
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v %v", info, err)
		}
		gone(t, dir, dir)
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	var lines []string
	r, err := Call[result](t.Context(), here("sh", nil), options(t.TempDir()), order{Do: "log", N: 3}, func(line string) { lines = append(lines, line) })
	if err != nil {
		t.Fatalf("%v, %+v", err, r)
	}
	if diff := cmp.Diff([]string{"line 0", "line 1", "line 2", "two"}, lines[:4]); diff != "" {
		t.Error(diff)
	}
	if last := lines[len(lines)-1]; len(lines) != 5 || len(last) > maxLog+4 || strings.ContainsAny(last, "\x1b\u202e\n") || !strings.Contains(last, "::add-path::/evil xxx") {
		t.Errorf("%d lines, %.100q", len(lines), last)
	}
	// More than is taken is no reason to fail.
	lines = nil
	ask := order{Do: "log", N: maxLogs + 10}
	if _, err := Call[result](t.Context(), here("sh", nil), options(t.TempDir()), ask, func(line string) { lines = append(lines, line) }); err != nil || len(lines) != maxLogs || !strings.Contains(lines[maxLogs-1], "ends here") {
		t.Errorf("%v, %d lines", err, len(lines))
	}
	if _, err := Call[result](t.Context(), here("sh", nil), options(t.TempDir()), order{Do: "log"}, nil); err != nil {
		t.Error(err)
	}
}

// Both shells that a host's sh may be.
func TestShells(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"dash", "bash"} {
		dir := t.TempDir()
		if r := ask(t, here(shell, nil), options(dir), order{Do: "look"}); r.UID != os.Getuid() {
			t.Errorf("%s: %+v", shell, r)
		}
		base := filepath.Join(t.TempDir(), "x")
		patiently(t, func(timeout time.Duration) bool {
			o := options(dir)
			o.Timeout = timeout
			_, err := Call[result](t.Context(), here(shell, nil), o, order{Do: "wait", Base: base}, nil)
			if verdict.Reason(err) != Timeout || exists(base+".started") && !exists(base+".cleaned") {
				t.Errorf("%s: %v", shell, err)
			}
			return exists(base + ".started")
		})
		ask(t, here(shell, nil), options(dir), order{Do: "stray", Base: base})
		gone(t, dir, dir, base)
	}
}

// What a handler says of its failure is what the caller gets.
func TestRefusals(t *testing.T) {
	t.Parallel()
	h := here("sh", nil)
	dir := t.TempDir()
	_, err := Call[result](t.Context(), h, options(dir), order{Do: "refuse"}, nil)
	want := []verdict.Check{
		{ID: "restore-bytes", Verdict: verdict.Disproven, Wanted: "7 bytes", Got: "6", Hint: "look\uFFFDat it"},
		{ID: "restore-owner", Verdict: verdict.Unproven, Wanted: "root", Got: "no idea", Hint: "be root"},
	}
	if diff := cmp.Diff(want, verdict.ChecksOf(err)); diff != "" || !verdict.Has(err, "restore-owner") {
		t.Errorf("%v %s", err, diff)
	}
	_, err = Call[result](t.Context(), h, options(dir), order{Do: "fail"}, nil)
	refused(t, err, "run", "it failed")

	base := filepath.Join(t.TempDir(), "x")
	for _, do := range []string{"panic", "nil", "goexit"} {
		os.Remove(base + ".cleaned")
		_, err = Call[result](t.Context(), h, options(dir), order{Do: do, Base: base}, nil)
		refused(t, err, Panicked, "agent.obey, line ")
		if strings.Contains(fmt.Sprint(err), "hunter2") || !exists(base+".cleaned") {
			t.Errorf("%s: %v, cleaned %v", do, err, exists(base+".cleaned"))
		}
	}
	var lines []string
	var exit *command.ExitError
	crashes := Host{Name: h.Name, Exec: func(ctx context.Context, s Script) error {
		err := h.Exec(ctx, s)
		errors.As(err, &exit)
		return err
	}}
	_, err = Call[result](t.Context(), crashes, options(dir), order{Do: "crash"}, func(line string) { lines = append(lines, line) })
	refused(t, err, BadAnswer, "exit code 2")
	if strings.Contains(fmt.Sprint(err, lines, exit.Stderr), "hunter2") {
		t.Errorf("%v %q %q", err, lines, exit.Stderr)
	}
	_, err = Call[result](t.Context(), h, options(dir), order{Do: "print"}, nil)
	refused(t, err, BadAnswer, `"hello"`)
	_, err = Call[result](t.Context(), h, options(dir), order{Do: "big", N: maxLine}, nil)
	refused(t, err, BadAnswer, "can be sent")
	if _, err := Call[map[string]int](t.Context(), h, options(dir), order{Do: "look"}, nil); err == nil {
		t.Error("an answer of another form is one")
	} else {
		refused(t, err, BadAnswer, "another form")
	}
	if r := ask(t, h, options(dir), order{Do: "big", N: maxLine - 4096}); len(r.Text) != maxLine-4096 {
		t.Errorf("%d bytes", len(r.Text))
	}
	empty(t, dir)
}

func TestOptions(t *testing.T) {
	h := Host{Name: "edge-1", Exec: func(context.Context, Script) error {
		t.Error("it was called")
		return nil
	}}
	call := func(change func(*Options)) error {
		o := options("/var/lib/edge-actions")
		change(&o)
		_, err := Call[result](t.Context(), h, o, order{}, nil)
		return err
	}
	for _, dir := range []string{"", "relative", "/", "/a/../b", "/a/", "/a\nb", "/a//b"} {
		refused(t, call(func(o *Options) { o.Dir = dir }), DirUnusable)
	}
	for _, name := range []string{"-x", "a b", "0", "$(id)", "Root"} {
		refused(t, call(func(o *Options) { o.User = name }), UserUnknown)
	}
	refused(t, call(func(o *Options) { o.Timeout = 0 }), "run", "a timeout is required")
	refused(t, call(func(o *Options) { o.Program = nil }), "run", "a program is required")
	if _, err := Call[result](t.Context(), h, options("/x"), func() {}, nil); err == nil {
		t.Error("a request that is none")
	}
	_, err := Call[result](t.Context(), h, options("/x"), order{Secret: strings.Repeat("x", maxLine)}, nil)
	refused(t, err, "run", "more than the")
}

// The program of the host: what is not there, empty, not startable, not to be
// had.
func TestPrograms(t *testing.T) {
	t.Parallel()
	dir, files := t.TempDir(), t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(files, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		filepath.Join(files, "none"): "no such file",
		file("empty", ""):            "empty",
		files:                        "is a directory",
		file("interpreter", "#!"+files+"/nowhere\n"):               "exit code 12",
		file("changed", strings.Repeat("x", 1<<20)+"never all of"): "as it was sent",
	} {
		o := options(dir)
		h := here("sh", nil)
		if filepath.Base(path) == "changed" {
			exec := h.Exec
			h.Exec = func(ctx context.Context, s Script) error {
				s.Stdin = &turned{r: s.Stdin, at: 1 << 19}
				return exec(ctx, s)
			}
		}
		o.Program = func(_ context.Context, goos, goarch string) (string, error) { return path, nil }
		_, err := Call[result](t.Context(), h, o, order{}, nil)
		refused(t, err, NoProgram, want)
		empty(t, dir)
	}
	o := options(dir)
	why := verdict.CannotTell("build", "a build", errors.New("no"), "")
	o.Program = func(context.Context, string, string) (string, error) { return "", why }
	if _, err := Call[result](t.Context(), here("sh", nil), o, order{}, nil); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	gone(t, dir, dir)
}

// Whoever cancels waits for what the agent cleans up, and hears of it.
func TestCancel(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	conn := h.dial(h.address)
	dir, base := t.TempDir(), filepath.Join(t.TempDir(), "x")
	why := errors.New("the runner said so")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		eventually(t, "the handler", func() bool { return exists(base + ".started") })
		cancel(why)
	}()
	_, err := Call[result](ctx, over(conn), options(dir), order{Do: "wait", Base: base}, nil)
	if !errors.Is(err, why) || !exists(base+".cleaned") || !strings.Contains(err.Error(), errNobody.Error()) {
		t.Errorf("%v, cleaned %v", err, exists(base+".cleaned"))
	}
	gone(t, dir, dir, h.word, base)
	// Before it starts, too.
	ctx, cancel = context.WithCancelCause(t.Context())
	o := options(dir)
	o.Program = func(ctx context.Context, _, _ string) (string, error) {
		cancel(why)
		<-ctx.Done()
		return "", ctx.Err()
	}
	if _, err := Call[result](ctx, over(conn), o, order{}, nil); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	gone(t, dir, dir, h.word)
	conn.Close()
	_, err = Call[result](t.Context(), over(conn), options(dir), order{}, nil)
	refused(t, err, sshx.ConnectionLost)
}
