package restic

import (
	"cmp"
	"context"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/command"
)

// call is one command that has passed the gate.
type call struct {
	args           []string
	env            map[string]string // besides what the place has
	stdout, stderr io.Writer
	timeout, grace time.Duration
}

// environ is the call's own part of the environment. Progress comes once a
// second and not 60 times, which is what restic does for JSON.
func (c call) environ() map[string]string {
	env := map[string]string{"RESTIC_PROGRESS_FPS": "1"}
	for name, value := range c.env {
		env[name] = value
	}
	return env
}

// Local runs restic on this machine. Path is a name to find on PATH or an
// absolute one; "" is restic. A name of the form restic-NAME is a NixOS wrapper.
// Env is what Environ picked.
type Local struct {
	Path string
	Env  []string
	// Nice gives way to whatever else the machine does (nice(1)).
	Nice bool
}

// Environ picks what restic may see: nothing of the job's, none of restic's own
// variables (RESTIC_HOST would hide snapshots), and those of a cloud's or of
// rclone's only by name ("AWS_*").
func Environ(from []string, also ...string) []string {
	return without(command.Environ(from, slices.Concat(command.Base, []string{"SSH_AUTH_SOCK"}, also), nil))
}

func without(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, "RESTIC_") })
}

func (l Local) program() string { return cmp.Or(l.Path, "restic") }
func (l Local) wrapper() bool   { return Wraps(l.program()) }

func (l Local) run(ctx context.Context, c call) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errDeadline)
	defer cancel()
	// What was inherited loses against the call, and restic's own is not
	// inherited even if a caller made the environment himself.
	env := command.Environ(without(l.Env), []string{"*"}, c.environ())
	// restic ends in the same way on the SIGINT of command.Run as on a SIGTERM:
	// it closes what it has open (cmd/restic/cleanup.go).
	cmd := command.Cmd{
		Path: l.program(), Args: c.args, Env: env, Stdout: c.stdout, Stderr: c.stderr,
		Timeout: c.timeout + c.grace, Grace: c.grace,
	}
	if l.Nice { // it becomes the program, and ends with 126 or 127 if it can't
		cmd.Path, cmd.Args = "nice", append([]string{"-n", "10", l.program()}, c.args...)
	}
	return command.Run(ctx, cmd)
}

var wrapperName = regexp.MustCompile(`^restic-[A-Za-z0-9_.-]+$`)

// Wraps reports whether a program knows its repository by itself: NixOS'
// restic-NAME does.
func Wraps(program string) bool { return wrapperName.MatchString(path.Base(program)) }
