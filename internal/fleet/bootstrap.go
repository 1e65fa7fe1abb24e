package fleet

import (
	"cmp"
	"context"
	"fmt"

	"edge-actions/internal/colmena"
	"edge-actions/internal/nixos"
	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"
)

// Bootstrap is the first deploy of hosts that are NixOS and not yet ours, as
// root unless the spec has a user: nixos-rebuild builds on the host, switches,
// and installs the boot loader anew. There is no system of ours to go back to,
// so it is done node by node, and afterwards the user of the hive has to get in
// and all checks have to hold.
func (d *Deployment) Bootstrap(ctx context.Context) ([]*NodeResult, []verdict.Check, error) {
	d.Goal, d.fresh = nixos.Switch, true
	facts, err := d.evaluate(ctx)
	if err != nil {
		return nil, nil, err
	}
	status, checks := d.Spec.tailnetStatus(ctx)
	if d.Spec.Tailnet != nil && verdict.Of(checks) != verdict.Proven {
		return d.untouched(facts), checks, nil
	}
	out := d.untouched(facts)
	for i, name := range d.Spec.Nodes {
		t := &target{facts: facts[name], result: out[i]}
		if err := d.bootstrap(ctx, t, name, status); err != nil {
			t.fail(err)
		}
		if t.conn != nil {
			t.conn.Close()
		}
		d.Log.Logf("%s: %s", name, t.result.Outcome)
		if !t.result.well() {
			break
		}
	}
	return out, checks, nil
}

func (d *Deployment) bootstrap(ctx context.Context, t *target, name string, status *tailnet.Status) error {
	var wrong []verdict.Check
	user := cmp.Or(d.FirstUser, d.Spec.User, "root")
	if t.Member, wrong = d.Spec.member(name, t.facts.TargetHost, user, t.facts.TargetPort, status); t.Member == nil {
		t.refuse(nixos.Refused, wrong...)
		return nil
	}
	t.Target.User = user
	d.Log.Logf("%s: looking at it before anything is changed", name)
	if d.preflight(ctx, t); t.result.Outcome != nixos.NotTouched {
		return nil
	}
	keys := d.ageKey(ctx, t)
	if len(keys) > 0 && verdict.Of(keys) != verdict.Proven {
		t.refuse(nixos.Refused, keys...)
		return nil
	}
	t.result.Checks = append(t.result.Checks, keys...)
	if done, err := d.booted(ctx, t); err != nil || done {
		return err
	}
	// The hive's own address is often one that only the new system has.
	pins, err := colmena.WriteSSHConfig(d.Dir, []colmena.Pin{{Name: name, Host: t.Target.Host, HostKey: t.conn.HostKey(), IdentityFile: d.Spec.IdentityFile}}, userConfig(d.Spec))
	if err != nil {
		return err
	}
	d.Colmena.SSHConfig = pins
	d.Log.Logf("%s: nixos-rebuild switches it to %s and installs the boot loader", name, t.facts.System)
	t.result.Outcome = nixos.Refused // until it is known better
	failed := d.fenced(func() error { return d.Colmena.Bootstrap(ctx, name, user+"@"+t.Target.Host) })
	// Whatever it said: what counts is what the host is on, seen as the user
	// that remains.
	if d.Spec.User == "" && t.facts.TargetUser != "" {
		t.Target.User = t.facts.TargetUser
	}
	t.conn.Close()
	c, err := t.reach(ctx, d.Times.Defaults().Recover)
	if err != nil {
		t.result.Outcome, t.result.Reason = nixos.Unreachable, "bootstrap"
		t.result.Checks = append(append(t.result.Checks, verdict.ChecksOf(err)...), verdict.ChecksOf(failed)...)
		return nil
	}
	t.conn = c
	before := t.before
	looked := d.look(ctx, t, c, d.Policy)
	t.result.Checks = append(append(t.result.Checks, looked...), verdict.ChecksOf(failed)...)
	now, err := nixos.Look(ctx, c)
	if err != nil {
		return err
	}
	t.result.SystemPath, t.result.Generation, t.result.Changed = now.Current, now.Generation, now != before
	switch {
	case now.Current == t.facts.System && now.Profile == t.facts.System && failed == nil:
		t.result.Outcome = nixos.Converged
	case now.Current != now.Profile:
		t.result.Outcome, t.result.Reason = nixos.LiveNotCommitted, "bootstrap"
	case now.Current == before.Current:
		t.result.Outcome, t.result.Reason = nixos.Refused, "bootstrap"
	default:
		t.result.Outcome, t.result.Reason = nixos.LiveNotCommitted, "bootstrap"
		t.result.Checks = append(t.result.Checks, verdict.Refuse("system-live", "the system "+t.facts.System, fmt.Sprintf("%.200q", now.Current), "run it again").Check)
	}
	return nil
}

// booted reports whether an earlier run came to the end: the host is on its
// first system, boots it, and lets in who remains.
func (d *Deployment) booted(ctx context.Context, t *target) (bool, error) {
	if t.before.Current != t.facts.System || t.before.Profile != t.facts.System || t.facts.TargetUser != "" && t.Target.User != t.facts.TargetUser {
		return false, nil
	}
	checks := d.look(ctx, t, t.conn, d.Policy)
	if verdict.Of(checks) != verdict.Proven {
		return false, nil // whatever is missing: switching again is what mends it
	}
	t.result.Outcome, t.result.Checks = nixos.Unchanged, append(t.result.Checks, checks...)
	return true, nil
}
