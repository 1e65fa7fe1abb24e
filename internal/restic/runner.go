package restic

import (
	"cmp"
	"context"
	_ "embed" // the script that runs on the host
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/command"
)

// Runner is where restic runs: a Local or a Remote. It takes what has passed
// the gate and nothing else, so nobody else can be one.
type Runner interface {
	run(ctx context.Context, c call) error
	// where and program are for people.
	where() string
	program() string
	// wrapper reports whether the program knows its repository by itself.
	wrapper() bool
}

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

func (l Local) where() string   { return "this machine" }
func (l Local) program() string { return cmp.Or(l.Path, "restic") }
func (l Local) wrapper() bool   { return wraps(l.program()) }

func (l Local) run(ctx context.Context, c call) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, errDeadline)
	defer cancel()
	// What was inherited loses against the call, and restic's own is not
	// inherited even if a caller made the environment himself.
	env := command.Environ(without(l.Env), []string{"*"}, c.environ())
	// restic ends in the same way on the SIGINT of command.Run as on a SIGTERM:
	// it closes what it has open (cmd/restic/cleanup.go).
	return command.Run(ctx, command.Cmd{
		Path: l.program(), Args: c.args, Env: env, Stdout: c.stdout, Stderr: c.stderr,
		Timeout: c.timeout + c.grace, Grace: c.grace,
	})
}

// Script is what a Remote wants to have run: a script for a POSIX sh, with Args
// as "$1" and so on, that may be seen by nobody else on the host. Its stdin has
// to stay open until it ends.
type Script struct {
	Name           string
	Text           string
	Args           []string
	Root           bool
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Timeout        time.Duration
}

// Remote runs restic on a host.
type Remote struct {
	// Host names the host, for people.
	Host string
	// Exec runs a script there to its end. A non-zero exit is a
	// *command.ExitError, as sshx.Conn's Run has it.
	Exec func(ctx context.Context, s Script) error
	// Root runs it as root; User, as that user, for which root is needed.
	Root bool
	User string
	// Program is a name on the host's PATH or an absolute path; "" is restic.
	// A name of the form restic-NAME is a NixOS wrapper.
	Program string
}

//go:embed remote.sh
var remoteScript string

var (
	wrapperName = regexp.MustCompile(`^restic-[A-Za-z0-9_.-]+$`)
	userName    = regexp.MustCompile(`^[a-z_][a-z0-9_-]*\$?$`)
	programName = regexp.MustCompile(`^(/[^/\x00]+)*/?[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

func (r Remote) where() string   { return r.Host }
func (r Remote) program() string { return cmp.Or(r.Program, "restic") }
func (r Remote) wrapper() bool   { return wraps(r.program()) }

// wraps reports whether a program knows its repository by itself.
func wraps(program string) bool { return wrapperName.MatchString(path.Base(program)) }

// exits of remote.sh and of timeout(1)
const (
	exitTimeout = 124
	exitKilled  = 137
)

func (r Remote) run(ctx context.Context, c call) error {
	if !programName.MatchString(r.program()) {
		return fmt.Errorf("running restic on %s: wanted its name or an absolute path, found %q", r.Host, r.Program)
	}
	if r.User != "" && !userName.MatchString(r.User) {
		return fmt.Errorf("running restic on %s: wanted a user's name, found %q", r.Host, r.User)
	}
	variables := command.Environ(nil, nil, c.environ())
	args := slices.Concat(
		[]string{seconds(c.timeout), seconds(c.grace), r.User, strconv.Itoa(len(variables))}, variables,
		[]string{r.program()}, c.args)
	// The host ends restic at the deadline. This is for a connection that hangs.
	const slack = 10 * time.Second
	whole := c.timeout + c.grace + slack
	ctx, cancel := context.WithTimeoutCause(ctx, whole, errDeadline)
	defer cancel()
	// The end of stdin tells the host that nobody waits for restic any more.
	in, alive := io.Pipe()
	defer alive.Close()
	start := time.Now()
	err := r.Exec(ctx, Script{
		Name: "restic " + c.args[0], Text: remoteScript, Args: args, Root: r.Root || r.User != "",
		Stdin: in, Stdout: c.stdout, Stderr: c.stderr, Timeout: whole + slack,
	})
	// A process that was killed for want of memory is 137 too.
	if code := command.Code(err); code == exitTimeout || code == exitKilled && time.Since(start) >= c.timeout {
		return errors.Join(errDeadline, err)
	}
	if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), errDeadline) {
		return errors.Join(errDeadline, err)
	}
	return err
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
