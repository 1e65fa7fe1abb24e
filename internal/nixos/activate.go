package nixos

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"
)

// Activation is one change of one host.
type Activation struct {
	// System is the store path of the new system, which is on the host.
	System string
	Goal   Goal
	Times  Times
	// Reach connects to the host anew, for at most limit.
	Reach func(ctx context.Context, limit time.Duration) (*sshx.Conn, error)
	// Healthy looks at the host over a new connection. All its checks must be
	// proven or waived.
	Healthy func(ctx context.Context, c *sshx.Conn) []verdict.Check
	// After is a script with its arguments that is run as root once the system
	// is committed, and Committed judges what it printed; both may be nil.
	After     []string
	Committed func(printed []byte) []verdict.Check
	// Logf says what happens, in our own words.
	Logf func(format string, args ...any)
}

// run is one activation under way.
type run struct {
	*Activation
	id     string
	boot   string // the boot id at the begin
	prev   string
	begun  time.Time
	result *Result
}

// Activate carries the activation to its end over c, which is a connection to
// the host that has state before. It owns c. Whenever it is killed, the host
// ends on one system by itself.
func (a *Activation) Activate(ctx context.Context, c *sshx.Conn, before State) *Result {
	b := make([]byte, 8)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	act := *a
	act.Times = a.Times.Defaults()
	r := &run{Activation: &act, id: hex.EncodeToString(b), boot: before.BootID, prev: before.Profile}
	r.result = &Result{Previous: before.Profile, State: before}
	s, err := r.begin(ctx, c)
	if err != nil {
		c.Close()
		return r.end(Refused, cmp.Or(verdict.Reason(err), "begin"), verdict.ChecksOf(err)...)
	}
	s, err = r.follow(ctx, c, s)
	if err != nil {
		return r.lost(err)
	}
	return r.judge(s)
}

// deadline is when the host rolls back, as seen from here: a little late, since
// the host began its count after us.
func (r *run) deadline() time.Time { return r.begun.Add(r.Times.Confirm) }

// begin has the host start its guard, and returns where the activation stands
// when it is live or over, or nil if the connection did not last that long. An
// activation of a run that is gone is waited for: it ends by itself.
func (r *run) begin(ctx context.Context, c *sshx.Conn) (*status, error) {
	end := time.Now().Add(r.Times.Confirm + r.Times.Recover)
	for said := false; ; said = true {
		r.begun = time.Now()
		word, rest, s, err := r.ask(ctx, c)
		if verdict.Has(err, sshx.ConnectionLost) || err != nil && !c.Alive() && ctx.Err() == nil {
			return nil, nil // it may have begun: the host knows
		}
		if err != nil {
			return nil, err
		}
		switch word {
		case "started":
			r.prev, r.result.Previous = rest, rest
			return s, nil
		case "refused":
			return nil, r.refusal(rest)
		}
		if time.Now().After(end) {
			return nil, verdict.CannotTell("activation-busy", "no other activation on the host", fmt.Errorf("%q is still under way after %s", rest, r.Times.Confirm+r.Times.Recover), "look at edge-actions-guard.service on the host")
		}
		if !said {
			r.Logf("an activation of an earlier run is under way; it ends by itself, and then this one begins")
		}
		if _, err := look(ctx, c, strings.TrimPrefix(rest, "/run/edge-actions/activation-"), 10*time.Second, settled, "", nil); err != nil {
			return nil, err
		}
		select {
		case <-time.After(200 * time.Millisecond): // until systemd has put the guard away
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// ask runs begin.sh and returns its word, and with "started" the status that
// follows it.
func (r *run) ask(ctx context.Context, c *sshx.Conn) (word, rest string, s *status, err error) {
	hundredths := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds()/10, 10) }
	wait := r.Times.Activate + 5*time.Second
	after := []string{""}
	if r.Goal == Boot && len(r.After) > 0 { // it is committed without another word
		after = r.After
	}
	out, err := c.Output(ctx, sshx.Cmd{
		Name: "the activation", Root: true, Public: true, Script: beginScript, Timeout: wait + 2*time.Minute,
		Args: append([]string{r.id, r.System, string(r.Goal), hundredths(r.Times.Confirm), hundredths(r.Times.Activate), guardScript, statusScript, seconds(wait), liveOrEnded}, after...),
	}, maxStatus)
	if err != nil {
		return "", "", nil, err
	}
	for text := string(out); text != ""; {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		word, rest, _ = strings.Cut(line, " ")
		switch word {
		case "repaired":
			r.Logf("an earlier commit was cut short; the boot default is %s again", quoteUnlessPath(rest))
		case "started":
			if err := CheckSystemPath(rest); err != nil {
				return "", "", nil, fmt.Errorf("beginning the activation: the system before: %w", err)
			}
			s, err = parseStatus([]byte(text))
			return word, rest, s, err
		case "refused", "busy":
			return word, rest, nil, nil
		default:
			return "", "", nil, fmt.Errorf("beginning the activation: the host answered %.300q", out)
		}
	}
	return "", "", nil, errors.New("beginning the activation: the host answered nothing")
}

func quoteUnlessPath(s string) string {
	if CheckSystemPath(s) == nil {
		return s
	}
	return strconv.Quote(s)
}

// refusal turns the host's refusal into a check.
func (r *run) refusal(text string) error {
	why, rest, _ := strings.Cut(text, " ")
	switch why {
	case "missing":
		return verdict.Refuse("system-pushed", "the system "+r.System+" on the host", "none there", "look at the push above; the store may have been collected since")
	case "pending":
		live, committed, _ := strings.Cut(rest, " ")
		return verdict.Refuse("system-committed", "a host that runs what it boots", fmt.Sprintf("%.200q live, and %.200q as the boot default", live, committed),
			"reboot into the boot default (reboot-validate), or deploy what is live; only then there is a system to go back to")
	case "guard":
		return verdict.CannotTell("guard", "a guard on the host that can take the activation back", fmt.Errorf("%.1000q", rest), "look at systemd-run on the host")
	case "inhibited":
		return verdict.Refuse("switch-inhibited", "a system that can be switched to without a reboot", fmt.Sprintf("%.1000q", rest), "deploy it with goal: boot, then run reboot-validate")
	}
	return fmt.Errorf("beginning the activation: the host refused: %.300q", text)
}

// follow goes along with the activation to its end. It returns what the host
// said last, or why nobody could ask it.
func (r *run) follow(ctx context.Context, c *sshx.Conn, s *status) (_ *status, err error) {
	defer func() { c.Close() }()
	if s == nil || !strings.Contains(" "+liveOrEnded+" ", " "+s.Phase+" ") {
		s, err = r.await(ctx, &c, time.Until(r.begun.Add(r.Times.Activate))+5*time.Second, liveOrEnded, "")
	}
	if err != nil || s.Phase != phaseLive {
		return r.afterReboot(ctx, &c, s, err)
	}
	r.Logf("live, not committed yet: looking whether it can be reached anew and is healthy")
	// A connection that was open before proves nothing about the next one.
	fresh, err := r.Reach(ctx, time.Until(r.deadline()))
	decide := confirmed
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		r.Logf("it can't be reached anew (%s)", cmp.Or(verdict.Reason(err), "unreachable"))
		decide = "locked-out"
		if fresh = c; !c.Alive() {
			// Nobody can tell it, and it goes back by itself.
			if fresh, err = r.persist(ctx, time.Until(r.deadline().Add(r.Times.Recover))); err != nil {
				return nil, err
			}
		}
	case r.healthy(ctx, fresh):
		r.Logf("healthy: it becomes the boot default")
	default:
		r.Logf("it is not healthy; the host goes back to its previous system")
		decide = "unhealthy"
	}
	if c != fresh {
		c.Close()
		c = fresh
	}
	s, err = r.await(ctx, &c, r.Times.Recover, settled, decide)
	return r.afterReboot(ctx, &c, s, err)
}

