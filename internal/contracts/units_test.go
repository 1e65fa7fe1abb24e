package contracts

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

// What systemd 252 says of a oneshot that ended well an hour ago, and of its timer.
var now = time.Unix(1_800_000_000, 0)

func service(change ...string) map[string]string {
	return with(map[string]string{
		"Id": "b.service", "LoadState": "loaded", "ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0",
		"ExecMainStartTimestamp": fmt.Sprintf("@%d", now.Unix()-3700), "ExecMainExitTimestamp": fmt.Sprintf("@%d", now.Unix()-3600),
	}, change)
}

func timer(change ...string) map[string]string {
	return with(map[string]string{
		"Id": "b.timer", "LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "WantedBy": "timers.target", "Unit": "b.service",
		"NextElapseUSecRealtime": "Thu 2026-11-26 00:00:00 UTC", "NextElapseUSecMonotonic": "infinity",
	}, change)
}

func with(u map[string]string, change []string) map[string]string {
	for _, kv := range change {
		k, v, _ := strings.Cut(kv, "=")
		maps.Copy(u, map[string]string{k: v})
	}
	return u
}

func TestServices(t *testing.T) {
	for name, tt := range map[string]struct {
		change string
		want   verdict.Verdict
		says   string
	}{
		"well":          {"", verdict.Proven, "it ended on"},
		"not there":     {"LoadState=not-found", verdict.Unproven, "not-found"},
		"masked":        {"LoadState=masked", verdict.Unproven, "masked"},
		"failed":        {"ActiveState=failed Result=exit-code ExecMainStatus=1", verdict.Disproven, "exit status 1"},
		"killed":        {"Result=signal", verdict.Disproven, "signal"},
		"a bad status":  {"ExecMainStatus=3", verdict.Disproven, "exit status 3"},
		"never ran":     {"ExecMainStartTimestamp= ExecMainExitTimestamp=", verdict.Unproven, "knows of no run"},
		"never ran, 0":  {"ExecMainStartTimestamp=@0 ExecMainExitTimestamp=@0", verdict.Unproven, "knows of no run"},
		"long ago":      {fmt.Sprintf("ExecMainExitTimestamp=@%d", now.Unix()-200_000), verdict.Disproven, "ended last"},
		"runs now":      {"ActiveState=activating", verdict.Proven, "runs now"},
		"its first run": {"ActiveState=activating ExecMainExitTimestamp=", verdict.Unproven, "first time"},
		"hangs":         {fmt.Sprintf("ActiveState=activating ExecMainStartTimestamp=@%d", now.Unix()-200_000), verdict.Disproven, "it hangs"},
	} {
		t.Run(name, func(t *testing.T) {
			c := judgeService(service(strings.Fields(tt.change)...), "w", "b.service", 26*time.Hour, now)
			if c.Verdict != tt.want || !strings.Contains(c.Got+c.Hint, tt.says) {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestTimers(t *testing.T) {
	for name, tt := range map[string]struct {
		change string
		want   verdict.Verdict
		says   string
	}{
		"well":                         {"", verdict.Proven, "next on"},
		"NixOS":                        {"UnitFileState=linked", verdict.Proven, "next on"},
		"not there":                    {"LoadState=not-found", verdict.Unproven, "not-found"},
		"stopped":                      {"ActiveState=inactive", verdict.Unproven, "enable --now"},
		"disabled, and active":         {"UnitFileState=disabled WantedBy=", verdict.Unproven, "the next boot"},
		"linked, and wanted by nobody": {"UnitFileState=linked WantedBy=", verdict.Unproven, "the next boot"},
		"enabled until the next boot":  {"UnitFileState=enabled-runtime", verdict.Unproven, "the next boot"},
		"of another service":           {"Unit=c.service", verdict.Disproven, "c.service"},
		"never again":                  {"NextElapseUSecRealtime=", verdict.Unproven, "no next time"},
		"by an interval":               {"NextElapseUSecRealtime= NextElapseUSecMonotonic=2h", verdict.Proven, "interval"},
	} {
		t.Run(name, func(t *testing.T) {
			c := judgeTimer(timer(strings.Fields(tt.change)...), "w", "b.timer")
			if c.Verdict != tt.want || !strings.Contains(c.Got+c.Hint, tt.says) {
				t.Errorf("%+v", c)
			}
		})
	}
}
