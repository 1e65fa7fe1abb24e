package ingress

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

// A sweep closes what has ended, by the cloud's clock, and nothing else.
func TestSweep(t *testing.T) {
	r := newRig(t)
	now := r.server.Now()
	marker := func(expires time.Time) string {
		return Marker{Nonce: newNonce(), Expires: expires, Node: "edge-1", Run: "o/r#1.1"}.Description()
	}
	add := func(description string, made time.Time) (id string) {
		r.server.Change(func(w *ocitest.World) {
			rule := ocitest.SSHFrom("198.51.100.9/32", description)
			rule.TimeCreated = &made
			id = w.AddRule(r.node.NSGID, rule)
		})
		return id
	}
	ended := add(marker(now.Add(-time.Second)), now.Add(-time.Hour))
	forever := add(marker(now.Add(1000*time.Hour)), now.Add(-Most-time.Second))
	unreadable := add(strings.Replace(marker(now), "expires=20", "expires=soon-", 1), now.Add(-Most-time.Second))
	lasting := add(marker(now.Add(time.Minute)), now.Add(-time.Hour))
	nearly := add("edge-actions-lease/v2 nonce="+newNonce(), now.Add(-1000*time.Hour))
	// A runner whose clock is off does not change what the cloud's says.
	swept, checks := r.keeper.Sweep(t.Context(), []string{r.node.NSGID})
	for _, c := range checks {
		want(t, c, verdict.Proven, Closed)
	}
	ids := func(doors []Door) (out []string) {
		for _, d := range doors {
			out = append(out, d.Rule.ID)
		}
		return out
	}
	if len(swept) != 1 || len(checks) != 3 {
		t.Fatalf("%+v, %+v", swept, checks)
	}
	for _, part := range []struct {
		name string
		got  []Door
		want []string
	}{{"closed", swept[0].Closed, []string{ended, forever, unreadable}}, {"open", swept[0].Open, []string{lasting}}, {"foreign", swept[0].Foreign, []string{r.foreign, nearly}}} {
		if got := strings.Join(ids(part.got), " "); got != strings.Join(part.want, " ") {
			t.Errorf("%s: %s, want %s", part.name, got, part.want)
		}
	}
	left := ""
	for _, rule := range r.server.World().NSG(r.node.NSGID).Rules {
		left += rule.ID + " "
	}
	if left != strings.Join([]string{r.foreign, lasting, nearly}, " ")+" " {
		t.Errorf("left: %s", left)
	}
	if text := swept[0].Closed[0].String(); !strings.Contains(text, `"o/r#1.1"`) || !strings.Contains(text, `"edge-1"`) || !strings.Contains(text, "since") {
		t.Errorf("who and when: %s", text)
	}
	r.untouched()
}

// What could not be taken away is not listed as closed, nor are its fellows with
// the same nonce.
func TestSweepThatCanNotClose(t *testing.T) {
	r := newRig(t)
	r.open().record.release() // the run is dead
	r.server.Change(func(w *ocitest.World) {
		rules := w.NSG(r.node.NSGID).Rules
		again := rules[len(rules)-1]
		again.ID = ""
		w.AddRule(r.node.NSGID, again)
	})
	r.server.Offset(2 * time.Hour)
	r.server.Fail("POST", "removeSecurityRules", -1, 403, "NotAuthorized")
	other := r.runner(t.TempDir())
	swept, checks := other.Sweep(t.Context(), []string{r.node.NSGID})
	if len(swept) != 1 || len(swept[0].Closed) != 0 || len(swept[0].Open) != 2 || len(checks) != 1 {
		t.Fatalf("%+v, %+v", swept, checks)
	}
	want(t, checks[0], verdict.Unproven, Closed)
	r.server.Heal()
	if swept, checks = other.Sweep(t.Context(), []string{r.node.NSGID}); len(swept[0].Closed) != 2 || len(swept[0].Open) != 0 || len(checks) != 1 {
		t.Errorf("%+v, %+v", swept, checks)
	}
	r.none()
}

// Of a group that was destroyed the cloud says what it says of one that may not
// be seen. The runner's record of it is named, since nothing else ends it.
func TestTheGroupIsGone(t *testing.T) {
	r := newRig(t)
	r.open().record.release()
	r.server.Forbid(r.node.NSGID)
	checks := r.keeper.Orphans(t.Context())
	if len(checks) != 1 {
		t.Fatalf("%+v", checks)
	}
	want(t, checks[0], verdict.Unproven, Closed, "destroyed, remove "+r.keeper.Dir)
}

func TestSweepThatCanNotSee(t *testing.T) {
	r := newRig(t)
	r.server.Forbid(r.node.NSGID)
	swept, checks := r.keeper.Sweep(t.Context(), []string{r.node.NSGID})
	if len(swept) != 0 || len(checks) != 1 || checks[0].Verdict == verdict.Proven {
		t.Errorf("%+v %+v", swept, checks)
	}
}

// A record that can't be read is said, and keeps no other from being closed.
func TestRecords(t *testing.T) {
	r := newRig(t)
	l := r.open()
	l.record.release() // the run is dead
	for name, text := range map[string]string{newNonce(): "{", newNonce(): `{"schema":"other"}`} {
		if err := os.WriteFile(filepath.Join(r.keeper.Dir, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.keeper.Dir, "notes.json"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	checks := r.keeper.Orphans(t.Context())
	unread := 0
	for _, c := range checks {
		if c.ID == Record && c.Verdict == verdict.Unproven {
			unread++
		}
	}
	if unread != 2 || !has(checks, Closed, verdict.Proven) {
		t.Errorf("%+v", checks)
	}
	r.none()
	// It holds no secret, and is the runner's alone.
	if info, err := os.Stat(r.keeper.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}
