package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// Seen is a machine as it was seen.
type Seen struct {
	Stage Stage
	// User is who it lets in.
	User string
	// BootID and MachineID are its own; OS is the ID of its os-release.
	BootID, MachineID, OS string
	// Offset is how far its clock is ahead, by the runner's, to the second.
	Offset time.Duration

	facts  *node.Facts
	checks []verdict.Check
	conn   *sshx.Conn
}

func (s *Seen) fingerprint() string { return ssh.FingerprintSHA256(s.conn.HostKey()) }

// HostKey is the key that it showed, "type base64".
func (s *Seen) HostKey() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.conn.HostKey())))
}

// probeTimeout is for one look at a machine.
const probeTimeout = 90 * time.Second

// groups are what is asked of a machine in every round.
var groups = []string{"host", "machine", "system", "systemd", "space", "disk", "oci"}

// look connects within limit and reads what the machine is.
func (b *Bootstrap) look(ctx context.Context, limit time.Duration) (*Seen, error) {
	c, user, err := b.reach(ctx, limit)
	if err != nil {
		return nil, err
	}
	expect := b.Need
	expect.InstanceID = b.member.Expect.InstanceID
	expect.Units = []string{infectUnit, "k3s.service"}
	expect.Ports = nil
	f, err := node.Collect(ctx, c, groups, expect, probeTimeout)
	if err != nil {
		c.Close()
		var exit *command.ExitError
		if errors.As(err, &exit) {
			err = verdict.CannotTell(Login, "a shell as "+user, err, "cloud images let root in to a command that only says who to be: put the image's own user first in login_users")
		}
		return nil, err
	}
	s := &Seen{User: user, facts: f, conn: c}
	if err := s.read(); err != nil {
		c.Close()
		return nil, err
	}
	policy := node.Policy{Set: []string{node.HostIdentity, node.Architecture, node.Memory, node.RootLabel, node.ESP}, Waive: b.Waive, WaivedBy: "waive"}
	if s.Stage != Installer { // which has a name and an id of its own
		expect.MachineID = b.member.Expect.MachineID
		if expect.InstanceID == "" && expect.MachineID == "" {
			expect.Hostname = b.member.Expect.Hostname // nothing better is known
		}
	}
	if s.Stage == Installer || s.Stage != NixOS && b.Method == Anywhere {
		// The disks are about to be made anew, with the configuration's labels.
		policy.Set = []string{node.HostIdentity, node.Architecture, node.Memory}
	}
	// Which machine it is can't be waived where it is about to be replaced.
	policy.Waive = slices.DeleteFunc(slices.Clone(policy.Waive), func(id string) bool { return id == node.HostIdentity })
	answers := node.Judge(f, expect)
	if s.Stage == Installer && expect.InstanceID == "" {
		answers = append([]verdict.Check{{ID: node.HostIdentity, Verdict: verdict.Proven, Wanted: "the machine with the pinned host key", Got: s.fingerprint()}}, answers...)
	}
	s.checks = policy.Apply(answers)
	b.Log.Logf("%s: %s (%s), in as %s, boot %s", b.Deploy.Spec.Nodes[0], s.Stage, s.OS, user, s.BootID)
	return s, nil
}

// read takes from the facts how far the machine is.
func (s *Seen) read() error {
	way, err := s.facts.Way.Get()
	if err != nil {
		return verdict.CannotTell(Transition, "how far the machine is", err, "look at the machine")
	}
	if s.BootID, err = s.facts.BootID.Get(); err != nil {
		return verdict.CannotTell(Transition, "the machine's boot id", err, "look at the machine")
	}
	s.MachineID, _ = s.facts.MachineID.Get() // a fresh installer may have none; the identity's check knows
	s.OS, _ = s.facts.OS.Get()               // for the log
	units, err := s.facts.Units.Get()
	if err != nil {
		return verdict.CannotTell(Transition, "whether nixos-infect is at work", err, "look at the machine: systemctl status "+infectUnit)
	}
	infect := func(states ...string) bool {
		return slices.ContainsFunc(units, func(u node.Unit) bool {
			return slices.Contains(u.Names, infectUnit) && slices.Contains(states, u.Active)
		})
	}
	switch {
	case way.Installer:
		s.Stage = Installer
	case infect("active", "activating", "deactivating"): // it writes its marks before it is done
		s.Stage = Infecting
	case way.Lustrate && infect("failed"): // and the boot loader after them: once more from the start
		s.Stage = Bare
	case way.Lustrate:
		s.Stage = Pending
	case way.NixOS:
		s.Stage = NixOS
	default:
		s.Stage = Bare
	}
	return nil
}

// reach logs in as the first of the users whom the machine lets in, and waits
// for that until limit. A changed host key ends it at once.
func (b *Bootstrap) reach(ctx context.Context, limit time.Duration) (*sshx.Conn, string, error) {
	end := time.Now().Add(limit)
	for {
		c, user, err := b.login(ctx)
		if err == nil || ctx.Err() != nil || !verdict.Has(err, sshx.Unreachable, sshx.Timeout) {
			return c, user, err
		}
		if time.Now().After(end) {
			return nil, "", verdict.CannotTell(verdict.Reason(err), fmt.Sprintf("a login on %s within %s", b.member.Target.Host, limit), err, "see the instance's console; the door and the address are shown above")
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, "", context.Cause(ctx)
		}
	}
}

// login tries the users once.
func (b *Bootstrap) login(ctx context.Context) (*sshx.Conn, string, error) {
	var refused []string
	for _, user := range b.Users {
		target := b.member.Target
		target.User = user
		c, err := sshx.Dial(ctx, target, b.member.Options())
		if err == nil {
			return c, user, nil
		}
		if !verdict.Has(err, sshx.AuthRefused) {
			return nil, "", err
		}
		said := verdict.ChecksOf(err)[0]
		if hops, e := sshx.Resolve(target); e == nil && said.Wanted != "a login on "+hops[len(hops)-1].String() {
			// A jump's refusal says nothing of the host. A bastion may know of
			// its session a moment later than the cloud does.
			return nil, "", verdict.CannotTell(sshx.Unreachable, "a way to "+b.member.Target.Host, err, said.Hint)
		}
		refused = append(refused, said.Got)
	}
	return nil, "", verdict.Refuse(Login, fmt.Sprintf("a login on %s as one of %s", b.member.Target.Host, strings.Join(b.Users, ", ")), strings.Join(refused, "\n"),
		"give the identity_file that the instance was made with, and the image's user in login_users")
}
