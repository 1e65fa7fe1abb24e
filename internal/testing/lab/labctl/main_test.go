package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/lab"
)

func TestSize(t *testing.T) {
	for words, want := range map[string]struct {
		n    int
		bare bool
	}{
		"": {1, false}, "3": {3, false}, "3 --bare": {3, true}, "--bare": {1, true}, "--bare 2": {2, true},
		"0": {}, "201": {}, "x": {}, "1 2": {}, "--baer": {}, "2 --bare 3": {},
	} {
		n, bare, err := size(strings.Fields(words))
		if n != want.n || bare != want.bare || (err == nil) != (want.n > 0) {
			t.Errorf("%q: %d, %t, %v", words, n, bare, err)
		}
	}
}

// The verbs for one host; the lab is not the one that people have.
func TestLabVerbs(t *testing.T) {
	l := lab.NewBare(t, 1)
	h := l.Hosts[0]
	do := func(verb string, args ...string) error { return on(l, h, verb, args) }
	if err := do("ssh", "[ $(id -un) = ubuntu ] && sudo true"); err != nil {
		t.Errorf("ssh: %v", err)
	}
	if err := do("ssh", "exit 3"); err == nil {
		t.Error("a command that failed is not told")
	}
	open := func() bool {
		conn, err := net.DialTimeout("tcp", h.Public+":22", 300*time.Millisecond)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	for _, step := range []struct {
		word string
		err  string
		open bool
	}{{"", "wanted door NAME open|closed", false}, {"open", "", true}, {"ajar", `["ajar"]`, true}, {"closed", "", false}} {
		err := do("door", strings.Fields(step.word)...)
		if (err == nil) != (step.err == "") || err != nil && !strings.Contains(err.Error(), step.err) || open() != step.open {
			t.Errorf("door %s: %v, open %t", step.word, err, open())
		}
	}
	if err := do("instance", "ocid1.x"); err != nil {
		t.Error(err)
	}
	if got, err := h.Run("curl -sSf -H 'Authorization: Bearer Oracle' http://169.254.169.254/opc/v2/instance/id"); got != "ocid1.x" {
		t.Errorf("%s %v", got, err)
	}
	if err := do("dance"); err == nil || !strings.Contains(err.Error(), "usage: scripts/lab up [N] [--bare]") {
		t.Error(err)
	}
}
