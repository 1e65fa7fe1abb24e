package sshx

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// Cmd is one script on the host.
type Cmd struct {
	// Name says what it does, in errors.
	Name string
	// Script is for a POSIX sh, with Args as "$1" and so on, and with sshd's
	// SSH_CONNECTION, as root too. An empty Script runs Args as a command.
	Script string
	Args   []string
	// Root runs the script as root: through sudo, which must not ask for
	// anything, unless the login is root's. A refusal of sudo's is SudoRefused.
	Root bool
	// Public says that the script and its arguments may be seen by everybody on
	// the host. Without stdin they then go with the request itself, which spares
	// a round trip.
	Public bool
	// Stdin is what the script may read: nothing if nil. If it fails, or the
	// connection breaks, the script sees its end too early and Run fails.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Timeout must be set. After it the script's processes get a SIGTERM, if
	// the host's sshd passes it on (it does not for root: "session signalling
	// requires privilege separation", OpenSSH 9.2), and the session is closed.
	// A script that must end has to see to that itself.
	Timeout time.Duration
}

// The command line is one of these constants, in words that every login shell
// reads the same: no value is pasted into it, and none shows in the host's
// process list. Script and arguments come over stdin, after their length. dd
// reads no byte more, so the rest of stdin is the script's. The mark at the end
// tells that all of it came: half a script must not run ("rm -rf /srv/old" cut
// after "/srv").
const (
	remote = `exec sh -c '` + take + judge + `' sh`
	// sudo clears the environment, so what is wanted of it goes along.
	remoteRoot = `exec ` + asRoot + ` sh '` + connection + take + judge + `'`
	// The same for a program that stands in the command line itself, in base64,
	// which no shell reads as anything but a word: sshd opens the window for
	// stdin only when the command runs (OpenSSH, session.c), a round trip later.
	inline     = ` | base64 -d | sh -c '` + takeAll + judge + `' sh`
	inlineRoot = ` | base64 -d | ` + asRoot + ` sh '` + connection + takeAll + judge + `'`

	asRoot     = `sh -c 'if test "$(id -u)" = 0; then exec sh -c "$1" sh "$SSH_CONNECTION"; else exec sudo -n -- sh -c "$1" sh "$SSH_CONNECTION"; fi'`
	connection = `SSH_CONNECTION=$1; shift; `
	take       = `read -r n && s=$(dd bs=1 count="$n" 2>/dev/null)`
	takeAll    = `s=$(cat)`
	judge      = ` && case $s in *"` + mark + `") eval "$s";; *) echo "the script was cut off on its way and was not run" >&2; exit 255;; esac`
	mark       = "#edge-actions:end"
)

// maxInline keeps a command line below the 128 KiB that Linux takes as one
// argument.
const maxInline = 90_000

// call is what a command is asked for with, and what goes over stdin first.
func (cmd Cmd) call(program string) (line, stdin string) {
	if cmd.Public && cmd.Stdin == nil && len(program) < maxInline {
		line = inline
		if cmd.Root {
			line = inlineRoot
		}
		return "printf %s " + base64.StdEncoding.EncodeToString([]byte(program)) + line, ""
	}
	line = remote
	if cmd.Root {
		line = remoteRoot
	}
	return line, fmt.Sprintf("%d\n%s", len(program), program)
}

// endGrace is for the remote end to go after it was told to.
const endGrace = 2 * time.Second

// Run runs a script to its end. A non-zero exit is a *command.ExitError, with
// the end of what came over stderr; that text is foreign. A connection that
// broke is a refusal: the script may still be running.
func (c *Conn) Run(ctx context.Context, cmd Cmd) error {
	name := fmt.Sprintf("%s on %s", cmp.Or(cmd.Name, "a script"), c.host)
	if cmd.Timeout <= 0 {
		return fmt.Errorf("running %s: a timeout is required", name)
	}
	program, err := cmd.program()
	if err != nil {
		return fmt.Errorf("running %s: %w", name, err)
	}
	limited, cancel := context.WithTimeout(ctx, cmd.Timeout)
	defer cancel()
	late := func() error {
		if ctx.Err() != nil {
			return fmt.Errorf("running %s: %w", name, context.Cause(ctx))
		}
		return fmt.Errorf("running %s: no end after %s; it may still be running there", name, cmd.Timeout)
	}
	select {
	case c.slots <- struct{}{}:
	case <-limited.Done():
		return late()
	case <-c.done:
		return c.lost()
	}
	tail := &tail{max: 16 << 10}
	stdout, stderr := &gate{w: cmp.Or(cmd.Stdout, io.Discard)}, &gate{w: io.MultiWriter(cmp.Or(cmd.Stderr, io.Discard), tail)}
	// What is still under way when we return must not write to the caller's.
	defer stdout.close()
	defer stderr.close()

	ended, opened := make(chan error, 1), make(chan ssh.Channel, 1)
	go func() {
		defer func() { <-c.slots }()
		ended <- c.session(opened, cmd, program, stdout, stderr)
	}()
	select {
	case err = <-ended:
	case <-limited.Done():
		go func() {
			select {
			case ch := <-opened:
				ch.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{string(ssh.SIGTERM)})) //nolint:errcheck // the session is closed next
				ch.Close()
				opened <- ch
			case <-c.done:
			}
		}()
		select {
		case <-ended: //nolint:errcheck // whatever it is, it came too late
		case <-time.After(endGrace):
		}
		return late()
	}
	return c.outcome(name, err, tail)
}

