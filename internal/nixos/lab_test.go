package nixos

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/verdict"
)

// node is a host of the lab as this package sees it.
type node struct {
	*lab.Host
	t      *testing.T
	target sshx.Target
	first  string
}

func newNode(t *testing.T, l *lab.Lab, h *lab.Host) *node {
	n := &node{Host: h, t: t, target: sshx.Target{Host: h.Address, User: "nixos", HostKeys: []string{h.HostKey}, IdentityFiles: []string{l.Key}, Config: "none"}}
	n.first = n.must("readlink -f /run/current-system")
	return n
}

func (n *node) must(script string) string {
	n.t.Helper()
	out, err := n.Run(script)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

func (n *node) build(label, behaviour string) string {
	n.t.Helper()
	system, err := n.Build(label, behaviour)
	if err != nil {
		n.t.Fatal(err)
	}
	return system
}

func (n *node) reach(ctx context.Context, limit time.Duration) (*sshx.Conn, error) {
	return sshx.Wait(ctx, n.target, sshx.Options{DialTimeout: 2 * time.Second, KeepAlive: time.Second, Missed: 2, Pause: 50 * time.Millisecond}, limit)
}

func (n *node) dial() *sshx.Conn {
	n.t.Helper()
	c, err := n.reach(n.t.Context(), time.Minute)
	if err != nil {
		n.t.Fatalf("%v\n%s", err, n.must("systemctl status ssh; ls -la /run/sshd; journalctl -u ssh -n 20 --no-pager; ps aux | tail -30; cat /proc/sys/kernel/pid_max /sys/fs/cgroup/pids/system.slice/pids.* || true"))
	}
	return c
}

func (n *node) state() State {
	n.t.Helper()
	c := n.dial()
	defer c.Close()
	s, err := look(n.t.Context(), c, "none", 0, "none", "", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return s.State
}

// activation is one with short times, whose health is that of the host's
// secrets.
func (n *node) activation(system string) *Activation {
	return &Activation{
		System: system, Goal: Switch, Reach: n.reach, Logf: n.t.Logf,
		Times: Times{Confirm: 12 * time.Second, Activate: 9 * time.Second, Recover: time.Minute, Pause: 200 * time.Millisecond},
		Healthy: func(ctx context.Context, c *sshx.Conn) []verdict.Check {
			err := c.Run(ctx, sshx.Cmd{Name: "health", Script: "test -e /run/secrets", Timeout: 5 * time.Second})
			if err != nil {
				return []verdict.Check{{ID: "secrets", Verdict: verdict.Disproven, Got: err.Error()}}
			}
			return []verdict.Check{{ID: "secrets", Verdict: verdict.Proven}}
		},
	}
}

// settled proves that the host is on one system, that nothing of an activation
// is under way, and returns the system.
func (n *node) settled() string {
	n.t.Helper()
	end := time.Now().Add(time.Minute)
	for n.must("systemctl list-units --all --plain --no-legend 'edge-actions-*'") != "" {
		if time.Now().After(end) {
			n.t.Fatalf("an activation is still under way: %s", n.must("systemctl status edge-actions-guard || true"))
		}
		time.Sleep(50 * time.Millisecond)
	}
	got := strings.Fields(n.must(`readlink -f /run/current-system; readlink -f /nix/var/nix/profiles/system
entry=$(sed -n 's/^default //p' /boot/loader/loader.conf); sed -n 's/.*init=\([^ ]*\)\/init.*/\1/p' /boot/loader/entries/$entry`))
	if len(got) != 3 || got[0] != got[1] || got[1] != got[2] {
		n.t.Errorf("%s is half-way: live, profile and loader are %q", n.Name, got)
	}
	if roots := n.must("ls -d /nix/var/nix/gcroots/edge-actions/previous /run/edge-actions/new 2>/dev/null || true"); roots != "" {
		n.t.Errorf("roots are left: %s", roots)
	}
	if err := n.WaitSSH(); err != nil {
		n.t.Error(err)
	}
	return got[0]
}

func describe(r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)", r.Outcome, r.Reason)
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "\n%s %s: %s", c.Verdict, c.ID, c.Got)
	}
	return b.String()
}

func TestLabActivate(t *testing.T) {
	t.Parallel()
	cases := []struct {
		behaviour string
		outcome   Outcome
		reason    string
		words     string // in the checks
	}{
		{"good", Converged, "", ""},
		{"slow", Converged, "", ""},
		{"hostile", Converged, "", ""},
		{"fail-unit", RolledBack, "failed-units", "the database is of another version"},
		{"fail", RolledBack, "activation-failed-2", "Activation script snippet"},
		{"crash", RolledBack, "panicked", "panicked at"},
		{"needs-reboot", RolledBack, "needs-reboot", "goal: boot"},
		{"hang", RolledBack, "activation-hung", ""},
		{"no-secrets", RolledBack, "unhealthy", ""},
		{"lock-out", RolledBack, "locked-out", "nobody could log in anew"},
		{"cut", RolledBack, "not-confirmed", ""},
		{"cut-for-good", RolledBack, "rebooted", ""},
		{"panic", RolledBack, "rebooted", "rebooted before"},
		{"inhibit", Refused, "switch-inhibited", "goal: boot"},
	}
	l := lab.New(t, 5)
	free := make(chan *lab.Host, len(l.Hosts))
	for _, h := range l.Hosts {
		free <- h
	}
	t.Run("cases", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.behaviour, func(t *testing.T) {
				t.Parallel()
				h := <-free
				defer func() { free <- h }()
				n := newNode(t, l, h)
				system := n.build(c.behaviour, c.behaviour)
				r := n.activation(system).Activate(t.Context(), n.dial(), n.state())
				if r.Outcome != c.outcome || r.Reason != c.reason {
					t.Errorf("wanted %s (%s), found %s", c.outcome, c.reason, describe(r))
				}
				if text := describe(r) + fmt.Sprint(r.Checks); !strings.Contains(text, c.words) {
					t.Errorf("%q is not in %s", c.words, text)
				}
				want := n.first
				if c.outcome == Converged {
					want = system
				}
				if got := n.settled(); got != want || r.State.Current != want || r.State.Profile != want || r.Previous != n.first {
					t.Errorf("it is on %s, and the result says %+v after %s; want %s", got, r.State, r.Previous, want)
				}
				if c.outcome != Converged && verdict.Of(r.Checks) == verdict.Proven {
					t.Errorf("green: %s", describe(r))
				}
			})
		}
	})
}
