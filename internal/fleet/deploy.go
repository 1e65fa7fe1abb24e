package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/colmena"
	"edge-actions/internal/nixos"
	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"
)

// Deployment is what is to be done with the nodes of a spec.
type Deployment struct {
	Spec    *Spec
	Colmena *colmena.CLI
	Goal    nixos.Goal
	Times   nixos.Times
	// Boot is how long a node that does not answer is waited for, and how long
	// one may take from its boot until it is ready. 0 does not wait.
	Boot time.Duration
	// Expect and Policy are the health by which a system is kept. Which
	// machine and which system is added for each node.
	Expect node.Expect
	Policy node.Policy
	// AgeKey is staged on each node, unless it is nil; AgeRecipient is whose
	// key must be there, "" if nobody says so.
	AgeKey        *nixos.AgeKey
	AgeRecipient  string
	ReplaceAgeKey bool
	// FirstUser is who a first deploy logs in as, before the user of the hive
	// can: the spec's user or root if empty.
	FirstUser string
	// Canary is the node that goes first; "" is the first one that changes.
	Canary string
	// UploadKeys uploads Colmena's deployment.keys before the activation.
	UploadKeys bool
	// Dir is for the files of this run.
	Dir string
	Log Log

	fresh bool // the nodes may not have got their names yet
}

// Deploy carries the nodes to the systems that the hive says they should be.
// All of them are looked at before anything is changed; then the canary is
// activated, then the others in batches, until one is not well. The results
// are in the order of the spec's nodes. An error concerns all of them.
func (d *Deployment) Deploy(ctx context.Context) ([]*NodeResult, []verdict.Check, error) {
	facts, err := d.evaluate(ctx)
	if err != nil {
		return nil, nil, err
	}
	status, checks := d.Spec.tailnetStatus(ctx)
	if d.Spec.Tailnet != nil && verdict.Of(checks) != verdict.Proven {
		return d.untouched(facts), checks, nil
	}
	targets := make([]*target, len(d.Spec.Nodes))
	for i, name := range d.Spec.Nodes {
		t := &target{facts: facts[name], result: &NodeResult{Name: name, Outcome: nixos.NotTouched, WantedSystemPath: facts[name].System}}
		targets[i] = t
		var wrong []verdict.Check
		if t.Member, wrong = d.Spec.member(name, t.facts.TargetHost, t.facts.TargetUser, t.facts.TargetPort, status); t.Member == nil {
			t.refuse(nixos.Refused, wrong...)
		}
	}
	defer func() {
		for _, t := range targets {
			if t.conn != nil {
				t.conn.Close()
			}
		}
	}()
	d.Log.Logf("looking at %s before anything is changed", strings.Join(d.Spec.Nodes, ", "))
	each(targets, d.Spec.Parallel, func(t *target) {
		if t.Member != nil {
			d.preflight(ctx, t)
		}
	})
	if slices.ContainsFunc(targets, func(t *target) bool { return t.result.Outcome != nixos.NotTouched }) {
		d.Log.Logf("not all nodes are fit to be deployed, so none is")
		return results(targets), checks, nil
	}
	if err := d.change(ctx, targets); err != nil {
		return results(targets), checks, err
	}
	return results(targets), checks, nil
}

func results(targets []*target) []*NodeResult {
	var out []*NodeResult
	for _, t := range targets {
		out = append(out, t.result)
	}
	return out
}

func (d *Deployment) untouched(facts map[string]colmena.Facts) []*NodeResult {
	var out []*NodeResult
	for _, name := range d.Spec.Nodes {
		out = append(out, &NodeResult{Name: name, Outcome: nixos.NotTouched, WantedSystemPath: facts[name].System})
	}
	return out
}

// evaluate asks the hive, and refuses what Colmena would pass over in silence.
func (d *Deployment) evaluate(ctx context.Context) (map[string]colmena.Facts, error) {
	d.Log.Logf("evaluating the hive for %s", strings.Join(d.Spec.Nodes, ", "))
	w := d.Log.Fence("colmena")
	d.Colmena.Log = w
	facts, err := d.Colmena.Eval(ctx, d.Spec.Nodes)
	w.Close()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range d.Spec.Nodes {
		f := facts[name]
		if f.TargetHost == "" {
			errs = append(errs, verdict.Refuse("selection", "a deployment.targetHost for "+name, "none, and Colmena would pass over the node in silence", "set it in the hive"))
		}
		if err := nixos.CheckSystemPath(f.System); err != nil {
			errs = append(errs, verdict.Refuse("evaluation", "the path of "+name+"'s system", err.Error(), "see what the hive evaluates to"))
		}
	}
	return facts, errors.Join(errs...)
}

