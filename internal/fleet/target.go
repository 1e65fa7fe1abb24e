package fleet

import (
	"context"
	"strings"
	"time"

	"edge-actions/internal/colmena"
	"edge-actions/internal/nixos"
	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"
)

// target is one node on its way.
type target struct {
	*Member
	facts   colmena.Facts
	before  nixos.State
	failing []string // units that failed before
	// ready is until when it may take to be so; zero if it was booted long ago.
	ready  time.Time
	conn   *sshx.Conn
	result *NodeResult
}

// is reports whether the node is what the hive says already.
func (t *target) is(goal nixos.Goal) bool {
	return t.before.Profile == t.facts.System && (t.before.Current == t.facts.System || goal == nixos.Boot)
}

// again sees that there is a connection: a build can take longer than one
// lasts.
func (t *target) again(ctx context.Context) error {
	if t.conn.Alive() {
		return nil
	}
	c, err := t.reach(ctx, t.spec.Connect)
	if err == nil {
		t.conn = c
	}
	return err
}

func (t *target) record(r *nixos.Result) {
	t.result.Outcome, t.result.Reason = r.Outcome, r.Reason
	t.result.SystemPath, t.result.Generation = r.State.Current, r.State.Generation
	t.result.PreviousSystemPath = r.Previous
	t.result.Changed = r.Outcome == nixos.Converged || r.State.Current != t.before.Current || r.State.Profile != t.before.Profile
	t.result.Checks = append(t.result.Checks, r.Checks...)
}

// refuse records that a node is not fit, with what does not hold.
func (t *target) refuse(o nixos.Outcome, checks ...verdict.Check) {
	t.result.Outcome = o
	for _, c := range checks {
		if c.Verdict != verdict.Proven && c.Waived == "" && t.result.Reason == "" {
			t.result.Reason = c.ID
		}
	}
	t.result.Checks = append(t.result.Checks, checks...)
}

// fail records why a node can't be reached or used.
func (t *target) fail(err error) {
	o := nixos.Refused
	if verdict.Has(err, sshx.Unreachable, sshx.Timeout, sshx.ConnectionLost, GoingDown) {
		o = nixos.Unreachable
	}
	t.refuse(o, verdict.ChecksOf(err)...)
}

func named(targets []*target) []string {
	var out []string
	for _, t := range targets {
		out = append(out, t.Name)
	}
	return out
}

func list(targets []*target) string { return strings.Join(named(targets), ", ") }
