package fleet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/nixos"
	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"
)

// Reboot is a reboot of the nodes of a spec, with what is to be proved after
// it. Its Validation has no kubeconfig.
type Reboot struct {
	Validation
	Shutdown, Boot, Stable time.Duration // Boot also for a node that is found down
	// Ready is how long all checks may take to hold once SSH is back.
	Ready time.Duration
}

// The outcomes of a reboot.
const (
	Proven    = "proven"
	NotReady  = "not-ready" // back, and not what it should be
	NotBack   = "not-back"
	NotDown   = "not-down"
	Refused   = "refused" // not rebooted
	Untouched = "not-touched"
)

// RebootResult is what became of one node; the output "nodes" is a list of
// them. Times are in seconds from the request for the reboot; 0 is not seen.
type RebootResult struct {
	Name                 string  `json:"name"`
	Outcome              string  `json:"outcome"`
	SystemPath           string  `json:"system_path,omitempty"`
	Generation           int     `json:"generation,omitempty"`
	BootID               string  `json:"boot_id,omitempty"`
	DownSeconds          float64 `json:"down_seconds,omitempty"`
	SSHSeconds           float64 `json:"ssh_seconds,omitempty"`
	NodeReadySeconds     float64 `json:"node_ready_seconds,omitempty"`
	WorkloadReadySeconds float64 `json:"workload_ready_seconds,omitempty"`

	Checks []verdict.Check `json:"-"`
}

// Reboot reboots the nodes, Parallel at a time, and stops at the first that is
// not proven.
func (r *Reboot) Reboot(ctx context.Context) ([]*RebootResult, []verdict.Check) {
	status, checks := r.Spec.tailnetStatus(ctx)
	var out []*RebootResult
	for _, name := range r.Spec.Nodes {
		out = append(out, &RebootResult{Name: name, Outcome: Untouched})
	}
	if r.Spec.Tailnet != nil && verdict.Of(checks) != verdict.Proven {
		return out, checks
	}
	for batch := range slices.Chunk(out, r.Spec.Parallel) {
		each(batch, r.Spec.Parallel, func(res *RebootResult) {
			r.one(ctx, res, status)
			r.Log.Logf("%s: %s", res.Name, outcome(res.Outcome, res.Checks))
		})
		if slices.ContainsFunc(batch, func(res *RebootResult) bool { return res.Outcome != Proven }) {
			break
		}
	}
	return out, checks
}

func (r *Reboot) one(ctx context.Context, res *RebootResult, status *tailnet.Status) {
	m, wrong := r.Spec.member(res.Name, "", "", 0, status)
	if m == nil {
		res.Outcome, res.Checks = Refused, wrong
		return
	}
	policy := r.policyOf(m)
	c, expect, err := r.before(ctx, m, res)
	if err != nil {
		res.Outcome, res.Checks = Refused, append(res.Checks, policy.waive(verdict.ChecksOf(err))...)
		return
	}
	r.Log.Logf("%s: rebooting", m.Name)
	reboot := nixos.Reboot{
		Shutdown: r.Shutdown, Boot: r.Boot, Stable: r.Stable,
		Reach: func(ctx context.Context, limit time.Duration) (*sshx.Conn, error) {
			return sshx.Wait(ctx, m.Target, m.brisk(), max(limit, time.Second))
		},
		Logf: func(format string, args ...any) { r.Log.Logf(m.Name+": "+format, args...) },
	}
	c, back, err := reboot.Reboot(ctx, c, expect.BootIDBefore)
	if err != nil {
		res.Outcome = NotBack
		if verdict.Has(err, nixos.NotDown, sshx.SudoRefused) {
			res.Outcome = NotDown
		}
		res.Checks = append(res.Checks, verdict.ChecksOf(err)...)
		return
	}
	defer func() { c.Close() }()
	res.BootID, res.DownSeconds, res.SSHSeconds = back.BootID, back.Down.Seconds(), back.Back.Seconds()
	outside := r.fromOutside(ctx, m)
	checks, looked := r.ready(ctx, m, &c, expect, back, res)
	judged := append(checks, outside()...)
	res.Checks = append(res.Checks, policy.waive(m.connected(c))...)
	if looked {
		res.Checks = append(res.Checks, policy.waive(extra(judged))...)
		res.Checks = append(res.Checks, policy.Apply(judged)...)
	} else { // one line says why, not one for every check that was not made
		res.Checks = append(res.Checks, policy.waive(judged)...)
	}
	res.Outcome = NotReady
	if verdict.Of(res.Checks) == verdict.Proven {
		res.Outcome = Proven
	}
}

// brisk is for a host that is going to be gone: that is to be noticed at once.
func (m *Member) brisk() sshx.Options {
	o := m.options()
	o.KeepAlive, o.Missed = time.Second, 3
	return o
}

