// Package tailnet asks the tailscale command line what it knows of a tailnet:
// whether a node is on it, who its peers are, and whether one of them answers.
// It refuses to take presence for reachability, a host's own name for its
// identity, and an answer that it could not read for a good one.
package tailnet

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
)

// The ids of the refusals and checks of this package.
const (
	// ToolMissing: there is no tailscale command line here.
	ToolMissing = "tool-missing"
	// NoStatus: tailscaled did not answer, or not with a status.
	NoStatus = "tailnet-status"
	// State: whether tailscaled is running on a tailnet.
	State = "tailnet-state"
	// Online: whether the node itself is connected to the control plane.
	Online = "tailnet-online"
	// Key: whether the node's key is valid, and for long enough.
	Key = "tailnet-key"
	// Health: whether tailscaled has nothing to complain about.
	Health = "tailnet-health"
	// NoPeer: no node has this name, or more than one.
	NoPeer = "tailnet-peer"
	// NoReply: the peer is known and did not answer.
	NoReply = "tailnet-ping"
)

const install = "install Tailscale (https://tailscale.com/download; macOS: brew install tailscale), or give the path of its command line"

// macApp is where the macOS app keeps the command line; it puts none on PATH.
const macApp = "/Applications/Tailscale.app/Contents/MacOS/Tailscale"

// CLI is the tailscale command line with the tailscaled that it speaks to.
type CLI struct {
	Path   string
	Socket string // of tailscaled; "" is the platform's own
	// Env is the whole environment, as Environ makes it.
	Env     []string
	Timeout time.Duration // of each command but ping, which has its own
}

// Find returns the path of the command line: name, if that is not empty, else
// "tailscale" on PATH, else the one in the macOS app.
func Find(name string) (string, error) { return find(name, runtime.GOOS, macApp) }

func find(name, goos, app string) (string, error) {
	places := []string{name}
	if name == "" {
		places = []string{"tailscale"}
		if goos == "darwin" {
			places = append(places, app)
		}
	}
	for _, place := range places {
		path, err := exec.LookPath(place)
		if err != nil {
			continue
		}
		if path, err = filepath.Abs(path); err != nil {
			return "", err
		}
		// The app's binary looks for its bundle around itself and aborts behind
		// a link (tailscale/tailscale#11510).
		if real, err := filepath.EvalSymlinks(path); err == nil && strings.Contains(real, ".app/Contents/MacOS/") {
			path = real
		}
		return path, nil
	}
	return "", verdict.CannotTell(ToolMissing, "the command line of Tailscale", fmt.Errorf("none as %q", places), install)
}

// Environ picks what the command line may see: nothing of the job's, and none
// of the TS_ variables that would have changed what it does.
func Environ(from []string) []string {
	// The macOS app's binary opens a window unless its environment looks like
	// that of a shell, and that of a runner's daemon does not
	// (tailscale/tailscale#7140).
	return command.Environ(from, command.Base, map[string]string{"TAILSCALE_BE_CLI": "1"})
}

// Status asks tailscaled for its status, with all peers.
func (c *CLI) Status(ctx context.Context) (*Status, error) {
	out := &output{max: maxStatus + 1}
	err := command.Run(ctx, c.cmd(c.Timeout, out, "status", "--json"))
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("asking tailscaled for its status: %w", context.Cause(ctx))
	case err != nil:
		return nil, noAnswer(err, out.String())
	}
	return ParseStatus(out.b)
}

func (c *CLI) cmd(limit time.Duration, out *output, args ...string) command.Cmd {
	if c.Socket != "" {
		args = append([]string{"--socket=" + c.Socket}, args...)
	}
	return command.Cmd{Path: c.Path, Args: args, Env: c.Env, Stdout: out, Timeout: limit, Grace: 2 * time.Second}
}

// noAnswer says why the command line gave no status. It has no exit code for
// each reason, only words; and some of them are on stdout.
func noAnswer(err error, stdout string) error {
	hint := "see what tailscale status says on that machine, as the same user"
	if exit := (*command.ExitError)(nil); errors.As(err, &exit) {
		said := exit.Stderr
		if strings.TrimSpace(said) == "" {
			said = stdout
			err = fmt.Errorf("%w: %.300q", err, strings.TrimSpace(stdout))
		}
		switch lower := strings.ToLower(said); {
		case strings.Contains(lower, "access denied"), strings.Contains(lower, "permission denied"):
			hint = "let this user ask tailscaled (the mode of its socket; tailscale set --operator=USER)"
		case strings.Contains(lower, "failed to connect to local tailscale"):
			hint = "start it (Linux: systemctl start tailscaled; macOS: open the Tailscale app, or brew services start tailscale)"
		}
	}
	return verdict.CannotTell(NoStatus, "tailscaled to answer", err, hint)
}

// output keeps the first bytes of what a child says. It takes the rest too: a
// closed pipe would change how the child ends.
type output struct {
	max  int
	seen func(all []byte) // called with what is kept, as it grows; may be nil
	mu   sync.Mutex
	b    []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, p[:min(len(p), o.max-len(o.b))]...)
	if o.seen != nil {
		o.seen(o.b)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b)
}
