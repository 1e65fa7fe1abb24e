// Package bootstrap carries one machine from what a cloud hands out to NixOS
// on its first generation, with the operator's keys in place. Each round looks
// at the machine and does the one thing that is next, so a run that died
// anywhere is taken up by the next one from what the host shows. It refuses to
// change a machine that is not the one that was meant or that could not carry
// the system, and a host key that is not the pinned one, at any time.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edge-actions/internal/fleet"
	"edge-actions/internal/nixos"
	"edge-actions/internal/node"
	"edge-actions/internal/verdict"
)

// Method is how a machine becomes NixOS.
type Method string

const (
	// Infect replaces the system in place, with nixos-infect.
	Infect Method = "nixos-infect"
	// Anywhere wipes the disks and installs anew, with nixos-anywhere.
	Anywhere Method = "nixos-anywhere"
	// Adopt takes a machine that is NixOS already.
	Adopt Method = "adopt"
)

// Stage is how far a machine is.
type Stage string

const (
	// Bare: another system, and nothing has begun.
	Bare Stage = "bare"
	// Infecting: nixos-infect is at work.
	Infecting Stage = "infecting"
	// Pending: the next boot makes it NixOS.
	Pending Stage = "pending"
	// Installer: nixos-anywhere's installer runs, from memory.
	Installer Stage = "installer"
	// NixOS: it runs NixOS. Whether it is the hive's is for the first deploy.
	NixOS Stage = "nixos"
)

// The ids of the checks of this package; those of a machine are node's.
const (
	// Transition is a step on the way that did not come to its end.
	Transition = "transition"
	// Fit is a method that can be used on what was found.
	Fit = "method"
	// Login is a user by whom the machine lets us in.
	Login = "login"
	// ClockSet is the machine's clock, after it was set.
	ClockSet = "clock-set"
)

// Bootstrap is the work on one machine.
type Bootstrap struct {
	// Deploy is the first deploy; its spec has the one node.
	Deploy *fleet.Deployment
	Method Method
	// Users are tried in this order: a system's own user comes before root,
	// because cloud images let root in to a command that only says who to be.
	Users  []string
	Infect InfectScript
	// Anywhere is nixos-anywhere with its options.
	Anywhere AnywhereTool
	// Need is what the machine must have, besides being the right one.
	Need node.Expect
	// Waive are ids of checks that are shown and do not decide.
	Waive []string
	// MaxSkew is how far the machine's clock may be off; 0 leaves it alone.
	MaxSkew time.Duration
	// Clock is the time by which that is judged.
	Clock func() time.Time
	// Times bounds the parts.
	Times Times
	Log   fleet.Log

	// Changed says that a step was begun that changes the machine, whatever
	// became of it.
	Changed bool

	member *fleet.Member
}

// Times bounds the parts of a bootstrap.
type Times struct {
	// Connect is for the first login, with the door opening meanwhile;
	// Transition for nixos-infect or nixos-anywhere, Boot for SSH to be back
	// after a reboot, and Stable for how long the boot must last to count.
	Connect, Transition, Boot, Stable time.Duration
	// Poll is between two looks at what runs on the machine, 5 s if zero.
	Poll time.Duration
}

// Plan is what was found and what follows from it.
type Plan struct {
	Seen  *Seen
	Steps []string
	// Checks are the reasons not to begin; the plan stands if they are proven.
	Checks []verdict.Check
}

// Plan looks at the machine and says what would be done, without doing it.
func (b *Bootstrap) Plan(ctx context.Context) (*Plan, error) {
	name := b.Deploy.Spec.Nodes[0]
	m, err := b.Deploy.Spec.Member(name)
	if err != nil {
		return nil, err
	}
	b.member = m
	seen, err := b.look(ctx, b.Times.Connect)
	if err != nil {
		return nil, err
	}
	defer seen.conn.Close()
	return &Plan{Seen: seen, Steps: b.steps(seen), Checks: b.judge(seen)}, nil
}

// steps says in words what Run does with a machine as it was seen.
func (b *Bootstrap) steps(s *Seen) []string {
	var out []string
	reboot := "reboot it, and prove that it comes back as NixOS with the same host key"
	switch s.Stage {
	case Bare:
		switch b.Method {
		case Infect:
			out = append(out, fmt.Sprintf("run nixos-infect (sha256 %.12s…) as root, which replaces the system in place", b.Infect.SHA256), reboot)
		case Anywhere:
			out = append(out, "run nixos-anywhere, which WIPES the disks that the configuration names, and installs NixOS", "prove that it came back as NixOS with the same host key")
		}
	case Infecting:
		out = append(out, "wait for the nixos-infect that is at work there", reboot)
	case Pending:
		out = append(out, "check what nixos-infect left for the next boot", reboot)
	case Installer:
		out = append(out, "go on with nixos-anywhere from its installer, which WIPES the disks that the configuration names", "prove that it came back as NixOS with the same host key")
	}
	if b.MaxSkew > 0 {
		out = append(out, fmt.Sprintf("set the clock if it is more than %s off", b.MaxSkew))
	}
	if b.Deploy.AgeKey != nil {
		out = append(out, "put the age key of "+b.Deploy.AgeKey.Recipient()+" in place")
	}
	return append(out, "deploy the hive's system with --install-bootloader, and prove that the operator gets in")
}