// before makes sure that the right machine is rebooted, and notes what it is to
// come back as.
func (r *Reboot) before(ctx context.Context, m *Member, res *RebootResult) (*sshx.Conn, node.Expect, error) {
	expect := m.expect(r.Expect)
	asked := node.Policy{Set: []string{node.HostIdentity, node.System, node.FailedUnits}}
	found, err := m.up(ctx, m.brisk(), r.Boot, asked, expect, r.Log)
	if err != nil {
		return nil, expect, err
	}
	c, f := found.conn, found.facts
	// A way that is not the meant one may lead to another machine, and is no
	// proof afterwards.
	policy := nodePolicy{r.Policy}
	if way := policy.waive(found.way); len(deciding(way)) > 0 {
		c.Close()
		return nil, expect, &verdict.Refusal{Check: way[slices.IndexFunc(way, func(c verdict.Check) bool { return c.Verdict != verdict.Proven && c.Waived == "" })]}
	}
	// Which machine it is can't be waived where something is done to it.
	identity := node.Policy{Set: []string{node.HostIdentity}}.Apply(node.Judge(f, expect))
	if identity[0].Verdict != verdict.Proven {
		c.Close()
		return nil, expect, &verdict.Refusal{Check: identity[0]}
	}
	failed, errFailed := f.Failed.Get()
	boot, errBoot := f.BootID.Get()
	profile, errProfile := f.Profile.Get()
	if err := errors.Join(errFailed, errBoot, errProfile); err != nil {
		c.Close()
		return nil, expect, verdict.CannotTell("state-before", "what the node runs and boots before its reboot", err, "see that it is a NixOS host")
	}
	expect.BootIDBefore = boot
	expect.FailedBefore = append(slices.Clone(expect.FailedBefore), failed...)
	if expect.System == "" {
		expect.System = profile
	}
	return c, expect, nil
}

// ready looks until all that can be seen on the node holds or the time is up,
// and notes when what was ready. What it returns is not a look at the node but
// why there was none, if looked is false.
func (r *Reboot) ready(ctx context.Context, m *Member, c **sshx.Conn, expect node.Expect, back *nixos.Rebooted, res *RebootResult) (checks []verdict.Check, looked bool) {
	policy := r.Policy
	policy.Set = slices.DeleteFunc(slices.Clone(policy.Set), func(id string) bool { return id == node.RootRefused || id == node.SSHClosed })
	policy.Require = append(slices.DeleteFunc(slices.Clone(policy.Require), func(id string) bool { return id == node.RootRefused || id == node.SSHClosed }), node.BootID)
	end := time.Now().Add(r.Ready)
	said := ""
	for {
		expect.Now = time.Now()
		f, err := node.Collect(ctx, *c, policy.Groups(), expect, probeTimeout)
		if err == nil {
			checks = node.Judge(f, expect)
			holds := policy.Apply(checks)
			r.note(holds, back, res)
			res.SystemPath, _ = f.Current.Get() // the checks say what could not be read
			res.Generation, _ = f.Generation.Get()
			if id, err := f.BootID.Get(); err == nil && id != back.BootID {
				return append(checks, verdict.Refuse("boot-stable", "the boot "+back.BootID+" to last", "boot "+id, "the host reboots in circles: look at its console").Check), true
			}
			if verdict.Of(holds) == verdict.Proven {
				return checks, true
			}
			looked = true
			if now := strings.Join(deciding(holds), ", "); now != said {
				said = now
				r.Log.Logf("%s: waiting at most %s longer for %s", m.Name, time.Until(end).Round(time.Second), now)
			}
		} else {
			checks, looked = verdict.ChecksOf(err), false
		}
		if time.Now().Add(pause).After(end) {
			return checks, looked
		}
		select {
		case <-ctx.Done():
			return append(checks, verdict.ChecksOf(context.Cause(ctx))...), looked
		case <-time.After(pause):
		}
		if (*c).Alive() {
			continue
		}
		if fresh, err := sshx.Wait(ctx, m.Target, m.brisk(), max(time.Until(end), time.Second)); err == nil {
			*c = fresh
		}
	}
}

// note writes down the first moment at which the node, and its workload, were
// ready.
func (r *Reboot) note(checks []verdict.Check, back *nixos.Rebooted, res *RebootResult) {
	proven := func(ids ...string) bool {
		for _, id := range ids {
			i := slices.IndexFunc(checks, func(c verdict.Check) bool { return c.ID == id })
			if i >= 0 && checks[i].Verdict != verdict.Proven {
				return false
			}
		}
		return true
	}
	since := time.Since(back.Requested).Seconds()
	if res.NodeReadySeconds == 0 && proven(node.K3sNode) {
		res.NodeReadySeconds = since
	}
	if res.WorkloadReadySeconds == 0 && proven(node.K3sNode, node.K3sWorkloads, node.K3sContainers, node.Ports) {
		res.WorkloadReadySeconds = since
	}
}
