package fleet

import (
	"context"
	"errors"
	"time"

	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"
)

// GoingDown is the id of the refusal of a host that is on its way down.
const GoingDown = "going-down"

// pause is between two looks at a node that is on its way up.
const pause = 2 * time.Second

// seen is what a look at a node found: the connection that it left open, what the
// login has answered, and the facts.
type seen struct {
	conn  *sshx.Conn
	way   []verdict.Check
	facts *node.Facts
}

// up logs in on a node and probes it, once it is up. One that does not answer,
// that says it is going down or that goes away meanwhile may be in a reboot, and
// who asked for it may be dead: it is waited for, for about limit. Not so where
// waiting can't help, as with a wrong host key or a refused login. An error is
// that of the last attempt; then no connection is left open.
func (m *Member) up(ctx context.Context, o sshx.Options, limit time.Duration, asked node.Policy, expect node.Expect, log Log) (seen, error) {
	end := time.Now().Add(limit)
	for said := false; ; said = true {
		found, err := m.probe(ctx, o, asked, expect)
		left := time.Until(end).Round(time.Second)
		if err == nil || ctx.Err() != nil || left <= pause || !verdict.Has(err, sshx.Unreachable, sshx.Timeout, sshx.ConnectionLost, GoingDown) {
			return found, err
		}
		if !said {
			log.Logf("%s: %s; it may be in a reboot, and is waited for, %s at most", m.Name, verdict.ChecksOf(err)[0].ID, left)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return found, err
		}
	}
}

func (m *Member) probe(ctx context.Context, o sshx.Options, asked node.Policy, expect node.Expect) (seen, error) {
	c, err := sshx.Dial(ctx, m.Target, o)
	if err != nil {
		return seen{}, err
	}
	f, err := node.Collect(ctx, c, asked.Groups(), expect, probeTimeout)
	if err == nil {
		if state, _ := f.State.Get(); state == "stopping" {
			err = verdict.CannotTell(GoingDown, m.Name+" to be up", errors.New("it is going down (systemctl is-system-running: stopping)"),
				"run it again when the node is back; systemctl list-jobs there says what keeps it")
		}
	}
	if err != nil {
		c.Close()
		return seen{way: m.connected(c)}, err
	}
	return seen{c, m.connected(c), f}, nil
}
