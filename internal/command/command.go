// Package command runs child processes the way an unattended runner needs:
// no stdin, an environment that was chosen and not inherited, a graceful end
// before a hard one, and no wait without a deadline. It refuses a command
// whose environment was left to chance.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Cmd describes one child process.
type Cmd struct {
	Path string // absolute, or a name to find on PATH
	Args []string
	Dir  string
	// Env is the whole environment of the child, as Environ makes it.
	Env []string
	// Stdin is /dev/null when nil: a runner attaches a terminal to ours.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Timeout ends the child with SIGINT, and with SIGKILL after Grace.
	// Both must be set.
	Timeout, Grace time.Duration
}

// ExitError says how a child ended, with the end of what it wrote to stderr.
// That text is foreign: print it quoted or fenced.
type ExitError struct {
	Name   string
	Code   int // -1 when it was ended by a signal
	Signal syscall.Signal
	Stderr string
}

func (e *ExitError) Error() string {
	if e.Code < 0 {
		return fmt.Sprintf("%s was ended by signal %d (%s)", e.Name, int(e.Signal), e.Signal)
	}
	if tail := lastLines(e.Stderr, 6); tail != "" {
		return fmt.Sprintf("%s ended with exit code %d: %q", e.Name, e.Code, tail)
	}
	return fmt.Sprintf("%s ended with exit code %d", e.Name, e.Code)
}

// Run runs the child to its end. A non-zero exit is an *ExitError; a deadline
// or a cancelled context is said as such.
func Run(ctx context.Context, c Cmd) error {
	if c.Env == nil || c.Timeout <= 0 || c.Grace <= 0 {
		return fmt.Errorf("running %s: an environment, a timeout and a grace period are required", path.Base(c.Path))
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, c.Path, c.Args...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout = c.Dir, c.Env, c.Stdin, c.Stdout
	tail := &tailBuffer{max: 16 << 10}
	cmd.Stderr = tail
	if c.Stderr != nil {
		cmd.Stderr = io.MultiWriter(c.Stderr, tail)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = c.Grace
	err := cmd.Run()
	name := path.Base(c.Path)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("running %s: %w", name, context.Cause(ctx))
	case limited.Err() != nil:
		return fmt.Errorf("running %s: no end after %s", name, c.Timeout)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("running %s: %w", name, err)
	}
	out := &ExitError{Name: name, Code: exit.ExitCode(), Stderr: tail.String()}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		out.Signal = ws.Signal()
	}
	return out
}

// Output runs the child and returns its stdout, of at most max bytes.
func Output(ctx context.Context, c Cmd, max int) ([]byte, error) {
	var b capped
	b.max = max
	c.Stdout = &b
	if err := Run(ctx, c); err != nil {
		return nil, err
	}
	if b.over {
		return nil, fmt.Errorf("running %s: more than %d bytes of output", path.Base(c.Path), max)
	}
	return b.b, nil
}

// Code returns the exit code that err carries, or -1.
func Code(err error) int {
	var exit *ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	return -1
}

// Base is the part of an environment that every tool may see. It holds no
// credential: those are added by name by the package that knows the tool.
var Base = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LC_*", "TZ",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE",
}

// Environ picks from the given environment what an allow-list of names names
// ("LC_*" is a prefix), adds what every unattended child needs, and then sets
// the values of set, which win.
func Environ(from, allow []string, set map[string]string) []string {
	out := map[string]string{"NO_COLOR": "1", "GIT_TERMINAL_PROMPT": "0", "PAGER": "cat"}
	for _, kv := range from {
		name, value, _ := strings.Cut(kv, "=")
		if slices.ContainsFunc(allow, func(pattern string) bool { return matches(pattern, name) }) {
			out[name] = value
		}
	}
	for name, value := range set {
		out[name] = value
	}
	env := make([]string, 0, len(out))
	for name, value := range out {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// tailBuffer keeps the last bytes written to it.
type tailBuffer struct {
	mu  sync.Mutex
	b   []byte
	max int
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// capped keeps the first bytes and remembers whether there were more; it goes
// on accepting them, because a closed pipe would kill the child half-way.
type capped struct {
	b    []byte
	max  int
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.max - len(c.b); room < len(p) {
		c.over = true
		c.b = append(c.b, p[:max(room, 0)]...)
		return len(p), nil
	}
	c.b = append(c.b, p...)
	return len(p), nil
}
