package nixos

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/verdict"
)

// until waits for a file on the host.
func (n *node) until(file string) bool {
	n.t.Helper()
	root, err := n.Root()
	if err != nil {
		n.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if found, _ := filepath.Glob(filepath.Join(root, file)); len(found) > 0 {
			return true
		}
	}
	return false
}

// moments are files that appear in the course of an activation.
var moments = []string{
	"run/edge-actions/activation-*/deadline", "run/edge-actions/activation-*/started", "run/edge-actions/activation-*/activation.exit",
	"run/edge-actions/activation-*/verdict", "nix/var/nix/gcroots/edge-actions/previous", "nix/var/nix/profiles/system-2-link",
}

// The dead-man itself is killed: systemd starts it again, and it ends what was
// begun.
func TestLabGuardIsKilled(t *testing.T) {
	t.Parallel()
	var killed atomic.Int64
	t.Cleanup(func() {
		if n := killed.Load(); n < 4 { // the last moments are over soon
			t.Errorf("killed at %d of %d moments", n, len(moments))
		}
	})
	for _, moment := range moments {
		t.Run(filepath.Base(moment), func(t *testing.T) {
			t.Parallel()
			l := lab.New(t, 1)
			n := newNode(t, l, l.Hosts[0])
			system := n.build("2", "slow")
			a := n.activation(system)
			a.Times.Confirm, a.Times.Activate = 20*time.Second, 15*time.Second
			done := make(chan *Result, 1)
			c, before := n.dial(), n.state()
			go func() { done <- a.Activate(context.WithoutCancel(t.Context()), c, before) }()
			if !n.until(moment) {
				t.Fatal("that moment did not come")
			}
			if _, err := n.Run("systemctl kill --signal=KILL edge-actions-guard.service"); err == nil {
				killed.Add(1)
			}
			r := <-done
			got := n.settled()
			if r.Outcome == Converged && got != system || r.Outcome == RolledBack && got != n.first || r.Outcome != Converged && r.Outcome != RolledBack {
				t.Errorf("%s, and it is on %s", describe(r), got)
			}
			if strings.HasSuffix(moment, "activation.exit") && r.Outcome != Converged {
				t.Errorf("a guard that came back did not go on: %s", describe(r))
			}
		})
	}
}

// The power goes at each moment. The host comes back on one system, except in
// the middle of a commit, of which the next run makes one or the other.
func TestLabPowerCut(t *testing.T) {
	t.Parallel()
	for _, moment := range moments {
		t.Run(filepath.Base(moment), func(t *testing.T) {
			t.Parallel()
			l := lab.New(t, 1)
			n := newNode(t, l, l.Hosts[0])
			system := n.build("2", "good")
			a := n.activation(system)
			a.Times.Recover = 20 * time.Second
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan *Result, 1)
			c, before := n.dial(), n.state()
			go func() { done <- a.Activate(ctx, c, before) }()
			if !n.until(moment) {
				t.Fatal("that moment did not come")
			}
			n.PowerOff()
			if err := n.PowerOn(); err != nil {
				t.Fatal(err)
			}
			r := <-done
			switch r.Outcome {
			case RolledBack, Converged, LiveNotCommitted, Refused:
			default:
				t.Errorf("%s", describe(r))
			}
			// Whatever was decided: the host runs what was committed or the
			// system before, and can be deployed to.
			live := n.must("readlink -f /run/current-system")
			if live != n.first && live != system {
				t.Errorf("it runs %s", live)
			}
			if r.Outcome == Converged && n.settled() != system {
				t.Error("converged, and it is not on it")
			}
			r = n.activation(system).Activate(t.Context(), n.dial(), n.state())
			if r.Outcome != Converged {
				t.Errorf("the next run: %s", describe(r))
			}
			if got := n.settled(); got != system {
				t.Errorf("it is on %s", got)
			}
		})
	}
}

// Two runs want the same host: the second waits for the first.
func TestLabBusy(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	n := newNode(t, l, l.Hosts[0])
	one, two := n.build("one", "slow"), n.build("two", "good")
	done := make(chan *Result, 1)
	c, before := n.dial(), n.state()
	a := n.activation(one)
	a.Times.Confirm, a.Times.Activate = 30*time.Second, 20*time.Second
	go func() { done <- a.Activate(context.WithoutCancel(t.Context()), c, before) }()
	if !n.until("run/edge-actions/activation-*/started") {
		t.Fatal("it did not begin")
	}
	second := n.activation(two).Activate(t.Context(), n.dial(), n.state())
	first := <-done
	if first.Outcome != Converged || second.Outcome != Converged || second.Previous != one || n.settled() != two {
		t.Errorf("%s, then %s", describe(first), describe(second))
	}
}

// Nothing of an activation that nobody confirms stays, even if nobody asks.
func TestLabNobodyAsks(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	n := newNode(t, l, l.Hosts[0])
	system := n.build("2", "good")
	ctx, cancel := context.WithCancel(t.Context())
	a := n.activation(system)
	live := ""
	a.Healthy = func(context.Context, *sshx.Conn) []verdict.Check {
		live = n.must("readlink -f /run/current-system")
		cancel() // the step is cancelled here
		return nil
	}
	r := a.Activate(ctx, n.dial(), n.state())
	if r.Outcome != Unreachable {
		t.Errorf("%s", describe(r))
	}
	if live != system {
		t.Errorf("it was not live: %s", live)
	}
	if got := n.settled(); got != n.first {
		t.Errorf("it is on %s", got)
	}
}

// The boot loader can't be written: whatever the goal was, the host is on its
// previous system, and would boot it.
func TestLabCommitFails(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	n := newNode(t, l, l.Hosts[0])
	n.must("fallocate -l $(($(stat -f -c '%a * %S' /boot) - 1000000)) /boot/fill")
	for _, goal := range []Goal{Switch, Boot} {
		a := n.activation(n.build("2", "good"))
		a.Goal = goal
		r := a.Activate(t.Context(), n.dial(), n.state())
		if r.Outcome != RolledBack || r.Reason != "commit-failed" || !strings.Contains(describe(r), "No space left") || verdict.Of(r.Checks) != verdict.Disproven {
			t.Errorf("%s: %s", goal, describe(r))
		}
		if got := n.settled(); got != n.first {
			t.Errorf("%s: it is on %s", goal, got)
		}
		if got := n.must("nix-env -p /nix/var/nix/profiles/system --list-generations | wc -l"); got != "1" {
			t.Errorf("%s: %s generations", goal, got)
		}
	}
	n.must("rm /boot/fill")
	if r := n.activation(n.build("2", "good")).Activate(t.Context(), n.dial(), n.state()); r.Outcome != Converged {
		t.Errorf("with room again: %s", describe(r))
	}
}

// What a power cut leaves of a generation that Nix was making passes for that
// generation with Nix 2.8.
func TestLabHalfAGeneration(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	n := newNode(t, l, l.Hosts[0])
	system := n.build("2", "good")
	n.must("ln -s " + system + " /nix/var/nix/profiles/system-2-link.tmp-255-17901515")
	r := n.activation(system).Activate(t.Context(), n.dial(), n.state())
	if r.Outcome != Converged || n.settled() != system || n.must("readlink /nix/var/nix/profiles/system") != "system-2-link" {
		t.Errorf("%s", describe(r))
	}
}
