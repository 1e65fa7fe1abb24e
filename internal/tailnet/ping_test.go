package tailnet

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestFindPong(t *testing.T) {
	ip := netip.MustParseAddr("100.64.0.3")
	for name, tc := range map[string]struct {
		said string
		want *Pong
	}{
		"direct":          {"pong from control (100.64.0.3) via 203.0.113.9:41641 in 12ms\n", &Pong{IP: ip, Via: "203.0.113.9:41641", Latency: 12 * time.Millisecond}},
		"direct, IPv6":    {"pong from control (100.64.0.3) via [2001:db8::9]:41641 in 1.002s\n", &Pong{IP: ip, Via: "[2001:db8::9]:41641", Latency: 1002 * time.Millisecond}},
		"relayed":         {"pong from control (100.64.0.3) via DERP(fra) in 0s\n", &Pong{IP: ip, Via: "DERP(fra)"}},
		"by a peer":       {"pong from control (100.64.0.3) via peer-relay(203.0.113.9:40000:vni:7) in 3ms\n", &Pong{IP: ip, Via: "peer-relay(203.0.113.9:40000:vni:7)", Latency: 3 * time.Millisecond}},
		"with a port":     {"pong from control (100.64.0.3, 42042) via TSMP in 3ms\n", &Pong{IP: ip, Via: "TSMP", Latency: 3 * time.Millisecond}},
		"at last":         {"ping \"100.64.0.3\" timed out\nping \"100.64.0.3\" timed out\npong from control (100.64.0.3) via DERP(fra) in 9ms\n", &Pong{IP: ip, Via: "DERP(fra)", Latency: 9 * time.Millisecond}},
		"a strange name":  {"pong from a (b) via c (100.64.0.3) via DERP(fra) in 9ms\n", &Pong{IP: ip, Via: "DERP(fra)", Latency: 9 * time.Millisecond}},
		"half a line":     {"pong from control (100.64.0.3) via DERP(fra) in 9m", nil},
		"another address": {"pong from control (100.64.0.33) via DERP(fra) in 9ms\n", nil},
		"no address":      {"pong from control (3) via DERP(fra) in 9ms\n", nil},
		"no latency":      {"pong from control (100.64.0.3) via DERP(fra) in soon\n", nil},
		"not its start":   {"no pong from control (100.64.0.3) via DERP(fra) in 9ms\n", nil},
		"foreign in via":  {"pong from control (100.64.0.3) via \x1b[2J in 9ms\n", nil},
		"nothing":         {"", nil},
	} {
		if diff := cmp.Diff(tc.want, findPong([]byte(tc.said), ip), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPingEndsWithTheFirstAnswer(t *testing.T) {
	c := double(t, `echo 'ping "100.64.0.3" timed out'; echo 'pong from control (100.64.0.3) via DERP(fra) in 9ms'; exec sleep 600`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pong, err := c.Ping(ctx, "control", time.Hour)
	want := &Pong{Name: "control.tail0123.ts.example", IP: netip.MustParseAddr("100.64.0.3"), Via: "DERP(fra)", Latency: 9 * time.Millisecond}
	if err != nil || *pong != *want {
		t.Errorf("%+v, %v", pong, err)
	}
	if ctx.Err() != nil {
		t.Error("it went on until it was ended")
	}
}

// An answer counts, whatever the command line says afterwards.
func TestPingAnsweredAndThenFailed(t *testing.T) {
	c := double(t, `echo 'pong from control (100.64.0.3) via DERP(fra) in 9ms'; echo 'direct connection not established' >&2; exit 1`)
	if _, err := c.Ping(t.Context(), "control", time.Minute); err != nil {
		t.Error(err)
	}
}

func TestPingOfItself(t *testing.T) {
	c := double(t, `exit 9`)
	if pong, err := c.Ping(t.Context(), "edge-1", time.Minute); err != nil || pong.Via != "itself" {
		t.Errorf("%+v, %v", pong, err)
	}
}

func TestPingRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		script, peer string
		timeout      time.Duration
		id, says     string
	}{
		"no reply":              {`echo 'ping "100.64.0.3" timed out'; exec sleep 600`, "control", 100 * time.Millisecond, NoReply, "no end after 100ms"},
		"no reply, and it ends": {`echo 'ping "100.64.0.3" timed out'; echo 'no reply' >&2; exit 1`, "control", time.Minute, NoReply, `"no reply"`},
		"another one answers":   {`echo 'pong from control (100.64.0.4) via DERP(fra) in 9ms'`, "control", time.Minute, NoReply, "100.64.0.4"},
		"a local address":       {`echo '100.64.0.3 is local Tailscale IP'`, "control", time.Minute, NoReply, "is local Tailscale IP"},
		"an error":              {`printf 'no matching peer\n::error::x\n' >&2; exit 1`, "control", time.Minute, NoReply, `"no matching peer\n::error::x"`},
		"killed":                {`kill -9 $$`, "control", time.Minute, NoReply, "signal 9"},
		"nobody":                {`exit 9`, "nobody", time.Minute, NoPeer, "none among 6"},
		"an option":             {`exit 9`, "--help", time.Minute, NoPeer, "none among 6"},
		"no deadline":           {`exit 9`, "control", 0, NoReply, "a timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			pong, err := double(t, tc.script).Ping(t.Context(), tc.peer, tc.timeout)
			checks := verdict.ChecksOf(err)
			if pong != nil || len(checks) != 1 || checks[0].ID != tc.id || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%+v, %v", pong, err)
			}
			if tc.id == NoReply && checks[0].Verdict != verdict.Unproven {
				t.Errorf("silence is no answer either way: %+v", checks[0])
			}
			fit(t, checks)
		})
	}
}

func TestPingOfNodeWithoutAddress(t *testing.T) {
	c := double(t, `exit 9`)
	c.Env = append(c.Env, `STATUS={"BackendState":"Running","Health":null,"Self":{"Online":true},"Peer":{"k":{"DNSName":"new.lab.example."}}}`)
	if _, err := c.Ping(t.Context(), "new.lab.example", time.Minute); verdict.Reason(err) != NoReply {
		t.Error(err)
	}
}

func TestPingCancelled(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	c := double(t, `: >'`+started+`'; exec sleep 600`)
	cause := errors.New("the job was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(started); err == nil {
				cancel(cause)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := c.Ping(ctx, "control", time.Minute); !errors.Is(err, cause) || !strings.Contains(err.Error(), "pinging") {
		t.Error(err)
	}
}