// await is look that survives the loss of its connection: within wait the host
// must be there again.
func (r *run) await(ctx context.Context, c **sshx.Conn, wait time.Duration, phases, decide string) (*status, error) {
	end := time.Now().Add(wait)
	for {
		// Sessions of half a minute, so that a connection that died without a
		// word is noticed.
		s, err := look(ctx, *c, r.id, max(0, min(time.Until(end), 30*time.Second)), phases, decide, r.After)
		if err == nil && (!s.Known || strings.Contains(" "+phases+" ", " "+s.Phase+" ") || time.Now().After(end)) {
			return s, nil
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil || !verdict.Has(err, sshx.ConnectionLost) && (*c).Alive() {
			return nil, err
		}
		(*c).Close()
		limit := max(time.Until(end), time.Until(r.deadline().Add(r.Times.Recover)))
		if *c, err = r.persist(ctx, limit); err != nil {
			return nil, err
		}
		// What was meant to be waited for may have happened long ago, or the
		// guard may still be at it.
		end = time.Now().Add(max(time.Until(end), time.Until(r.deadline().Add(10*time.Second))))
		if phases == liveOrEnded {
			// Who was cut off in the activation does not confirm it any more.
			phases, decide = settled, "connection-lost"
		}
	}
}

// persist reaches the host within limit whatever it answers until then: a
// system that shuts us out is the one that the host is about to leave.
func (r *run) persist(ctx context.Context, limit time.Duration) (*sshx.Conn, error) {
	end := time.Now().Add(limit)
	for {
		c, err := r.Reach(ctx, time.Until(end))
		if err == nil || ctx.Err() != nil || time.Now().Add(r.Times.Pause).After(end) {
			return c, err
		}
		select {
		case <-time.After(r.Times.Pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// afterReboot waits for a host that the guard reboots.
func (r *run) afterReboot(ctx context.Context, c **sshx.Conn, s *status, err error) (*status, error) {
	end := time.Now().Add(r.Times.Recover)
	for err == nil && s.Phase == phaseRebooting && time.Now().Before(end) {
		r.Logf("its previous system did not come back by itself; the host reboots into it")
		reason := s.Reason
		(*c).Close()
		if *c, err = r.persist(ctx, time.Until(end)); err != nil {
			return nil, err
		}
		if s, err = look(ctx, *c, r.id, 5*time.Second, "none", "", nil); err == nil {
			s.Reason = cmp.Or(s.Reason, reason)
		} else if verdict.Has(err, sshx.ConnectionLost) && ctx.Err() == nil {
			s, err = &status{Phase: phaseRebooting, Reason: reason}, nil // it went down just now
		}
	}
	return s, err
}

// healthy looks until all is well or the time is nearly up: what was restarted
// needs a while.
func (r *run) healthy(ctx context.Context, c *sshx.Conn) bool {
	for {
		r.result.Checks = r.Healthy(ctx, c)
		if verdict.Of(r.result.Checks) == verdict.Proven {
			return true
		}
		left := time.Until(r.deadline())
		if left < 2*r.Times.Pause || !c.Alive() {
			return false
		}
		select {
		case <-time.After(r.Times.Pause):
		case <-ctx.Done():
			return false
		}
	}
}
