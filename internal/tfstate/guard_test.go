package tfstate

import (
	"context"
	"os"
	"strings"
	"testing"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestGuards(t *testing.T) {
	edited := stateOf(5, 10, "l")
	edited[len(edited)-30] ^= 1
	for name, c := range map[string]struct {
		before, after []byte // nil: no state
		guard         string
	}{
		"the same again":            {stateOf(5, 10, "l"), stateOf(5, 10, "l"), ""},
		"one more":                  {stateOf(5, 10, "l"), stateOf(6, 11, "l"), ""},
		"half is the limit":         {stateOf(5, 10, "l"), stateOf(6, 5, "l"), ""},
		"new":                       {nil, nil, "new"},
		"first state":               {nil, stateOf(1, 3, "l"), ""},
		"vanished":                  {stateOf(5, 10, "l"), nil, "vanished"},
		"serial went back":          {stateOf(5, 10, "l"), stateOf(4, 10, "l"), "serial"},
		"another lineage":           {stateOf(5, 10, "l"), stateOf(5, 10, "other"), "lineage"},
		"shrank":                    {stateOf(5, 10, "l"), stateOf(6, 4, "l"), "shrunk"},
		"same serial, other bytes":  {stateOf(5, 10, "l"), edited, "forked"},
		"resources gone altogether": {stateOf(5, 10, "l"), stateOf(6, 0, "l"), "shrunk"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if c.before != nil {
				f.write(t, c.before)
				f.mustMake(t)
			}
			if c.after == nil {
				os.Remove(f.state)
			} else {
				f.write(t, c.after)
			}
			_, err := f.Make(context.Background(), f.src, ForPlan)
			want := ""
			if c.guard != "" {
				want = "state-" + c.guard
			}
			if got := verdict.Reason(err); got != want {
				t.Fatalf("wanted %q, got %q: %v", want, got, err)
			}
			if c.guard == "" {
				return
			}
			// It stays red: the refused state has not become the baseline.
			if _, err := f.Make(context.Background(), f.src, ForPlan); verdict.Reason(err) != want {
				t.Fatalf("the second run: %v", err)
			}
			f.Accept = []string{c.guard}
			b, err := f.Make(context.Background(), f.src, ForPlan)
			if err != nil {
				t.Fatal(err)
			}
			if b.Manifest != nil {
				if diff := cmp.Diff([]string{c.guard}, b.Manifest.Accepted); diff != "" {
					t.Error(diff)
				}
				// Accepted once, it is the new baseline.
				f.Accept = nil
				f.mustMake(t)
			}
		})
	}
}

// Only the version of the tool may change under the same serial.
func TestUpgradeOfTheToolIsNoFork(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(5, 10, "l"))
	f.mustMake(t)
	f.write(t, []byte(strings.Replace(string(stateOf(5, 10, "l")), "1.12.6", "1.13.0", 1)))
	f.mustMake(t)
}

// A runner that was set up anew has no archives: the ones off the machine say
// that the stack is not new.
func TestVanishedIsSeenOnANewRunner(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(5, 10, "l"))
	f.mustMake(t)
	os.Remove(f.state)
	os.RemoveAll(f.Local.Path)
	f.Accept = []string{"new"}
	if _, err := f.Make(context.Background(), f.src, ForPlan); verdict.Reason(err) != "state-vanished" {
		t.Fatalf("got %v", err)
	}
}

// What an apply deletes is no shrinking.
func TestApplyMayShrink(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(5, 10, "l"))
	f.mustMake(t)
	f.write(t, stateOf(6, 0, "l"))
	if _, err := f.Make(context.Background(), f.src, AfterApply); err != nil {
		t.Fatal(err)
	}
}

// An archive of errored.tfstate is for people; nothing is compared with it.
func TestErroredStateIsNoBaseline(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(5, 10, "l"))
	f.mustMake(t)
	f.write(t, stateOf(9, 12, "l"))
	if _, err := f.Make(context.Background(), f.src, Errored); err != nil {
		t.Fatal(err)
	}
	f.write(t, stateOf(6, 10, "l"))
	f.mustMake(t)
}
