package bootstrap

import (
	"context"
	_ "embed" // the scripts that run on the machine
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/nixos"
	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// InfectScript is nixos-infect: its content, held against its digest, and the
// variables that it is run with.
type InfectScript struct {
	Content []byte
	SHA256  string // lower-case hex
	// Env are variables by name; NO_REBOOT is always set, because the reboot
	// is ours to wait for.
	Env map[string]string
}

// EnvForm is a name of a variable of nixos-infect's.
var EnvForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

//go:embed infect.sh
var infectScript string

//go:embed finish.sh
var finishScript string

// infectUnit is where nixos-infect runs: a unit of the machine's own, so that
// neither a broken connection nor a dead runner ends it half-way.
const infectUnit = "edge-actions-infect.service"

// infect starts nixos-infect, unless it is at work already, and waits for it.
func (b *Bootstrap) infect(ctx context.Context, s *Seen) error {
	defer func() { s.conn.Close() }()
	if s.Stage == Bare {
		args := []string{infectUnit, b.Infect.SHA256, "", "NO_REBOOT=1"}
		for _, name := range slices.Sorted(maps.Keys(b.Infect.Env)) {
			args = append(args, name+"="+b.Infect.Env[name])
		}
		b.Log.Logf("starting nixos-infect on the machine, in the unit %s", infectUnit)
		err := s.conn.Run(ctx, sshx.Cmd{
			Name: "starting nixos-infect", Root: true, Script: infectScript, Args: args, Stdin: strings.NewReader(string(b.Infect.Content)), Timeout: 2 * time.Minute,
		})
		if err != nil {
			return verdict.CannotTell(Transition, "nixos-infect to start", err, "see journalctl -u "+infectUnit+" on the machine, and run it again")
		}
	}
	end := time.Now().Add(b.Times.Transition)
	journal := b.Log.Fence("nixos-infect")
	defer func() { journal.Close() }()
	cursor := ""
	for {
		state, lines, next, err := b.askInfect(ctx, s.conn, cursor)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			// A link that broke is nothing to the unit.
			s.conn.Close()
			c, user, reachErr := b.reach(ctx, max(time.Until(end), time.Second))
			if reachErr != nil {
				return reachErr
			}
			s.conn, s.User = c, user
			if state, lines, next, err = b.askInfect(ctx, s.conn, cursor); err != nil {
				return verdict.CannotTell(Transition, "to see how far nixos-infect is", err, "run it again: it goes on on the machine by itself")
			}
		}
		fmt.Fprint(journal, lines)
		cursor = next
		switch state {
		case "running":
		case "done":
			return nil
		case "rebooted":
			return nil // the next look says as what
		default:
			return verdict.Refuse(Transition, "nixos-infect to come to its end", state, "see its last lines above; the next run starts it again")
		}
		if time.Now().After(end) {
			return verdict.CannotTell(Transition, fmt.Sprintf("nixos-infect to end within %s", b.Times.Transition), errors.New("it is still at work"), "it goes on by itself: run this again, with a longer transition_timeout")
		}
		select {
		case <-time.After(b.poll()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *Bootstrap) poll() time.Duration {
	if b.Times.Poll == 0 {
		return 5 * time.Second
	}
	return b.Times.Poll
}

// askInfect reads the unit's state and what it said since cursor.
func (b *Bootstrap) askInfect(ctx context.Context, c *sshx.Conn, cursor string) (state, lines, next string, err error) {
	const script = `
state=$(systemctl show -p ActiveState -p SubState -p Result -p ExecMainStatus "$1") || exit
printf '%s\n--\n' "$state"
[ -e /var/lib/edge-actions/infect/done ] && echo done
echo --
if [ -n "$2" ]; then
	journalctl -q --no-pager -o cat -u "$1" --show-cursor --after-cursor "$2"
else
	journalctl -q --no-pager -o cat -b -u "$1" --show-cursor
fi | tail -c 60000`
	out, err := c.Output(ctx, sshx.Cmd{Name: "asking for nixos-infect", Root: true, Public: true, Script: script, Args: []string{infectUnit, cursor}, Timeout: time.Minute}, 128<<10)
	if err != nil {
		return "", "", "", err
	}
	return readInfect(string(out), cursor)
}

// cursorForm is journalctl's, and its last line.
var cursorForm = regexp.MustCompile(`(?m)^-- cursor: ([A-Za-z0-9=;_-]{1,500})\n?\z`)

// readInfect takes an answer apart. Its first two parts are systemd's and ours;
// what the unit said comes last, and may look like either.
func readInfect(out, cursor string) (state, lines, next string, err error) {
	parts := strings.SplitN(out, "--\n", 3)
	if len(parts) < 3 {
		return "", "", "", fmt.Errorf("an answer that is not whole: %.200q", out)
	}
	lines, next = parts[2], cursor
	if m := cursorForm.FindStringSubmatchIndex(lines); m != nil {
		lines, next = lines[:m[0]], lines[m[2]:m[3]]
	}
	show := map[string]string{}
	for line := range strings.Lines(parts[0]) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		show[key] = value
	}
	switch {
	case strings.TrimSpace(parts[1]) == "done":
		return "done", lines, next, nil
	case show["ActiveState"] == "active" || show["ActiveState"] == "activating" || show["ActiveState"] == "deactivating":
		return "running", lines, next, nil
	case show["ActiveState"] == "":
		return "", "", "", fmt.Errorf("an answer without the state of the unit: %.200q", out)
	case show["ActiveState"] == "failed":
		return fmt.Sprintf("it failed: %s, exit code %s", quote(show["Result"]), quote(show["ExecMainStatus"])), lines, next, nil
	}
	// The machine was booted since, or the unit ended without its mark.
	return "rebooted", lines, next, nil
}

// finishInfect holds what nixos-infect left against what must survive, and
// boots the machine into it.
func (b *Bootstrap) finishInfect(ctx context.Context, s *Seen) error {
	key := s.conn.LoginKey()
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	args := []string{""} // the machine asked for no key: then none has to be in it
	if key != nil {
		args[0] = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	}
	out, err := s.conn.Output(ctx, sshx.Cmd{Name: "checking what nixos-infect left", Root: true, Script: finishScript, Args: args, Timeout: 2 * time.Minute}, 64<<10)
	if err != nil {
		s.conn.Close()
		return verdict.CannotTell(Transition, "what nixos-infect left to be whole: a system, a boot loader, host keys that are kept", err, "see what is missing; the machine was not rebooted and still runs its old system")
	}
	b.Log.Logf("kept for the next boot: %s", quote(strings.Join(strings.Fields(string(out)), ", ")))
	return b.reboot(ctx, s)
}

// reboot boots the machine and waits for another boot.
func (b *Bootstrap) reboot(ctx context.Context, s *Seen) error {
	r := nixos.Reboot{
		Shutdown: b.Times.Boot, Boot: b.Times.Boot, Stable: b.Times.Stable,
		Reach: func(ctx context.Context, limit time.Duration) (*sshx.Conn, error) {
			c, _, err := b.reach(ctx, limit)
			return c, err
		},
		Logf: b.Log.Logf,
	}
	c, _, err := r.Reboot(ctx, s.conn, s.BootID)
	if err != nil {
		return err
	}
	c.Close()
	return nil
}

// quote shows foreign text, cut.
func quote(s string) string { return fmt.Sprintf("%.300q", s) }
