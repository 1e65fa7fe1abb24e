package fleet

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/agent"
	"edge-actions/internal/sshx"
	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"
)

// Roads are the ways to hosts on which this program itself is to run.
type Roads struct {
	Spec *Spec
	// Dir is a directory on the hosts in which the program runs.
	Dir string
	// Program is what runs there, for a platform.
	Program func(ctx context.Context, goos, goarch string) (string, error)
	Logf    func(format string, args ...any)

	status *tailnet.Status
	closed bool // the tailnet is required, and is not proven
}

// ReadRoads reads the inputs that say how the hosts are reached that from names,
// for the action of that name.
func ReadRoads(in *action.Inputs, a *action.Action, name, from string, hosts []string) *Roads {
	r := &Roads{Spec: ReadHosts(in, a, from, hosts), Dir: in.Text("agent_dir"), Program: agent.Program(name, a.Environ()), Logf: a.Logf}
	if !path.IsAbs(r.Dir) || path.Clean(r.Dir) != r.Dir || strings.Count(r.Dir, "/") < 2 {
		in.Wrong("agent_dir", "an absolute path on the hosts, two levels deep at least", fmt.Sprintf("%q", r.Dir), "correct the input agent_dir")
	}
	return r
}

// Open asks the tailnet, once for all hosts. Without an answer of its none is
// reached.
func (r *Roads) Open(ctx context.Context) []verdict.Check {
	status, checks := r.Spec.tailnetStatus(ctx)
	r.status, r.closed = status, r.Spec.Tailnet != nil && verdict.Of(checks) != verdict.Proven
	return checks
}

// Errand has this program answer a request on a host, as a user there: "" is the
// login. It takes one connection, and leaves nothing behind. The checks are of the
// way to the host. An error is unproven, whatever it was: of what was to be looked
// at nothing was seen.
func Errand[Response, Request any](ctx context.Context, r *Roads, host, user string, timeout time.Duration, request Request) (answer Response, way []verdict.Check, err error) {
	if r.closed {
		return answer, nil, verdict.CannotTell(TailnetPath, "a connection to "+host+" through the tailnet", errors.New("the runner is not on it"), "see the checks of the runner")
	}
	m, wrong := r.Spec.member(host, "", "", 0, r.status)
	if m == nil {
		return answer, nil, unseen(asError(wrong))
	}
	c, err := m.dial(ctx)
	if err != nil {
		return answer, nil, unseen(err)
	}
	defer c.Close()
	way = verdict.About(host, m.connected(c))
	r.Logf("%s: connected", host)
	answer, err = agent.Call[Response](ctx, on(c), agent.Options{Dir: r.Dir, User: user, Program: r.Program, Timeout: timeout}, request, func(line string) { r.Logf("%s: %s", host, line) })
	return answer, way, unseen(err)
}

func unseen(err error) error {
	if err == nil {
		return nil
	}
	checks := verdict.ChecksOf(err)
	for i := range checks {
		checks[i].Verdict = verdict.Unproven
	}
	return asError(checks)
}

// on is how an agent goes over a connection.
func on(c *sshx.Conn) agent.Host {
	return agent.Host{Name: c.Host(), Exec: func(ctx context.Context, s agent.Script) error {
		return c.Run(ctx, sshx.Cmd{Name: s.Name, Script: s.Text, Args: s.Args, Root: s.Root, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Timeout: s.Timeout, Public: true})
	}}
}
