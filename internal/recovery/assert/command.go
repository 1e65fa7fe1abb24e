package assert

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"edge-actions/internal/files"
)

// Command is a program of the operator's that looks at the restored
// tree and ends with 0 if it holds. It starts there, with nothing in its
// environment but PATH, HOME, TMPDIR and LANG, and what it prints is thrown
// away.
//
// What it sees: on Linux, where the runner is root or user namespaces are
// allowed, the restored tree (read-only), the system's programs (/usr, /nix/store
// and the like, read-only), itself, and no network. Elsewhere it sees what the
// runner's user sees. The check says which it was.
type Command struct {
	// Argv is the program, as a name on PATH or as an absolute path, and its
	// arguments.
	Argv []string `yaml:"argv"`
	// Timeout is 5m without.
	Timeout string `yaml:"timeout"`
}

func (c *Command) validate(p *problems) {
	p.duration("command.timeout", c.Timeout)
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		p.wrong("command.argv, a program and its arguments", "nothing")
		return
	}
	// A relative path would be taken from the restored tree, and what was
	// restored is looked at and never run.
	if strings.Contains(c.Argv[0], "/") && !filepath.IsAbs(c.Argv[0]) {
		p.wrong("command.argv, which begins with a name on PATH or an absolute path", fmt.Sprintf("%.200q", c.Argv[0]))
	}
	for _, arg := range c.Argv {
		if strings.ContainsRune(arg, 0) {
			p.wrong("command.argv, without NUL bytes", fmt.Sprintf("%.200q", arg))
		}
	}
}

const (
	commandTime  = 5 * time.Minute
	commandGrace = 5 * time.Second
	probeTime    = 15 * time.Second
	// exitNotRun and exitNotFound are a shell's.
	exitNotRun   = 126
	exitNotFound = 127
)

// confinement is one way to run a command, from the closest to none.
type confinement struct {
	says string
	wrap func(argv []string, scratch, temp string) ([]string, error)
}

func (c *Command) judge(ctx context.Context, j *judge) {
	wanted := fmt.Sprintf("exit code 0 from %.200q with %d arguments", c.Argv[0], len(c.Argv)-1)
	program, err := lookPath(c.Argv[0], pathOf(j.tools.Env))
	if err != nil {
		j.cannotTell(CommandExit, wanted, errors.New("no such program on this runner"), "install it, or correct argv")
		return
	}
	if real, err := filepath.EvalSymlinks(program); err != nil || files.Inside(j.tree.dir, real) {
		j.refuse(CommandExit, wanted, "a program that was restored", "what was restored is looked at and never run: name a program of the runner's")
		return
	}
	home := filepath.Join(j.temp, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		j.cannotTell(CommandExit, wanted, files.WithoutPath(err), "see the free space")
		return
	}
	run := &confined{dir: j.tree.dir, grace: commandGrace, env: []string{"PATH=" + pathOf(j.tools.Env), "HOME=" + home, "TMPDIR=" + home, "LANG=C.UTF-8"}}
	how, err := run.closest(ctx, j.temp)
	if err != nil {
		j.cannotTell(CommandExit, wanted, deadlineOf(ctx, err), "run the job again")
		return
	}
	argv, err := how.wrap(append([]string{program}, c.Argv[1:]...), j.tree.dir, j.temp)
	if err != nil {
		j.cannotTell(CommandExit, wanted, files.WithoutPath(err), "see the free space")
		return
	}
	code, size, err := run.run(ctx, argv, orDuration(c.Timeout, commandTime))
	switch {
	case err != nil:
		j.cannotTell(CommandExit, wanted, deadlineOf(ctx, err), "give it a longer timeout, or see why it does not end")
	case code == exitNotRun, code == exitNotFound:
		j.cannotTell(CommandExit, wanted, fmt.Errorf("exit code %d, which a shell has for a program that it could not run; %s", code, how.says), "see whether all that it needs is there for it: it does not see all of this machine")
	case code != 0:
		j.refuse(CommandExit, wanted, fmt.Sprintf("exit code %d and %d bytes of output, which are not shown; %s", code, size, how.says), "run it by hand in a restored tree")
	default:
		j.prove(CommandExit, wanted, fmt.Sprintf("exit code 0 and %d bytes of output; %s", size, how.says))
	}
}

// confined runs children whose output is counted and thrown away.
type confined struct {
	dir   string
	env   []string
	grace time.Duration // between the SIGTERM and the SIGKILL of a deadline
}

// closest is the closest confinement that this machine allows, by trying.
func (r *confined) closest(ctx context.Context, temp string) (confinement, error) {
	for _, c := range confinements() {
		argv, err := c.wrap([]string{"true"}, r.dir, temp)
		if err != nil {
			return confinement{}, err
		}
		if code, _, err := r.run(ctx, argv, probeTime); err == nil && code == 0 {
			return c, nil
		}
		if ctx.Err() != nil {
			return confinement{}, context.Cause(ctx)
		}
	}
	return unconfined(), nil
}

func unconfined() confinement {
	return confinement{
		says: "it could read what the runner's user can read, write to the restored tree and reach the network: this machine takes nothing of that away",
		wrap: func(argv []string, _, _ string) ([]string, error) { return argv, nil },
	}
}

// run runs a child in a group of its own, and ends the group with it: what it
// started has no business after it, nor after us. A child that was ended by a
// signal has the exit code of a shell's.
func (r *confined) run(ctx context.Context, argv []string, timeout time.Duration) (code int, size int64, err error) {
	program, err := lookPath(argv[0], strings.TrimPrefix(r.env[0], "PATH="))
	if err != nil {
		return 0, 0, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no end after %s", timeout))
	defer cancel()
	out := &counter{}
	cmd := exec.CommandContext(limited, program, argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = r.dir, r.env, out, out
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = r.grace
	end, err := tether(cmd)
	if err != nil {
		return 0, 0, err
	}
	err = cmd.Run()
	end()
	var exit *exec.ExitError
	switch {
	case limited.Err() != nil:
		return 0, 0, context.Cause(limited)
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), out.n.Load(), nil
	case errors.As(err, &exit):
		return 128 + int(exit.Sys().(syscall.WaitStatus).Signal()), out.n.Load(), nil
	case errors.Is(err, exec.ErrWaitDelay): // a child of its own kept the output open
		return 0, out.n.Load(), nil
	case err != nil:
		return 0, 0, err
	}
	return 0, out.n.Load(), nil
}

// counter counts what is written to it and keeps nothing.
type counter struct{ n atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

func pathOf(env []string) string {
	for _, kv := range env {
		if value, is := strings.CutPrefix(kv, "PATH="); is {
			return value
		}
	}
	return "/usr/local/bin:/usr/bin:/bin"
}

// lookPath finds a program on the given PATH and not on this process' own.
func lookPath(name, path string) (string, error) {
	if filepath.IsAbs(name) {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", exec.ErrNotFound
}
