package sshx

import (
	"context"
	"fmt"
	"time"

	"edge-actions/internal/verdict"
)

// Wait dials until it succeeds, for at most limit, and returns the connection.
// It ends at once where waiting cannot help: a wrong or unknown host key, a
// refused login, a configuration that does not hold. At its deadline it says
// what the last attempt found.
func Wait(ctx context.Context, t Target, o Options, limit time.Duration) (*Conn, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if limit <= 0 {
		return nil, fmt.Errorf("waiting for ssh: a limit is required")
	}
	hops, err := Resolve(t)
	if err != nil {
		return nil, err
	}
	host := hops[len(hops)-1]
	deadline := time.Now().Add(limit)
	var last error
	for attempts := 1; ; attempts++ {
		left := time.Until(deadline)
		attempt := o
		attempt.DialTimeout = min(o.DialTimeout, left)
		conn, err := dial(ctx, hops, attempt)
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil || !verdict.Has(err, Unreachable, Timeout) {
			return nil, err
		}
		// An attempt that was cut short by the limit found out less than the one
		// before it.
		if last == nil || left >= o.DialTimeout || !verdict.Has(err, Timeout) {
			last = err
		}
		if time.Until(deadline) <= o.Pause {
			return nil, verdict.CannotTell(Timeout, fmt.Sprintf("SSH on %s within %s", host, limit),
				fmt.Errorf("none in %d attempts; at the last one: %w", attempts, last), "look at the host's console, and at the last attempt's reason")
		}
		select {
		case <-time.After(o.Pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for ssh on %s: %w", host, context.Cause(ctx))
		}
	}
}
