package nixos

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edge-actions/internal/testing/lab"
)

// The runner confirms at the very moment at which the guard's time is up, a
// hundred times: exactly one of them decides, and both say the same.
func TestLabConfirmRacesTheTimeout(t *testing.T) {
	t.Parallel()
	const rounds, hosts = 100, 5
	l := lab.New(t, hosts)
	var committed, rolledBack atomic.Int64
	var all sync.WaitGroup
	for i, h := range l.Hosts {
		n := newNode(t, l, h)
		all.Go(func() {
			systems := []string{n.build("a", "good"), n.build("b", "good")}
			on := n.first
			for round := range rounds / hosts {
				next := systems[round%2]
				if next == on {
					next = systems[(round+1)%2]
				}
				// From too early to too late, by a few hundredths around the moment.
				won, err := n.race(fmt.Sprintf("race%d-%d", i, round), next, time.Duration(round-13)*20*time.Millisecond)
				if err != nil {
					t.Error(err)
					return
				}
				if won {
					committed.Add(1)
					on = next
				} else {
					rolledBack.Add(1)
				}
				if got := n.settled(); got != on {
					t.Errorf("round %d on %s: the runner was told %v, and the host is on %s", round, n.Name, won, got)
				}
			}
		})
	}
	all.Wait()
	if committed.Load() == 0 || rolledBack.Load() == 0 || committed.Load()+rolledBack.Load() != rounds {
		t.Errorf("no race: %d confirmed and %d timed out of %d", committed.Load(), rolledBack.Load(), rounds)
	}
	t.Logf("%d confirmed, %d timed out", committed.Load(), rolledBack.Load())
}

// race begins an activation, confirms it off the deadline, and returns whether
// the host says that it was confirmed. The host's own words have to agree: the
// verdict, the phase, and what it is on.
func (n *node) race(id, system string, off time.Duration) (bool, error) {
	ctx := n.t.Context()
	c, err := n.reach(ctx, time.Minute)
	if err != nil {
		return false, err
	}
	defer c.Close()
	r := &run{Activation: &Activation{System: system, Goal: Switch, Times: Times{Confirm: time.Minute, Activate: 50 * time.Second}, Logf: n.t.Logf}, id: id, result: &Result{}}
	word := "busy"
	for range 100 { // until systemd has put the guard of the round before away
		if word, _, _, err = r.ask(ctx, c); err != nil || word == "started" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if word != "started" {
		return false, fmt.Errorf("it did not begin: %s %w", word, err)
	}
	// It is live. Now its time is nearly up, and the runner's word is on its way.
	const left = 500 * time.Millisecond
	if _, err := n.Run(fmt.Sprintf(`cd /run/edge-actions/activation-%s && read -r up _ </proc/uptime && echo $(($(echo "$up" | tr -d .) + %d)) >deadline.new && mv deadline.new deadline`, id, left.Milliseconds()/10)); err != nil {
		return false, err
	}
	time.Sleep(left + off)
	s, err := look(ctx, c, id, 30*time.Second, settled, confirmed, nil)
	if err != nil {
		return false, err
	}
	switch {
	case s.Verdict == confirmed && s.Phase == phaseCommitted && s.Current == system && s.Profile == system:
		return true, nil
	case s.Verdict == "not-confirmed" && s.Phase == phaseRolledBack && s.Reason == "not-confirmed" && s.Current != system && s.Current == s.Profile:
		return false, nil
	}
	return false, fmt.Errorf("they don't agree: verdict %q, phase %q %q, on %s and %s", s.Verdict, s.Phase, s.Reason, s.Current, s.Profile)
}

// The same moment, held still: the guard has seen no verdict and is about to
// look at its clock, the runner confirms, and then the guard finds its time to
// be up.
func TestLabConfirmComesBetween(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	n := newNode(t, l, l.Hosts[0])
	system := n.build("2", "good")
	c := n.dial()
	defer c.Close()
	r := &run{Activation: &Activation{System: system, Goal: Switch, Times: Times{Confirm: time.Minute, Activate: 50 * time.Second}, Logf: t.Logf}, id: "between", result: &Result{}}
	if word, _, _, err := r.ask(t.Context(), c); err != nil || word != "started" {
		t.Fatalf("%s %v", word, err)
	}
	// A pipe in the place of the deadline: reading it waits for us.
	n.must("cd /run/edge-actions/activation-between && mkfifo pipe && mv pipe deadline && sleep 0.5")
	s, err := look(t.Context(), c, "between", 0, "none", confirmed, nil)
	if err != nil || s.Verdict != confirmed {
		t.Fatalf("%+v %v", s, err)
	}
	n.must("echo 0 >/run/edge-actions/activation-between/deadline")
	s, err = look(t.Context(), c, "between", 30*time.Second, settled, "", nil)
	if err != nil || s.Verdict != confirmed || s.Phase != phaseCommitted || n.settled() != system {
		t.Errorf("%+v %v", s, err)
	}
}
