package contracts

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
)

// unit says how a backup's service ended and whether its timer will start it
// again. It corroborates: a service that does nothing ends well too.
func (p *Place) unit(ctx context.Context, name string, maxAge time.Duration) []verdict.Check {
	service, timer := name+".service", name+".timer"
	wantedService := fmt.Sprintf("%s ended well within %s", service, maxAge)
	wantedTimer := fmt.Sprintf("%s enabled, waiting, with a next time", timer)
	units, err := p.show(ctx, service, timer)
	if err != nil {
		const hint = "a contract with units is looked at on the host that has them: set its host"
		return []verdict.Check{verdict.CannotTell(Service, wantedService, err, hint).Check, verdict.CannotTell(Timer, wantedTimer, err, hint).Check}
	}
	return []verdict.Check{judgeService(units[service], wantedService, service, maxAge, p.Now), judgeTimer(units[timer], wantedTimer, timer)}
}

// show asks systemd for what it knows of units, by their ids.
func (p *Place) show(ctx context.Context, units ...string) (map[string]map[string]string, error) {
	args := []string{"show", "--timestamp=unix", "--property=Id,LoadState,ActiveState,UnitFileState,WantedBy,RequiredBy,Unit,Result,ExecMainCode,ExecMainStatus,ExecMainStartTimestamp,ExecMainExitTimestamp,NextElapseUSecRealtime,NextElapseUSecMonotonic", "--"}
	out, err := command.Output(ctx, command.Cmd{
		Path: "systemctl", Args: append(args, units...), Env: command.Environ(p.Environ, command.Base, map[string]string{"LC_ALL": "C", "TZ": "UTC"}), Timeout: 30 * time.Second, Grace: 5 * time.Second,
	}, 1<<20)
	if err != nil {
		return nil, err
	}
	found := map[string]map[string]string{}
	block := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(append(out, '\n'))); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), "=")
		if ok {
			block[key] = value
			continue
		}
		if id := block["Id"]; id != "" {
			found[id] = block
		}
		block = map[string]string{}
	}
	if id := block["Id"]; id != "" {
		found[id] = block
	}
	for _, u := range units {
		if found[u] == nil {
			return nil, fmt.Errorf("systemctl said nothing of %q", u)
		}
	}
	return found, nil
}

// unixTime reads "@1700000000"; what never was is empty or 0.
func unixTime(s string) (time.Time, bool) {
	n, err := strconv.ParseInt(strings.TrimPrefix(s, "@"), 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}, false
	}
	return time.Unix(n, 0), true
}

func judgeService(u map[string]string, wanted, name string, maxAge time.Duration, now time.Time) verdict.Check {
	hint := "see journalctl -u " + name + " on the host"
	ended, ran := unixTime(u["ExecMainExitTimestamp"])
	started, begun := unixTime(u["ExecMainStartTimestamp"])
	running := u["ActiveState"] == "activating" || u["ActiveState"] == "active"
	switch {
	case u["LoadState"] == "masked":
		return verdict.CannotTell(Service, wanted, errors.New("it is masked"), "unmask it, or waive this check with a reason and an end date").Check
	case u["LoadState"] != "loaded":
		return verdict.CannotTell(Service, wanted, fmt.Errorf("it is %.40q", u["LoadState"]), "correct units, or see why the host no longer has it").Check
	case running && begun && now.Sub(started) > maxAge:
		return verdict.Refuse(Service, wanted, fmt.Sprintf("it runs since %s", stamp(started)), "it hangs: "+hint).Check
	case u["ActiveState"] == "failed" || !running && u["Result"] != "success":
		return verdict.Refuse(Service, wanted, fmt.Sprintf("%s: %s, exit status %s", u["ActiveState"], u["Result"], u["ExecMainStatus"]), hint).Check
	case running && !ran:
		return verdict.CannotTell(Service, wanted, errors.New("it runs for the first time"), "look again when it has ended").Check
	case !ran:
		// Result=success is what a unit says that was never started; and systemd
		// forgets one that has ended and that no timer holds.
		return verdict.CannotTell(Service, wanted, errors.New("systemd knows of no run: there was none since the boot, or its timer is off"), "see its timer; Persistent=true catches up on what was missed").Check
	case !running && u["ExecMainStatus"] != "0":
		return verdict.Refuse(Service, wanted, "exit status "+u["ExecMainStatus"], hint).Check
	case now.Sub(ended) > maxAge:
		return verdict.Refuse(Service, wanted, "it ended last on "+stamp(ended), "see its timer: systemctl list-timers "+strings.TrimSuffix(name, ".service")+".timer").Check
	}
	got := "it ended on " + stamp(ended)
	if running {
		got = "it runs now, and its last end was on " + stamp(ended)
	}
	return verdict.Check{ID: Service, Verdict: verdict.Proven, Wanted: wanted, Got: got}
}

func judgeTimer(u map[string]string, wanted, name string) verdict.Check {
	// --timestamp=unix leaves these as words (systemd 252).
	next, monotonic := u["NextElapseUSecRealtime"], u["NextElapseUSecMonotonic"]
	real := next != "" && next != "n/a"
	// Of a timer that nothing wants the next boot knows nothing, whatever it does
	// today. On NixOS such a file is "linked", and what is wanted has no [Install].
	enabled := u["UnitFileState"] == "enabled" || u["UnitFileState"] != "enabled-runtime" && u["WantedBy"]+u["RequiredBy"] != ""
	service := strings.TrimSuffix(name, ".timer") + ".service"
	switch {
	case u["LoadState"] != "loaded":
		return verdict.CannotTell(Timer, wanted, fmt.Errorf("it is %.40q", u["LoadState"]), "correct units, or see why the host no longer has it").Check
	case u["ActiveState"] != "active":
		return verdict.CannotTell(Timer, wanted, fmt.Errorf("it is %.40q (%.40q)", u["ActiveState"], u["UnitFileState"]), "systemctl enable --now "+name+", in the host's configuration; or waive this check with a reason and an end date").Check
	case !enabled:
		return verdict.CannotTell(Timer, wanted, fmt.Errorf("it is active and %.40q: the next boot starts it no more", u["UnitFileState"]), "enable it in the host's configuration").Check
	case u["Unit"] != service:
		return verdict.Refuse(Timer, wanted, fmt.Sprintf("it starts %.100q", u["Unit"]), "correct units, or the timer").Check
	case !real && (monotonic == "" || monotonic == "infinity" || monotonic == "0"):
		return verdict.CannotTell(Timer, wanted, errors.New("it has no next time"), "see its OnCalendar: systemd-analyze calendar").Check
	case !real:
		return verdict.Check{ID: Timer, Verdict: verdict.Proven, Wanted: wanted, Got: "next by its interval"}
	}
	return verdict.Check{ID: Timer, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("next on %.60q", next)}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
