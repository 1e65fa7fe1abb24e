package nixos

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/sshx"
)

// status is where an activation stands on its host.
type status struct {
	State
	// Known: the activation left traces. Without them the host was rebooted
	// since, or it never began.
	Known   bool
	Phase   string // the first word of the guard's phase
	Reason  string // the rest of it
	Verdict string // who or what decided; "" while nobody has
	// Logs are the ends of what was printed: "activation", "commit",
	// "rollback". Foreign text.
	Logs map[string]string
	// Units are the units that failed, with the end of their journals.
	Units []Unit
	// After is what the script that was to follow the commit printed.
	After []byte
}

// Unit is a unit that failed, with the end of its journal; foreign text.
type Unit struct{ Name, Journal string }

// The phases in which the guard's work is done, or waits for a word.
const (
	phaseLive       = "live"
	phaseCommitted  = "committed"
	phaseRolledBack = "rolled-back"
	phaseRebooting  = "rebooting"
	phaseNot        = "not-committed" // of the goal boot
)

const (
	settled     = phaseCommitted + " " + phaseRolledBack + " " + phaseRebooting + " " + phaseNot
	liveOrEnded = phaseLive + " " + settled
	// confirmed is the runner's verdict; all others are reasons to roll back.
	confirmed = "confirmed"
)

// maxStatus is room for the logs, and for what follows the commit.
const maxStatus = 34 << 20

// look asks the host where the activation stands, once it is in one of the
// phases or after wait. decide is a verdict to give first, or ""; after is a
// script to run with its arguments once it is committed, or nil.
func look(ctx context.Context, c *sshx.Conn, id string, wait time.Duration, phases, decide string, after []string) (*status, error) {
	if len(after) == 0 { // the script reads one argument more
		after = []string{""}
	}
	out, err := c.Output(ctx, sshx.Cmd{
		Name: "looking at the activation", Root: true, Public: true, Script: statusScript,
		Args: append([]string{id, seconds(wait), phases, decide}, after...), Timeout: wait + 60*time.Second,
	}, maxStatus)
	if err != nil {
		return nil, err
	}
	return parseStatus(out)
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int((max(d, 0) + time.Second - 1) / time.Second))
}

var profileLink = regexp.MustCompile(`^system-([0-9]{1,9})-link$`)

// parseStatus reads what status.sh prints: a name and its value in base64 on
// each line, and "end".
func parseStatus(data []byte) (*status, error) {
	text, ok := bytes.CutSuffix(data, []byte("end\n"))
	if !ok {
		return nil, fmt.Errorf("reading the activation's status: it has no end: %.200q", data)
	}
	s := &status{Logs: map[string]string{}}
	for line := range bytes.Lines(text) {
		name, encoded, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("reading the activation's status: %.200q is no value of %.50q", encoded, name)
		}
		value := strings.TrimSuffix(string(raw), "\n")
		switch name {
		case "boot_id":
			s.BootID = value
		case "current":
			s.Current = value
		case "profile":
			s.Profile = value
		case "generation":
			if m := profileLink.FindStringSubmatch(value); m != nil {
				s.Generation, _ = strconv.Atoi(m[1]) // at most nine digits
			}
		case "phase":
			s.Known = true
			s.Phase, s.Reason, _ = strings.Cut(value, " ")
		case "verdict":
			s.Known, s.Verdict = true, value
		case "after":
			s.After = raw
		case "activation", "commit", "rollback":
			s.Logs[name] = value
		case "unit":
			unit, journal, _ := strings.Cut(value, "\n")
			s.Units = append(s.Units, Unit{unit, journal})
		default:
			return nil, fmt.Errorf("reading the activation's status: there is no value %.50q", name)
		}
	}
	if s.BootID == "" || CheckSystemPath(s.Current) != nil || CheckSystemPath(s.Profile) != nil {
		return nil, errors.New("reading the activation's status: " + fmt.Sprintf("wanted a boot id and two systems, found %.50q, %.200q and %.200q", s.BootID, s.Current, s.Profile))
	}
	return s, nil
}

// Look asks a host what it is on.
func Look(ctx context.Context, c *sshx.Conn) (State, error) {
	s, err := look(ctx, c, "none", 0, "none", "", nil)
	if err != nil {
		return State{}, err
	}
	return s.State, nil
}
