package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"
)

// setClock sets the machine's clock if it is off by more than the limit, and
// reads it again. Under a running K3s it is never set back: leases, tokens and
// certificates there are by the time that was.
func (b *Bootstrap) setClock(ctx context.Context, s *Seen) ([]verdict.Check, error) {
	if b.MaxSkew == 0 {
		return nil, nil
	}
	wanted := fmt.Sprintf("a clock that is at most %s off", b.MaxSkew)
	off, err := b.offset(ctx, s.conn)
	if err != nil {
		return nil, err
	}
	if off.Abs() <= b.MaxSkew {
		return []verdict.Check{{ID: ClockSet, Verdict: verdict.Proven, Wanted: wanted, Got: off.String()}}, nil
	}
	if off > 0 {
		units, err := s.facts.Units.Get()
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(units, func(u node.Unit) bool {
			return slices.Contains(u.Names, "k3s.service") && u.Active != "inactive" && u.Active != "failed"
		}) {
			return []verdict.Check{verdict.Refuse(ClockSet, wanted, fmt.Sprintf("%s ahead, and K3s is running", off), "stop K3s, set the clock, start K3s: it must not see the time go backwards").Check}, nil
		}
	}
	b.Log.Logf("the machine's clock is %s off: setting it", off)
	b.Changed = true
	// Whole seconds, and what the way takes is less.
	to := b.Clock().Round(time.Second).Unix()
	err = s.conn.Run(ctx, sshx.Cmd{Name: "setting the clock", Root: true, Public: true, Script: `date -u -s "@$1" >/dev/null && { hwclock -w 2>/dev/null || :; }`, Args: []string{strconv.FormatInt(to, 10)}, Timeout: 30 * time.Second})
	if err != nil {
		return []verdict.Check{verdict.CannotTell(ClockSet, wanted, err, "set it on the machine: date -u -s, then systemctl restart systemd-timesyncd").Check}, nil
	}
	again, err := b.offset(ctx, s.conn)
	if err != nil {
		return nil, err
	}
	if again.Abs() > b.MaxSkew {
		return []verdict.Check{verdict.Refuse(ClockSet, wanted, fmt.Sprintf("%s, after it was set", again), "see what else sets the clock there: timedatectl").Check}, nil
	}
	return []verdict.Check{{ID: ClockSet, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("%s, it was %s", again, off)}}, nil
}

// offset is how far the machine's clock is ahead.
func (b *Bootstrap) offset(ctx context.Context, c *sshx.Conn) (time.Duration, error) {
	asked := b.Clock()
	out, err := c.Output(ctx, sshx.Cmd{Name: "reading the clock", Public: true, Script: "date -u +%s", Timeout: 30 * time.Second}, 1000)
	if err != nil {
		return 0, err
	}
	answered := b.Clock()
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return 0, verdict.CannotTell(ClockSet, "the machine's time", errors.New(quote(string(out))), "see date on the machine")
	}
	// It was read at some moment between the two, and cut to a whole second.
	at := time.Unix(seconds, 0)
	switch {
	case at.Add(time.Second).Before(asked):
		return at.Add(time.Second).Sub(asked).Round(time.Second), nil
	case at.After(answered):
		return at.Sub(answered).Round(time.Second), nil
	}
	return 0, nil
}
