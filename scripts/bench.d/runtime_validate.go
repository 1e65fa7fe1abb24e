package main

import (
	"bytes"
	"fmt"
	"os/exec"

	"edge-actions/internal/fleet"
	"edge-actions/internal/node"
)

const (
	tripsTarget = 8
	habitTarget = 5.0
	fleetTarget = 2.0
)

// validate returns what node-validate does with the first n nodes.
func (d *distance) validate(n int, set []string) func() error {
	return func() error {
		v := &fleet.Validation{
			Spec: d.spec(n), Expect: node.DefaultExpect(), Policy: node.Policy{Set: set}, PublicPort: 22,
			Log: fleet.Log{Logf: func(string, ...any) {}},
		}
		v.Expect.Secrets = []string{"k3s-token", "restic-password"}
		results, checks := v.Validate(d.ctx)
		for _, r := range results {
			checks = append(checks, r.Checks...)
			if want := len(set) + 1; len(r.Checks) < want { // and that of the login
				return fmt.Errorf("wanted %d checks of %s, found %d", want, r.Name, len(r.Checks))
			}
		}
		return proven("a validation", checks)
	}
}

// connection counts the connections and the round trips of one node, with one
// check and with all of them.
func (d *distance) connection() error {
	running := node.Running()
	var few string
	for _, c := range []struct {
		what  string
		set   []string
		conns int64
	}{
		{"1 check", []string{node.HostIdentity}, 1},
		{fmt.Sprintf("%d checks", len(running)), running, 1},
		// A login that is to be refused can't be made on the open connection.
		{fmt.Sprintf("%d checks and a refused root login", len(running)), append(running, node.RootRefused), 2},
	} {
		before := d.ways[0].connections.Load()
		long, short, err := d.counting(3, d.validate(1, c.set))
		if err != nil {
			return fmt.Errorf("node-validate with %s: %w", c.what, err)
		}
		conns := float64(d.ways[0].connections.Load()-before) / float64(2*len(long)+1)
		found := fmt.Sprintf("%.1f on %g conn.", trips(long, short), conns)
		if few == "" {
			few = found
			continue
		}
		d.add(row{"round trips of node-validate, " + c.what, found, few + " (1 check)", ofPairs(long, short).String(),
			fmt.Sprintf("<= %d on %d", tripsTarget, c.conns), atMost(trips(long, short), tripsTarget) && conns == float64(c.conns)})
	}
	return nil
}

// habit measures the same checks as one ssh a question: what is written in a
// workflow's run: steps. It is made easy for it: one after another, but no jq,
// no retries, nobody compares anything, and a question serves for as many
// checks as it can.
func (d *distance) habit() error {
	questions := []string{
		"hostname; cat /etc/machine-id",                                                             // host-identity
		"readlink -f /run/current-system /nix/var/nix/profiles/system",                              // system
		"sudo -n sh -c 'cat /boot/loader/loader.conf /boot/loader/entries/*'",                       // loader-default
		"systemctl is-system-running",                                                               // system-state
		"systemctl --failed --no-legend",                                                            // failed-units
		"systemctl is-active k3s.service tailscaled.service sshd.service",                           // units
		"tailscale status --json",                                                                   // all four of the tailnet
		"sudo -n kubectl get nodes,deployments.apps,pods -A -o json",                                // all three of K3s
		"for p in 21115 21116 21117 6443; do bash -c \": </dev/tcp/127.0.0.1/$p\" || exit; done",    // ports
		"sudo -n ls -l /run/secrets/k3s-token /run/secrets/restic-password",                         // secrets
		"sudo -n stat -c '%U %a %s' /var/lib/sops-nix /var/lib/sops-nix/key.txt",                    // age-key
		"sudo -n sshd -T -C user=root,host=localhost,addr=127.0.0.1 | grep -x 'permitrootlogin no'", // root-login-config
		"df /boot",      // boot-space
		"df /nix/store", // store-space
	}
	theirs := func() error {
		for _, question := range questions {
			cmd := exec.CommandContext(d.ctx, "ssh", "-F", d.config, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", d.lab.Hosts[0].Name, question)
			var said bytes.Buffer
			cmd.Stderr = &said
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%q by ssh: %w: %s", question, err, said.Bytes())
			}
		}
		return nil
	}
	ours := d.validate(1, node.Running())
	var us, them spread
	for range 2 {
		a, err := d.away(roundTrip, ours)
		if err != nil {
			return err
		}
		b, err := d.away(roundTrip, theirs)
		if err != nil {
			return err
		}
		us, them = append(us, a), append(them, b)
	}
	ratio := them.over(us)
	d.add(row{fmt.Sprintf("node-validate, %d checks, %s away", len(node.Running()), roundTrip), us.seconds(), them.seconds() + fmt.Sprintf(" (%d x ssh)", len(questions)),
		ratio.String(), fmt.Sprintf(">= %.1f", habitTarget), atLeast(ratio.median(), habitTarget)})
	return nil
}

// fleet compares all nodes at once with one, with everything that the action
// looks at by itself.
func (d *distance) fleet() error {
	set := append(node.Running(), node.RootRefused)
	one, all := d.validate(1, set), d.validate(fleetSize, set)
	if err := all(); err != nil { // the first one does not count
		return err
	}
	var single, many spread
	for range 5 {
		a, err := d.away(roundTrip, one)
		if err != nil {
			return err
		}
		b, err := d.away(roundTrip, all)
		if err != nil {
			return err
		}
		single, many = append(single, a), append(many, b)
	}
	ratio := many.over(single)
	d.add(row{fmt.Sprintf("node-validate of %d nodes, %s away", fleetSize, roundTrip), many.seconds(), single.seconds() + " (1 node)", ratio.String(),
		fmt.Sprintf("<= %.1f", fleetTarget), !atLeast(ratio.median(), fleetTarget+0.01)})
	return nil
}
