package restic

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A check that is killed leaves its lock, and with it no other check runs: but
// ours do, and they say whose it is.
func TestLockOfAKilledCheck(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	big := make([]byte, 2<<20)
	rand.Read(big)
	id := p.backup("data", map[string]string{"big": string(big)})
	c := p.client()
	if locks, err := c.Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Fatalf("%+v, %v", locks, err)
	}
	check := p.command("check", "--read-data", "--limit-download=10")
	if err := check.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(generous); ; time.Sleep(10 * time.Millisecond) {
		if entries, _ := os.ReadDir(filepath.Join(p.location, "locks")); len(entries) == 1 && fullID.MatchString(entries[0].Name()) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("restic check took no lock")
		}
	}
	check.Process.Kill()
	check.Wait()

	locks, err := c.Locks(t.Context())
	if err != nil || len(locks) != 1 {
		t.Fatalf("%+v, %v", locks, err)
	}
	host, _ := os.Hostname()
	l := locks[0]
	if !l.Exclusive || l.PID != check.Process.Pid || l.Hostname != host || l.Username == "" || !fullID.MatchString(l.ID) || l.Time.IsZero() {
		t.Errorf("%+v", l)
	}
	if l.Stale(l.Time.Add(StaleAfter)) || !l.Stale(l.Time.Add(StaleAfter+time.Second)) {
		t.Error("stale at another time")
	}
	// The owner's restic stands before it.
	cmd := p.command("check")
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != exitLocked {
		t.Errorf("the owner's check: %v", err)
	}
	_, err1 := c.Check(t.Context(), "")
	_, err2 := c.Snapshots(t.Context())
	_, err3 := c.RestoreSize(t.Context(), id)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Errorf("beside a lock: %v", err)
	}
	if again, err := c.Locks(t.Context()); err != nil || len(again) != 1 || again[0].ID != l.ID {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestLocksThatComeAndGo(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	lock := func(hour int) string {
		return `{"time":"2026-11-25T1` + strconv.Itoa(hour) + `:00:00Z","exclusive":true,"hostname":"edge-1","username":"root","pid":7}`
	}
	// list prints FIRST and then LATER; cat prints what is named for an id.
	script := func(first, later, ofA, ofB string) string {
		return `case $1 in list) if [ -e "$0.n" ]; then printf '` + later + `'; else : >"$0.n"; printf '` + first + `'; fi;; cat) case $3 in a*) ` + ofA + `;; b*) ` + ofB + `;; esac;; esac`
	}
	both, onlyA := a+`\n`+b+`\n`, a+`\n`
	locks, err := double(t, "0.18.1", script(both, both, "echo '"+lock(2)+"'", "echo '"+lock(1)+"'")).Locks(t.Context())
	if err != nil || len(locks) != 2 || locks[0].ID != b || locks[1].PID != 7 || locks[1].Hostname != "edge-1" {
		t.Errorf("%+v, %v", locks, err)
	}
	locks, err = double(t, "0.18.1", script(both, onlyA, "echo '"+lock(2)+"'", "exit 1")).Locks(t.Context())
	if err != nil || len(locks) != 1 || locks[0].ID != a {
		t.Errorf("one that went: %+v, %v", locks, err)
	}
	for name, s := range map[string]string{
		"one that can't be read": script(both, both, "echo '"+lock(2)+"'", "exit 1"),
		"words":                  script(both, both, "echo '"+lock(2)+"'", "echo hello"),
		"no time":                script(both, both, "echo '"+lock(2)+"'", "echo '{}'"),
		"no list":                script("hello", "", "", ""),
		"too many":               `case $1 in list) i=100; while [ $i -lt 151 ]; do printf '%064d\n' $i; i=$((i+1)); done;; cat) echo '` + lock(1) + `';; esac`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := double(t, "0.18.1", s).Locks(t.Context())
			refused(t, err, Failed)
		})
	}
}
