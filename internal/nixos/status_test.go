package nixos

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	storeA = "/nix/store/xgnxh6kcgr6miawl7y5lc551p94a74iq-nixos-system-lab-1"
	storeB = "/nix/store/dnk2spy25ap2vrnkny1nhvlzjryzvkzd-nixos-system-lab-2"
)

// lines are what status.sh prints for names and values.
func lines(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString(pairs[i] + " " + base64.StdEncoding.EncodeToString([]byte(pairs[i+1])) + "\n")
	}
	return b.String()
}

var whole = lines("boot_id", "18e60e7d\n", "current", storeB+"\n", "profile", storeA+"\n", "generation", "system-41-link\n",
	"phase", "rolled-back failed-units\n", "verdict", "failed-units\n", "activation", "a\n\x1b[2J::set-env::\nend\n", "unit", "app.service\nit said\nno\n") + "end\n"

func TestParseStatus(t *testing.T) {
	got, err := parseStatus([]byte(whole))
	want := &status{
		State: State{BootID: "18e60e7d", Current: storeB, Profile: storeA, Generation: 41}, Known: true, Phase: "rolled-back", Reason: "failed-units", Verdict: "failed-units",
		Logs: map[string]string{"activation": "a\n\x1b[2J::set-env::\nend"}, Units: []Unit{{"app.service", "it said\nno"}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for name, text := range map[string]string{
		"empty":         "",
		"cut":           strings.TrimSuffix(whole, "end\n"),
		"half a line":   whole[:len(whole)/2],
		"no end":        whole + "x",
		"not base64":    "boot_id ***\n" + whole,
		"unknown":       lines("colour", "red") + whole,
		"no system":     lines("boot_id", "x", "profile", storeA) + "end\n",
		"no store path": lines("boot_id", "x", "profile", storeA, "current", "/etc/passwd") + "end\n",
		"no boot id":    lines("profile", storeA, "current", storeA) + "end\n",
		"two systems":   lines("boot_id", "x", "profile", storeA, "current", storeA+"\n"+storeB) + "end\n",
	} {
		if s, err := parseStatus([]byte(text)); err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %+v, %q", name, s, err)
		}
	}
}

// Whatever a host answers: either it is refused, or its systems are store
// paths and its generation is a number.
func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("end\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseStatus(data)
		if err == nil && (CheckSystemPath(s.Current) != nil || CheckSystemPath(s.Profile) != nil || s.Generation < 0 || s.BootID == "") {
			t.Errorf("%+v", s)
		}
	})
}
