package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"edge-actions/internal/nixos"
	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/verdict"
)

const guardTarget = 3

// change carries one host back and forth between two systems, as
// colmena-deploy does it and without a guard.
type change struct {
	*distance
	host    *lab.Host
	target  sshx.Target
	systems [2]string
	now     int // which of them it is on
}

// guard counts the round trips that the guard adds to a deploy: how much longer
// both kinds take far away, and the difference of that.
func (d *distance) guard() error {
	c := &change{distance: d, host: d.lab.Hosts[1]}
	c.target = sshx.Target{Host: c.host.Name, User: "nixos", HostKeys: []string{c.host.HostKey}, IdentityFiles: []string{d.lab.Key}, Config: d.config}
	for i, label := range []string{"a", "b"} {
		var err error
		if c.systems[i], err = c.host.Build(label, "good"); err != nil {
			return err
		}
	}
	if err := c.plain(c.systems[c.now]); err != nil {
		return err
	}
	// The guard looks ten times a second, and so does who waits for it; what
	// that adds by chance is small against these distances.
	var guarded, plain [2]spread // far away and near
	for range 3 {
		for side, rtt := range []time.Duration{distant, near} {
			for _, kind := range []struct {
				do func(system string) error
				to *spread
			}{{c.guarded, &guarded[side]}, {c.plain, &plain[side]}} {
				c.now = 1 - c.now
				seconds, err := d.away(rtt, func() error { return kind.do(c.systems[c.now]) })
				if err != nil {
					return err
				}
				*kind.to = append(*kind.to, seconds)
				if err := c.settle(); err != nil {
					return err
				}
			}
		}
	}
	ours, theirs := trips(guarded[0], guarded[1]), trips(plain[0], plain[1])
	added := ofPairs(guarded[0], guarded[1])
	for i, n := range ofPairs(plain[0], plain[1]) {
		added[i] -= n
	}
	d.add(row{"round trips of a deploy with a guard", fmt.Sprintf("%.1f", ours), fmt.Sprintf("%.1f (switch, then the probe)", theirs),
		fmt.Sprintf("%+.2f (%+.2f..%+.2f)", ours-theirs, slices.Min(added), slices.Max(added)), fmt.Sprintf("<= +%d", guardTarget), atMost(ours-theirs, guardTarget)})
	d.notef("with %s of round trip a guarded deploy takes %s and a plain one %s", near, guarded[1].seconds(), plain[1].seconds())
	return nil
}

func (c *change) reach(ctx context.Context, limit time.Duration) (*sshx.Conn, error) {
	return sshx.Wait(ctx, c.target, sshx.Options{DialTimeout: 20 * time.Second}, limit)
}

// health is by what a live system is kept.
func (c *change) health(ctx context.Context, conn *sshx.Conn, system string) []verdict.Check {
	policy := node.Policy{Set: []string{node.LiveSystem}}
	for _, id := range node.Running() {
		if id != node.System && id != node.LoaderDefault {
			policy.Set = append(policy.Set, id)
		}
	}
	expect := c.expect(system)
	f, err := node.Collect(ctx, conn, policy.Groups(), expect, time.Minute)
	if err != nil {
		return verdict.ChecksOf(err)
	}
	return policy.Apply(node.Judge(f, expect))
}

func (c *change) expect(system string) node.Expect {
	e := node.DefaultExpect()
	e.Hostname, e.MachineID, e.System, e.Now = c.host.Name, c.host.MachineID, system, time.Now()
	return e
}

// guarded is a deploy as colmena-deploy makes it, from the login on.
func (c *change) guarded(system string) error {
	conn, err := c.reach(c.ctx, time.Minute)
	if err != nil {
		return err
	}
	committed := node.Policy{Set: []string{node.System, node.LoaderDefault}}
	expect := c.expect(system)
	script, args, err := node.Command(committed.Groups(), expect)
	if err != nil {
		conn.Close()
		return err
	}
	a := &nixos.Activation{
		System: system, Goal: nixos.Switch, Reach: c.reach, Logf: func(string, ...any) {},
		Healthy: func(ctx context.Context, conn *sshx.Conn) []verdict.Check { return c.health(ctx, conn, system) },
		After:   append([]string{script}, args...),
		Committed: func(printed []byte) []verdict.Check {
			f, err := node.Parse(printed)
			if err != nil {
				return verdict.ChecksOf(err)
			}
			return committed.Apply(node.Judge(f, expect))
		},
	}
	r := a.Activate(c.ctx, conn, nixos.State{Current: c.systems[1-c.now], Profile: c.systems[1-c.now]})
	if r.Outcome != nixos.Converged {
		return fmt.Errorf("a guarded deploy ended as %s (%s): %+v", r.Outcome, r.Reason, r.Checks)
	}
	return proven("a guarded deploy", r.Checks)
}

// plain is the same without a guard: the profile first, then the switch, and
// the same look at it over a new connection.
func (c *change) plain(system string) error {
	conn, err := c.reach(c.ctx, time.Minute)
	if err != nil {
		return err
	}
	err = conn.Run(c.ctx, sshx.Cmd{
		Name: "the switch", Root: true, Public: true, Args: []string{system}, Timeout: time.Minute,
		Script: `nix-env -p /nix/var/nix/profiles/system --set "$1" && "$1/bin/switch-to-configuration" switch`,
	})
	conn.Close()
	if err != nil {
		return err
	}
	if conn, err = c.reach(c.ctx, time.Minute); err != nil {
		return err
	}
	defer conn.Close()
	return proven("a plain deploy", c.health(c.ctx, conn, system))
}

// settle waits until systemd has put the guard away.
func (c *change) settle() error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		units, err := c.host.Run("systemctl list-units --all --plain --no-legend 'edge-actions-*'")
		if err != nil || units == "" {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("the guard is still there: %s", units)
		}
	}
}
