package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/nixos"
	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// preflight looks at a node before anything is changed. It leaves the node
// not-touched if it is fit.
func (d *Deployment) preflight(ctx context.Context, t *target) {
	if d.Spec.Handoff == nil && t.facts.HostName != "" {
		t.Expect.Hostname = t.facts.HostName
	}
	// Which machine it is can't be waived where something is done to it.
	policy := node.Policy{Set: []string{node.HostIdentity, node.BootSpace, node.StoreSpace}}
	if d.fresh && t.Expect.MachineID+t.Expect.InstanceID != "" {
		// The name is the hive's to give, and it has not given it yet.
		expect := t.Expect
		defer func() { t.Expect = expect }()
		t.Expect.Hostname = ""
	}
	asked := node.Policy{Set: append(slices.Clone(policy.Set), node.System, node.LoaderDefault, node.FailedUnits)}
	expect := t.expect(d.Expect)
	found, err := t.up(ctx, t.options(), d.Boot, asked, expect, d.Log)
	checks := found.way
	if len(checks) > 0 {
		checks = append(checks, t.ping(ctx)...)
	}
	if err != nil {
		t.result.Checks = append(t.result.Checks, checks...)
		t.fail(err)
		return
	}
	t.conn = found.conn
	t.result.Address = t.conn.RemoteAddr().String()
	checks = append(checks, policy.Apply(node.Judge(found.facts, expect))...)
	checks = append(checks, t.lettingIn(t.conn, d.Goal), t.read(found.facts, d.Boot))
	for i := range checks {
		if slices.Contains(d.Policy.Waive, checks[i].ID) && checks[i].ID != node.HostIdentity {
			checks[i].Waived = cmp.Or(d.Policy.WaivedBy, "waive")
		}
	}
	t.result.SystemPath, t.result.PreviousSystemPath, t.result.Generation = t.before.Current, t.before.Current, t.before.Generation
	if verdict.Of(checks) != verdict.Proven {
		t.refuse(nixos.Refused, checks...)
		return
	}
	t.result.Checks = append(t.result.Checks, checks...)
}

// expect adds to what is wanted of every node which machine this one is.
func (m *Member) expect(e node.Expect) node.Expect {
	e.Hostname, e.MachineID, e.InstanceID, e.KeyMargin = m.Expect.Hostname, m.Expect.MachineID, m.Expect.InstanceID, m.Expect.KeyMargin
	e.Now = time.Now()
	return e
}

// read takes from the facts what the node is on. What was booted less than grace
// ago may not be ready yet.
func (t *target) read(f *node.Facts, grace time.Duration) verdict.Check {
	const id, wanted = "state-before", "what the node runs and boots"
	var errs []error
	get := func(v node.Value[string]) string {
		s, err := v.Get()
		errs = append(errs, err)
		return s
	}
	t.before = nixos.State{BootID: get(f.BootID), Current: get(f.Current), Profile: get(f.Profile)}
	t.before.Generation, _ = f.Generation.Get() // a profile may lead to the store itself
	t.failing, _ = f.Failed.Get()               // then none is known to fail, and each that does counts
	now, errNow := f.Now.Get()
	booted, errBoot := f.Boot.Get()
	if errNow == nil && errBoot == nil {
		t.ready = time.Now().Add(grace - now.Sub(booted))
	}
	if err := errors.Join(errs...); err != nil {
		return verdict.CannotTell(id, wanted, err, "see that it is a NixOS host: /run/current-system and /nix/var/nix/profiles/system").Check
	}
	return verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("%s, generation %d", t.before.Current, t.before.Generation)}
}

// ping asks the node through the tailnet: that it is known to be online proves
// nothing.
func (m *Member) ping(ctx context.Context) []verdict.Check {
	if m.Peer == nil {
		return nil
	}
	wanted := "an answer from " + m.Peer.Name() + " through the tailnet"
	pong, err := m.spec.Tailnet.Ping(ctx, m.Target.Host, 10*time.Second)
	if err != nil {
		return verdict.ChecksOf(err)
	}
	return []verdict.Check{{ID: TailnetPing, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("one via %s in %s", pong.Via, pong.Latency)}}
}

