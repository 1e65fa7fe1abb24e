package restic

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
)

// restic's exit codes (its manual, "Scripting"); 127 and 126 are a shell's.
const (
	exitNoRepository = 10
	exitLocked       = 11
	exitPassword     = 12
	exitNoProgram    = 127
	exitNotRunnable  = 126
)

var errDeadline = errors.New("the deadline passed")

// failed says what kind of failure it was that ended restic.
func (c *Client) failed(ctx context.Context, subcommand string, err error, said *stderr) error {
	wanted := fmt.Sprintf("restic %s on %s", subcommand, c.repo)
	words := said.words()
	with := func(found string) error {
		if words != "" {
			found += fmt.Sprintf(": %q", words)
		}
		return &ending{text: found, cause: err}
	}
	late := errors.Is(err, errDeadline) || errors.Is(context.Cause(ctx), context.DeadlineExceeded)
	code := command.Code(err)
	switch {
	case verdict.Reason(err) != "run": // the connection's own words
		return err
	case late && unreachable.MatchString(words):
		return verdict.CannotTell(Unreachable, wanted, with("no answer from its server before the deadline"), "look whether the server is up and the location is right")
	case late:
		return verdict.CannotTell(Timeout, wanted, with(fmt.Sprintf("no end after %s", c.options.Timeout)), "look at the repository's server and the way to it, or allow more time")
	case ctx.Err() != nil:
		return fmt.Errorf("running %s: %w", wanted, context.Cause(ctx))
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), code == exitNoProgram, code == exitNotRunnable:
		return verdict.CannotTell(Missing, "restic on this machine", with(fmt.Sprintf("none as %q", c.runner.program())), install)
	case code == exitNoRepository:
		return refuse(NoRepository, wanted, with("no repository there"), "correct the location; a repository that is gone is no backup")
	case code == exitPassword, code == 1 && strings.Contains(words, "an empty password is not allowed"):
		return refuse(Password, wanted, with("a password that does not open it"), "correct the password file")
	case code == exitLocked:
		return verdict.CannotTell(Locked, wanted, with("a lock on it"), "wait for its holder; a stale lock is removed by the repository's owner with restic unlock")
	case code > 0 && unreachable.MatchString(words):
		return verdict.CannotTell(Unreachable, wanted, with("no way to its server"), "look whether the server is up and the location is right")
	case code >= 0:
		return verdict.CannotTell(Failed, wanted, with(fmt.Sprintf("exit code %d", code)), "see restic's words")
	}
	return verdict.CannotTell(Failed, wanted, with(redact(err.Error())), "see restic's words")
}

// ending is how restic ended, in words without a password in them.
type ending struct {
	text  string
	cause error
}

func (e *ending) Error() string { return e.text }
func (e *ending) Unwrap() error { return e.cause }

// refuse is verdict.Refuse that keeps the cause.
func refuse(id, wanted string, err error, hint string) error {
	r := verdict.Refuse(id, wanted, err.Error(), hint)
	r.Err = err
	return r
}

// unreadable is an answer that is not what restic's manual says.
func unreadable(format string, args ...any) error {
	wanted, found := fmt.Sprintf(format, args[:len(args)-1]...), args[len(args)-1]
	err, ok := found.(error)
	if !ok {
		err = fmt.Errorf("%v", found)
	}
	return verdict.CannotTell(Failed, wanted, err, "run the same restic by hand; report it if its answer has changed")
}

// There is one exit code for all of this (1), so the words have to tell.
var unreachable = regexp.MustCompile(`(?i)dial (tcp|udp|unix)|connection (refused|reset|timed out|closed)|no such host|no route to host|network is unreachable|i/o timeout|TLS handshake|unable to start the sftp session|unexpected HTTP response \(5\d\d\)|server misbehaving`)

var password = regexp.MustCompile(`(://[^\s:@/"']*):[^\s"']*@`)

// redact cuts passwords out of locations, and too much rather than too little.
func redact(s string) string { return password.ReplaceAllString(s, "$1:***@") }

// Message is one error that restic reported on its way. Its texts are foreign.
type Message struct {
	Item, During, Text string
}

// stderr collects what restic says beside its answer: messages in JSON, a line
// each, and plain words.
type stderr struct {
	mu       sync.Mutex
	line     []byte
	plain    []string // the last ones
	exit     string   // of exit_error
	messages []Message
	errors   int // how many messages there were
}

// How much is kept of what restic says; the rest is counted.
const (
	maxLine     = 64 << 10
	maxPlain    = 6
	maxMessages = 20
)

func (s *stderr) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		s.line = append(s.line, line[:min(len(line), maxLine-len(s.line))]...)
		if ended {
			s.flush()
		}
		rest = after
	}
	return len(p), nil
}

func (s *stderr) flush() {
	line := strings.TrimSpace(string(s.line))
	s.line = s.line[:0]
	var m struct {
		Type    string `json:"message_type"`
		Message string
		Error   struct{ Message string }
		During  string
		Item    string
	}
	switch {
	case line == "":
	case line[0] == '{' && json.Unmarshal([]byte(line), &m) == nil && m.Type == "exit_error":
		s.exit = m.Message
	case m.Type == "error":
		s.errors++
		if len(s.messages) < maxMessages {
			// restore has it below "error", check has not (0.18).
			s.messages = append(s.messages, Message{Item: m.Item, During: m.During, Text: redact(strings.TrimSpace(cmp.Or(m.Error.Message, m.Message)))})
		}
	default:
		s.plain = append(s.plain, line)
		s.plain = s.plain[max(0, len(s.plain)-maxPlain):]
	}
}

// words is the end of what was said, for an error.
func (s *stderr) words() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	all := slices.Clone(s.plain)
	for _, m := range s.messages[:min(len(s.messages), 3)] {
		all = append(all, strings.TrimSpace(m.Item+" "+m.Text))
	}
	if s.exit != "" {
		all = append(all, s.exit)
	}
	text := redact(strings.Join(all, "; "))
	if len(text) > 1200 {
		text = "…" + text[len(text)-1200:]
	}
	return text
}

// last reports whether text is what restic ended with.
func (s *stderr) last(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	if s.exit != "" {
		return s.exit == text
	}
	return len(s.plain) > 0 && s.plain[len(s.plain)-1] == text
}

// found returns the messages and how many there were.
func (s *stderr) found() ([]Message, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	return s.messages, s.errors
}
