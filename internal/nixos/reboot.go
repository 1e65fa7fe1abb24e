package nixos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"
)

// Reboot is one reboot of one host.
type Reboot struct {
	// Shutdown is how long the host may take to go down, Boot how long SSH may
	// then take to be back, and Stable how long the boot must then last to
	// count: a host that reboots in circles is none that is back.
	Shutdown, Boot, Stable time.Duration
	// Reach connects to the host anew, for at most limit.
	Reach func(ctx context.Context, limit time.Duration) (*sshx.Conn, error)
	Logf  func(format string, args ...any)
}

// Rebooted is a reboot that happened.
type Rebooted struct {
	BootID string
	// Requested is when the reboot was asked for, on the runner's clock; Down
	// and Back are how long after that SSH was gone and there again.
	Requested  time.Time
	Down, Back time.Duration
}

// The ids of the refusals of a reboot.
const (
	NotDown = "reboot-down" // the host did not go down
	NotBack = "reboot-back" // it did not come back, or not for long
)

// Reboot reboots the host at the other end of c, whose boot id was before, and
// returns a connection to what came back. It owns c. What proves the reboot is
// the new boot id; that the connection broke proves nothing.
func (r *Reboot) Reboot(ctx context.Context, c *sshx.Conn, before string) (_ *sshx.Conn, _ *Rebooted, err error) {
	defer func() { c.Close() }()
	out := &Rebooted{Requested: time.Now()}
	err = c.Run(ctx, sshx.Cmd{Name: "the reboot", Root: true, Script: "PATH=$PATH:/run/current-system/sw/bin:/usr/sbin:/sbin; sync; exec systemctl reboot", Timeout: r.Shutdown})
	var exit *command.ExitError
	switch {
	case err == nil, verdict.Has(err, sshx.ConnectionLost), errors.As(err, &exit) && exit.Code < 0: // it went down while it answered
	case errors.As(err, &exit) && goingDown(ctx, c): // what it runs in was ended before it
	case errors.As(err, &exit):
		return nil, nil, verdict.Refuse(NotDown, "the host to reboot", err.Error(), "see systemctl list-jobs and systemd-inhibit --list on the host")
	case ctx.Err() != nil || verdict.Has(err, sshx.SudoRefused):
		return nil, nil, err
	}
	select {
	case <-c.Done():
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	case <-time.After(time.Until(out.Requested.Add(r.Shutdown))):
		if id, err := bootID(ctx, c); err == nil && id == before {
			return nil, nil, verdict.Refuse(NotDown, fmt.Sprintf("the host to go down within %s", r.Shutdown), "the same boot as before, still answering", "the reboot is asked for and comes when what holds it up has stopped: see systemctl list-jobs on the host (K3s may take 90 s), or give it a longer shutdown_timeout")
		}
	}
	out.Down = time.Since(out.Requested)
	r.Logf("down after %s", round(out.Down))
	fresh, err := r.back(ctx, out, before)
	if err != nil {
		return nil, nil, err
	}
	return fresh, out, nil
}

// back waits for another boot that lasts.
func (r *Reboot) back(ctx context.Context, out *Rebooted, before string) (*sshx.Conn, error) {
	end := time.Now().Add(r.Boot)
	wanted := fmt.Sprintf("another boot within %s, that lasts for %s", r.Boot, r.Stable)
	for {
		c, err := r.Reach(ctx, time.Until(end))
		if err != nil {
			if ctx.Err() != nil || !verdict.Has(err, sshx.Unreachable, sshx.Timeout) {
				return nil, err
			}
			return nil, verdict.CannotTell(NotBack, wanted, err, "look at the host's console; if it does not come up by itself, an earlier generation can be chosen in the boot loader")
		}
		id, err := bootID(ctx, c)
		switch {
		case err == nil && id == before: // still on its way down
		case err == nil:
			out.BootID, out.Back = id, time.Since(out.Requested)
			r.Logf("back after %s, boot %s", round(out.Back), id)
			if err = r.stable(ctx, c, id); err == nil {
				return c, nil
			}
			r.Logf("it did not last: %v", err)
		}
		c.Close()
		if time.Until(end) <= 0 {
			if err == nil {
				err = errors.New("the same boot as before")
			}
			return nil, verdict.CannotTell(NotBack, wanted, err, "look at the host's console")
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// stable waits, and asks again over the same connection: one that lasted is
// part of the proof.
func (r *Reboot) stable(ctx context.Context, c *sshx.Conn, id string) error {
	select {
	case <-time.After(r.Stable):
	case <-c.Done():
		return errors.New("the connection broke")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	again, err := bootID(ctx, c)
	if err == nil && again != id {
		return fmt.Errorf("boot %q after %q", again, id)
	}
	return err
}

// goingDown reports whether the host is on its way down, or gone already.
func goingDown(ctx context.Context, c *sshx.Conn) bool {
	out, err := c.Output(ctx, sshx.Cmd{Name: "asking whether it goes down", Root: true, Script: "PATH=$PATH:/run/current-system/sw/bin; systemctl is-system-running || :", Timeout: 20 * time.Second}, 1000)
	return verdict.Has(err, sshx.ConnectionLost) || strings.TrimSpace(string(out)) == "stopping"
}

func bootID(ctx context.Context, c *sshx.Conn) (string, error) {
	out, err := c.Output(ctx, sshx.Cmd{Name: "reading the boot id", Script: "cat /proc/sys/kernel/random/boot_id", Timeout: 20 * time.Second}, 1000)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(out))
	if len(id) != 36 {
		return "", fmt.Errorf("reading the boot id: %.50q", out)
	}
	return id, nil
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