// judge says whether a machine may be changed.
func (b *Bootstrap) judge(s *Seen) []verdict.Check {
	checks := append([]verdict.Check{{ID: Login, Verdict: verdict.Proven, Wanted: "a login with the pinned host key", Got: s.conn.Host()}}, s.checks...)
	wanted := fmt.Sprintf("a machine for the method %s", b.Method)
	fit := verdict.Check{ID: Fit, Verdict: verdict.Proven, Wanted: wanted, Got: "it is " + string(s.Stage)}
	switch {
	case s.Stage == NixOS:
	case b.Method == Adopt:
		fit = verdict.Refuse(Fit, wanted, "it is "+string(s.Stage), "set method: nixos-infect or nixos-anywhere").Check
	case s.Stage == Installer && b.Method != Anywhere, (s.Stage == Infecting || s.Stage == Pending) && b.Method != Infect:
		fit = verdict.Refuse(Fit, wanted, "it is "+string(s.Stage)+", by the other method", "go on with the method that was begun, or make the instance anew").Check
	}
	return append(checks, fit)
}

// Run does what the plan says. It returns the node's result, which is nil if
// the first deploy was not reached, and its checks; everything that was decided
// before is in the plan's.
func (b *Bootstrap) Run(ctx context.Context, p *Plan) (*fleet.NodeResult, []verdict.Check, error) {
	checks, seen, err := b.transition(ctx, p.Seen)
	if err != nil {
		return nil, checks, err
	}
	defer seen.conn.Close()
	set, err := b.setClock(ctx, seen)
	checks = append(checks, set...)
	if err != nil || len(set) > 0 && verdict.Of(set) != verdict.Proven {
		return nil, checks, err
	}
	seen.conn.Close() // the deploy has its own
	b.Deploy.FirstUser = seen.User
	results, more, err := b.Deploy.Bootstrap(ctx)
	checks = append(checks, more...)
	if err != nil || len(results) == 0 {
		return nil, checks, err
	}
	r := results[0]
	checks = append(checks, r.Checks...)
	if r.Outcome == nixos.Converged || r.Outcome == nixos.Unchanged {
		checks = append(checks, b.after(ctx)...)
	}
	return r, checks, nil
}

// transition goes round by round until the machine runs NixOS. A round that
// leads to where it began is none that may be tried again.
func (b *Bootstrap) transition(ctx context.Context, before *Seen) (checks []verdict.Check, seen *Seen, err error) {
	done := map[Stage]bool{}
	for {
		if seen, err = b.look(ctx, b.Times.Boot); err != nil {
			return checks, nil, err
		}
		if now := b.judge(seen); verdict.Of(now) != verdict.Proven {
			seen.conn.Close()
			return append(checks, now...), nil, verdict.CannotTell(Transition, "a machine that is fit for the next step", errors.New("it is "+string(seen.Stage)), "see the checks above")
		}
		if seen.Stage == NixOS {
			if before.Stage != NixOS {
				checks = append(checks, verdict.Check{ID: Transition, Verdict: verdict.Proven, Wanted: "NixOS, in another boot, with the same host key", Got: fmt.Sprintf("boot %s, host key %s", seen.BootID, seen.fingerprint())})
			}
			return checks, seen, nil
		}
		if done[seen.Stage] {
			seen.conn.Close()
			return checks, nil, verdict.Refuse(Transition, "a machine that is further than "+string(seen.Stage), "the same, after the step was done", "look at the machine's console: it may have booted its old system")
		}
		done[seen.Stage], b.Changed = true, true
		if err := b.step(ctx, seen); err != nil {
			return checks, nil, err
		}
	}
}

// step does what is next; it owns the connection of seen.
func (b *Bootstrap) step(ctx context.Context, seen *Seen) error {
	switch seen.Stage {
	case Bare, Infecting:
		if b.Method == Infect {
			return b.infect(ctx, seen)
		}
		return b.anywhere(ctx, seen, "kexec,disko,install,reboot")
	case Pending:
		return b.finishInfect(ctx, seen)
	case Installer:
		return b.anywhere(ctx, seen, "disko,install,reboot")
	}
	seen.conn.Close()
	return fmt.Errorf("no step for the stage %q", seen.Stage)
}

// after are the checks that a login can't answer.
func (b *Bootstrap) after(ctx context.Context) []verdict.Check {
	policy := node.Policy{Set: []string{node.RootRefused}, Waive: b.Waive, WaivedBy: "waive"}
	return policy.Apply([]verdict.Check{node.RootLoginRefused(ctx, b.member.Target, b.member.Options())})
}

// Target is where the machine is reached, for a line in the log.
func (b *Bootstrap) Target() string { return b.member.Target.Host }