// change pushes what changes and takes the nodes batch by batch.
func (d *Deployment) change(ctx context.Context, targets []*target) error {
	var changing, same []*target
	for _, t := range targets {
		if t.is(d.Goal) {
			same = append(same, t)
		} else {
			changing = append(changing, t)
		}
	}
	pins, err := d.pin(changing)
	if err != nil {
		return err
	}
	if len(changing) > 0 {
		d.Log.Logf("building and pushing to %s", list(changing))
		d.Colmena.SSHConfig = pins
		if err := d.fenced(func() error { return d.Colmena.Push(ctx, named(changing), d.Spec.Parallel) }); err != nil {
			return err
		}
	}
	batches := [][]*target{same}
	if i := slices.IndexFunc(changing, func(t *target) bool { return t.Name == d.Canary }); i > 0 {
		canary := changing[i]
		changing = append([]*target{canary}, slices.Delete(changing, i, i+1)...)
	}
	if len(changing) > 0 {
		batches = append(batches, changing[:1])
		batches = append(batches, slices.Collect(slices.Chunk(changing[1:], d.Spec.Parallel))...)
	}
	for i, batch := range batches {
		if len(batch) == 0 {
			continue
		}
		if d.UploadKeys && i > 0 {
			if err := d.fenced(func() error { return d.Colmena.UploadKeys(ctx, named(batch), d.Spec.Parallel) }); err != nil {
				return err
			}
		}
		each(batch, d.Spec.Parallel, func(t *target) { d.deploy(ctx, t) })
		if bad := slices.DeleteFunc(slices.Clone(batch), func(t *target) bool { return t.result.well() }); len(bad) > 0 {
			d.Log.Logf("stopping: %s is not well; the nodes after it are not touched", list(bad))
			return nil
		}
	}
	return nil
}

// pin writes the ssh_config for Colmena, with the keys that the preflight saw.
func (d *Deployment) pin(targets []*target) (string, error) {
	var pins []colmena.Pin
	for _, t := range targets {
		pins = append(pins, colmena.Pin{Name: t.Name, Host: t.facts.TargetHost, HostKey: t.conn.HostKey(), IdentityFile: d.Spec.IdentityFile})
	}
	return colmena.WriteSSHConfig(d.Dir, pins, userConfig(d.Spec))
}

func (d *Deployment) fenced(run func() error) error {
	w := d.Log.Fence("colmena")
	d.Colmena.Log = w
	return errors.Join(run(), w.Close())
}

// deploy takes one node: key, activation, outcome.
func (d *Deployment) deploy(ctx context.Context, t *target) {
	if err := t.again(ctx); err != nil {
		t.fail(err)
		return
	}
	if checks := d.ageKey(ctx, t); verdict.Of(checks) != verdict.Proven && len(checks) > 0 {
		t.refuse(nixos.Refused, checks...)
		return
	} else {
		t.result.Checks = append(t.result.Checks, checks...)
	}
	if t.is(d.Goal) {
		t.result.Outcome = nixos.Unchanged
		t.result.Checks = append(t.result.Checks, d.steady(ctx, t, t.conn)...)
		d.Log.Logf("%s: unchanged", t.Name)
		return
	}
	d.Log.Logf("%s: activating %s; the host goes back to %s by itself after %s", t.Name, t.facts.System, t.before.Profile, d.Times.Defaults().Confirm)
	policy, expect := d.committed(t)
	script, args, err := node.Command(policy.Groups(), expect)
	if err != nil {
		t.refuse(nixos.Refused, verdict.ChecksOf(err)...)
		return
	}
	a := &nixos.Activation{
		System: t.facts.System, Goal: d.Goal, Times: d.Times, Reach: t.reach,
		Healthy: func(ctx context.Context, c *sshx.Conn) []verdict.Check { return d.healthy(ctx, t, c) },
		After:   append([]string{script}, args...),
		Committed: func(printed []byte) []verdict.Check {
			f, err := node.Parse(printed)
			if err != nil {
				return verdict.ChecksOf(verdict.CannotTell(node.LoaderDefault, "the boot default to be the new system", err, "run node-validate"))
			}
			return policy.Apply(node.Judge(f, expect))
		},
		Logf: func(format string, args ...any) { d.Log.Logf(t.Name+": "+format, args...) },
	}
	r := a.Activate(ctx, t.conn, t.before)
	t.conn = nil
	t.record(r)
	d.show(t, r)
}

// ageKey stages the key, or looks whether the right one is there.
func (d *Deployment) ageKey(ctx context.Context, t *target) []verdict.Check {
	file := cmp.Or(t.facts.AgeKeyFile, nixos.AgeKeyFile)
	switch {
	case d.AgeKey != nil:
		return []verdict.Check{nixos.StageAgeKey(ctx, t.conn, d.AgeKey, file, d.ReplaceAgeKey)}
	case d.AgeRecipient != "":
		return []verdict.Check{nixos.CheckAgeKey(ctx, t.conn, file, d.AgeRecipient)}
	}
	return nil
}

// show prints what the host said where it matters.
func (d *Deployment) show(t *target, r *nixos.Result) {
	for _, name := range []string{"activation", "commit", "rollback"} {
		if text := r.Logs[name]; text != "" && (name != "commit" || r.Outcome != nixos.Converged) {
			w := d.Log.Fence(t.Name + " " + name)
			fmt.Fprintln(w, text)
			w.Close()
		}
	}
	for _, u := range r.Units {
		w := d.Log.Fence(t.Name + " " + u.Name)
		fmt.Fprintln(w, u.Journal)
		w.Close()
	}
	d.Log.Logf("%s: %s", t.Name, r.Outcome)
}

// probeTimeout is for one look at a node.
const probeTimeout = 90 * time.Second