// Output runs a script and returns its stdout, of at most max bytes.
func (c *Conn) Output(ctx context.Context, cmd Cmd, max int) ([]byte, error) {
	b := &head{max: max}
	cmd.Stdout = b
	if err := c.Run(ctx, cmd); err != nil {
		return nil, err
	}
	if b.over {
		return nil, fmt.Errorf("running %s on %s: more than %d bytes of output", cmp.Or(cmd.Name, "a script"), c.host, max)
	}
	return b.b, nil
}

func (c *Conn) outcome(name string, err error, tail *tail) error {
	if err == nil {
		return nil
	}
	var e *exit
	if errors.As(err, &e) {
		if e.signal == "" {
			if e.code == 1 && strings.HasPrefix(tail.String(), "sudo: ") {
				return verdict.Refuse(SudoRefused, fmt.Sprintf("sudo without a password for %s", name), fmt.Sprintf("%.300q", tail.String()),
					"let the login user run sudo with NOPASSWD on the host (security.sudo.wheelNeedsPassword = false), or log in as a user who may")
			}
			return &command.ExitError{Name: name, Code: int(e.code), Stderr: tail.String()}
		}
		if signal, ok := signals[e.signal]; ok {
			return &command.ExitError{Name: name, Code: -1, Signal: signal, Stderr: tail.String()}
		}
		return fmt.Errorf("%s was ended by signal %q", name, e.signal)
	}
	// The session may notice before the connection does.
	select {
	case <-c.done:
		return c.lost()
	case <-time.After(time.Second):
	}
	return fmt.Errorf("running %s: %w", name, foreign(err))
}

// signals are the names of RFC 4254, section 6.10.
var signals = map[string]syscall.Signal{
	"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP, "ILL": syscall.SIGILL,
	"INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE, "QUIT": syscall.SIGQUIT, "SEGV": syscall.SIGSEGV,
	"TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

// program is what goes over stdin: the arguments, the script, the mark.
func (cmd Cmd) program() (string, error) {
	script := cmd.Script
	if script == "" {
		if len(cmd.Args) == 0 {
			return "", errors.New("there is neither a script nor a command")
		}
		script = `exec "$@"`
	}
	for _, s := range append([]string{script}, cmd.Args...) {
		// A shell holds no zero byte; and the mark may be at the end only.
		if strings.Contains(s, "\x00") || strings.Contains(s, mark) {
			return "", fmt.Errorf("a script or an argument holds a zero byte or %q", mark)
		}
	}
	// "set --" with no words after it would still set none: $@ is empty.
	return "set --" + quote(cmd.Args) + "\n" + script + "\n" + mark, nil
}

// quote renders words for a POSIX shell, each after a space.
func quote(words []string) string {
	var b strings.Builder
	for _, word := range words {
		b.WriteString(" '" + strings.ReplaceAll(word, "'", `'\''`) + "'")
	}
	return b.String()
}

// gate stops passing on what is written once it is closed.
type gate struct {
	mu     sync.Mutex
	w      io.Writer
	closed bool
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, errClosed
	}
	return g.w.Write(p)
}

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
}

// tail keeps the last bytes written to it.
type tail struct {
	b   []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - t.max; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }

// head keeps the first bytes and remembers whether there were more.
type head struct {
	b    []byte
	max  int
	over bool
}

func (h *head) Write(p []byte) (int, error) {
	room := max(h.max-len(h.b), 0)
	h.over = h.over || room < len(p)
	h.b = append(h.b, p[:min(room, len(p))]...)
	return len(p), nil
}
