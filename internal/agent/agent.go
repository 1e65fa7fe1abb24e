// Package agent runs this very program on a host, for as long as one call
// takes. What has to be done where the data is (its wrappers, its owners, its
// file systems) is then the same Go code as on the runner, and not a second
// implementation in shell. The program goes through the SSH connection that is
// there anyway, is compared with its SHA-256, has no name on any disk once it
// runs, and ends when nobody waits for it any more. The package refuses to run
// anything but what it sent, and to believe an answer that is not exactly one.
package agent

import (
	"context"
	_ "embed" // the script that runs on the host
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"edge-actions/internal/verdict"
)

// The ids of the refusals of this package.
const (
	// PlatformUnknown: the host is no Linux on a processor that we build for.
	PlatformUnknown = "agent-platform"
	// ToolsMissing: the host lacks a program that every Linux has.
	ToolsMissing = "agent-tools"
	// UserUnknown: the host does not know the user that it is to run as.
	UserUnknown = "agent-user"
	// DirUnusable: Options.Dir is not safe, can't be made, or is noexec.
	DirUnusable = "agent-dir"
	// NoSpace: the program could not be written there.
	NoSpace = "agent-space"
	// NoProgram: there is no program for the host, or it did not arrive as it
	// was sent, or could not be started.
	NoProgram = "agent-program"
	// Timeout: there was no answer before the deadline.
	Timeout = "agent-timeout"
	// BadAnswer: what came back is not one answer.
	BadAnswer = "agent-answer"
	// Panicked: a defect in what ran on the host.
	Panicked = "agent-panic"
)

// Script is what a Host runs: a script for a POSIX sh, with Args as "$1" and so
// on. Its Stdin stays open for as long as somebody waits for its end.
type Script struct {
	Name           string
	Text           string
	Args           []string
	Root           bool
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Timeout        time.Duration
}

// Host is where the agent runs.
type Host struct {
	// Name names the host, for people.
	Name string
	// Exec runs a script there to its end, or to that of the context. A non-zero
	// exit is a *command.ExitError, as sshx.Conn's Run has it.
	Exec func(ctx context.Context, s Script) error
}

// Options say how the agent runs.
type Options struct {
	// Dir is an absolute path on the host, of a directory of root's or of the
	// login's that nobody else can write to, except with the sticky bit. The
	// program is in it until it runs. It is made, with mode 0700, and then it
	// stays, if it is not there.
	Dir string
	// User is who it runs as: "" is the login; anybody else needs root.
	User string
	// Program returns the path of the program for a platform. Program, the
	// function, is the usual one.
	Program func(ctx context.Context, goos, goarch string) (string, error)
	// Timeout is for all of the call, the making of the program included. It
	// must be set.
	Timeout time.Duration
	// Grace is for the agent to clean up in once nobody waits for its answer any
	// more, 30 s if zero. After it, it is killed.
	Grace time.Duration
}

//go:embed agent.sh
var script string

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]*\$?$`)

// slack is what a host gets on top of what it was told, so that its own words
// come first.
const slack = 5 * time.Second

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Timeout <= 0:
		return o, errors.New("running an agent: a timeout is required")
	case o.Program == nil:
		return o, errors.New("running an agent: a program is required")
	case !path.IsAbs(o.Dir) || path.Clean(o.Dir) != o.Dir || o.Dir == "/" || strings.ContainsFunc(o.Dir, unicode.IsControl):
		return o, verdict.CannotTell(DirUnusable, "a clean absolute path of a directory on the host", fmt.Errorf("%q", o.Dir), "name a directory for it, as /var/lib/edge-actions")
	case o.User != "" && !userName.MatchString(o.User):
		return o, verdict.CannotTell(UserUnknown, "a user's name", fmt.Errorf("%q", o.User), "name a user of the host")
	}
	if o.Grace <= 0 {
		o.Grace = 30 * time.Second
	}
	return o, nil
}

// Call has an agent on the host answer a request. Each line that it logs goes
// to logf: foreign text, but of one line of bounded length. An error of the
// handler's comes back as the refusals that it carried. When ctx ends, the agent
// is told so and given Options.Grace to clean up in before Call returns.
func Call[Response any](ctx context.Context, h Host, o Options, request any, logf func(line string)) (Response, error) {
	var none, response Response
	raw, err := call(ctx, h, o, request, logf)
	if err != nil {
		return none, fmt.Errorf("running an agent on %s: %w", h.Name, err)
	}
	if err := json.Unmarshal(raw, &response); err != nil {
		return none, fmt.Errorf("running an agent on %s: %w", h.Name, badAnswer(fmt.Sprintf("one of another form (%q)", err.Error())))
	}
	return response, nil
}

func call(ctx context.Context, h Host, o Options, request any, logf func(string)) (json.RawMessage, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if len(body) > maxLine/2 {
		return nil, fmt.Errorf("a request of %d bytes is more than the %d that an agent takes", len(body), maxLine/2)
	}
	errLate := verdict.CannotTell(Timeout, fmt.Sprintf("an answer of the agent on %s within %s", h.Name, o.Timeout), errors.New("none"),
		fmt.Sprintf("allow more time, or see what keeps the host busy; whatever ran there was told to end, and is killed after another %s", o.Grace))
	limited, cancel := context.WithTimeoutCause(ctx, o.Timeout, errLate)
	defer cancel()
	// The end of the context is the end of stdin on the host first.
	session, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	in, out := io.Pipe()
	t := newTalk(h.Name, logf)
	defer t.close()
	whole := o.Timeout + o.Grace + 2*slack
	ended, fed := make(chan error, 1), make(chan error, 1)
	go func() {
		err := h.Exec(session, Script{
			Name: "the agent", Text: script, Args: []string{o.Dir, o.User, seconds(whole)}, Root: o.User != "",
			Stdin: in, Stdout: t, Timeout: whole,
		})
		in.Close() // nobody reads any more
		ended <- err
	}()
	go func() {
		if err := t.feed(limited, o, body, out); err != nil {
			fed <- err
			out.Close()
		}
	}()
	var said error
	hung := false
	select {
	case said = <-ended:
	case <-limited.Done():
		said, hung = farewell(out, ended, hangUp, o.Grace)
	case <-t.broken:
		said, hung = farewell(out, ended, hangUp, o.Grace)
	}
	t.close()
	// An answer that is whole is one, even if it came in the last moment.
	answer, err := t.outcome(said)
	if err == nil && !hung {
		return answer, nil
	}
	select {
	case err := <-fed:
		return nil, err
	default:
	}
	if cause := context.Cause(limited); cause != nil {
		if hung || t.silent() && !lost(said) {
			return nil, cause
		}
		return nil, errors.Join(cause, without(err, Timeout))
	}
	return nil, err
}

// without leaves out what the host says of the same deadline.
func without(err error, id string) error {
	if !verdict.Has(err, id) {
		return err
	}
	var rest []error
	for _, c := range verdict.ChecksOf(err) {
		if c.ID != id {
			rest = append(rest, &verdict.Refusal{Check: c})
		}
	}
	return errors.Join(rest...)
}

// farewell tells the host that nobody waits any more, and leaves it the time to
// clean up in.
func farewell(out *io.PipeWriter, ended <-chan error, hangUp func(), grace time.Duration) (said error, hung bool) {
	out.Close()
	select {
	case said = <-ended:
		return said, false
	case <-time.After(grace + slack):
	}
	hangUp()
	select {
	case said = <-ended:
	case <-time.After(slack):
	}
	return said, true
}

// lost reports whether an Exec failed by itself, and not the script.
func lost(said error) bool { return said != nil && verdict.Reason(said) != "run" }

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