// lettingIn says whether the new system would still let us in: the key by which
// the host knows us is among those of the user, and sshd is on.
func (t *target) lettingIn(c *sshx.Conn, goal nixos.Goal) verdict.Check {
	const id = "operator-keys"
	user := t.facts.TargetUser
	wanted := fmt.Sprintf("a new system with sshd and the operator's key for the user %q", user)
	hint := "correct users.users.NAME.openssh.authorizedKeys and services.openssh in the hive: after this deploy nobody would get in"
	if !t.facts.SSH {
		return verdict.Refuse(id, wanted, "services.openssh.enable is not true", hint).Check
	}
	key := c.LoginKey()
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	if key == nil {
		return verdict.CannotTell(id, wanted, errors.New("the host asked for no key (Tailscale SSH does so)"), "waive operator-keys if that is how you log in").Check
	}
	for _, line := range t.facts.Keys[user] {
		if k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil && string(k.Marshal()) == string(key.Marshal()) {
			return verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: ssh.FingerprintSHA256(key)}
		}
	}
	return verdict.Refuse(id, wanted, fmt.Sprintf("%d keys, without %s", len(t.facts.Keys[user]), ssh.FingerprintSHA256(key)), hint).Check
}

// healthy are the checks by which a live system is kept. It is not committed
// yet, so nothing is asked of the profile and the loader.
func (d *Deployment) healthy(ctx context.Context, t *target, c *sshx.Conn) []verdict.Check {
	policy := d.Policy
	policy.Set = append(slices.DeleteFunc(slices.Clone(policy.Set), func(id string) bool {
		return id == node.System || id == node.LoaderDefault || id == node.BootedSystem || id == node.Kernel || id == node.BootID || id == node.Generation
	}), node.LiveSystem)
	return d.look(ctx, t, c, policy)
}

// steady are the checks of a node that nothing is done to. One that was booted
// just now gets the time to become ready.
func (d *Deployment) steady(ctx context.Context, t *target, c *sshx.Conn) []verdict.Check {
	policy := d.Policy
	if d.Goal == nixos.Boot { // what is live is none of this deploy's business
		policy.Set = []string{node.HostIdentity, node.LoaderDefault}
	}
	for said := false; ; said = true {
		checks := d.look(ctx, t, c, policy)
		left := time.Until(t.ready).Round(time.Second)
		if verdict.Of(checks) == verdict.Proven || left <= pause || !c.Alive() {
			return checks
		}
		if !said {
			d.Log.Logf("%s: it was booted just now; waiting at most %s for %s", t.Name, left, strings.Join(deciding(checks), ", "))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return checks
		}
	}
}

func (d *Deployment) look(ctx context.Context, t *target, c *sshx.Conn, policy node.Policy) []verdict.Check {
	// The preflight has asked for the room, and then the system was pushed.
	policy.Set = slices.DeleteFunc(slices.Clone(policy.Set), func(id string) bool { return id == node.BootSpace || id == node.StoreSpace })
	expect := t.expect(d.Expect)
	if d.Goal != nixos.Boot {
		expect.System = t.facts.System
	}
	expect.FailedBefore = append(slices.Clone(expect.FailedBefore), t.failing...)
	expect.AgeKeyFile = t.facts.AgeKeyFile // the default if the hive has none
	f, err := node.Collect(ctx, c, policy.Groups(), expect, probeTimeout)
	if err != nil {
		return verdict.ChecksOf(err)
	}
	return policy.Apply(node.Judge(f, expect))
}

// committed are the checks right after the commit.
func (d *Deployment) committed(t *target) (node.Policy, node.Expect) {
	expect := t.expect(d.Expect)
	policy := node.Policy{Set: []string{node.LoaderDefault}, Waive: d.Policy.Waive, WaivedBy: d.Policy.WaivedBy}
	if d.Goal == nixos.Switch {
		expect.System = t.facts.System
		policy.Set = append(policy.Set, node.System)
	}
	return policy, expect
}

// UserConfig is the path of the ssh_config from which all that is not pinned is
// taken, "" for none.
func (d *Deployment) UserConfig() string { return userConfig(d.Spec) }

// userConfig is the ssh_config that the rest is taken from, as sshx does.
func userConfig(s *Spec) string {
	switch {
	case s.SSHConfig == "none":
		return ""
	case s.SSHConfig != "":
		return s.SSHConfig
	}
	for _, kv := range s.Env {
		if len(kv) > 5 && kv[:5] == "HOME=" {
			path := filepath.Join(kv[5:], ".ssh", "config")
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	return ""
}
