package tfstate

import (
	"context"
	"errors"
	"io"
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

// An archive of errored.tfstate is no baseline: the serial below it did not go
// back. But nobody plans below it before it was put back, or done without.
func TestErroredState(t *testing.T) {
	make := func(t *testing.T, f *fixture, reason string, state []byte, accept ...string) error {
		t.Helper()
		if f.write(t, state); state == nil {
			os.Remove(f.state)
		}
		f.Accept = accept
		_, err := f.Make(context.Background(), f.src, reason)
		return err
	}
	for name, c := range map[string]struct {
		first, errored, after, now []byte // nil: no state
		accept                     []string
		guards                     []string
	}{
		"put back":             {stateOf(5, 10, "l"), stateOf(9, 12, "l"), stateOf(5, 10, "l"), stateOf(9, 12, "l"), nil, nil},
		"put back with more":   {stateOf(5, 10, "l"), stateOf(9, 12, "l"), stateOf(5, 10, "l"), stateOf(10, 12, "l"), nil, nil},
		"not put back":         {stateOf(5, 10, "l"), stateOf(9, 12, "l"), stateOf(5, 10, "l"), stateOf(5, 10, "l"), nil, []string{"state-errored"}},
		"something else since": {stateOf(5, 10, "l"), stateOf(9, 12, "l"), stateOf(5, 10, "l"), stateOf(6, 10, "l"), nil, []string{"state-errored"}},
		"done without":         {stateOf(5, 10, "l"), stateOf(9, 12, "l"), stateOf(5, 10, "l"), stateOf(6, 10, "l"), []string{"errored"}, nil},
		"of a new stack":       {nil, stateOf(2, 3, "l"), nil, nil, []string{"new"}, []string{"state-errored"}},
		"of another state":     {nil, stateOf(9, 3, "l"), nil, stateOf(1, 3, "other"), nil, nil},
		"back and gone":        {stateOf(5, 10, "l"), stateOf(9, 12, "l"), stateOf(10, 12, "l"), nil, []string{"vanished"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if c.first != nil {
				f.write(t, c.first)
				f.mustMake(t)
			}
			if err := make(t, f, Errored, c.errored, Guards...); err != nil {
				t.Fatal(err)
			}
			if err := make(t, f, AfterApply, c.after, "new"); err != nil {
				t.Fatal(err)
			}
			err := make(t, f, ForPlan, c.now, c.accept...)
			var got []string
			for _, check := range verdict.ChecksOf(err) {
				got = append(got, check.ID)
			}
			if diff := cmp.Diff(c.guards, got); diff != "" {
				t.Errorf("guards (-want +got):\n%s\n%v", diff, err)
			}
			if c.accept == nil || c.now == nil || err != nil {
				return
			}
			// Once accepted it is over, for the runs after as well.
			if err := make(t, f, ForPlan, c.now); err != nil {
				t.Errorf("the next run: %v", err)
			}
		})
	}
}

// A run that was killed leaves 0 bytes of a state that never was. It is new if
// no archive says otherwise and the operator says so; after an apply, and after
// an archive, it is what is left of one.
func TestEmptyState(t *testing.T) {
	f := newFixture(t)
	f.write(t, nil)
	ctx := context.Background()
	_, err := f.Make(ctx, f.src, ForPlan)
	if verdict.Reason(err) != "state-new" || !strings.Contains(err.Error(), "found 0 bytes") || !strings.Contains(err.Error(), "after a plan that was killed nothing is lost") {
		t.Errorf("got %v", err)
	}
	f.Accept = []string{"new"}
	b, err := f.Make(ctx, f.src, ForPlan)
	if err != nil || !b.State.Absent || b.Manifest != nil {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := f.Make(ctx, f.src, AfterApply); verdict.Reason(err) != "state-whole" {
		t.Errorf("after an apply: %v", err)
	}
	if _, err := Look(ctx, f.src); verdict.Reason(err) != "state-whole" {
		t.Errorf("a look: %v", err)
	}
	if now, err := Look(ctx, File{Path: f.state, NoneYet: true}); err != nil || !now.Absent {
		t.Errorf("a look at none yet: %+v, %v", now, err)
	}
	f.write(t, stateOf(5, 10, "l"))
	f.mustMake(t)
	f.write(t, nil)
	if _, err := f.Make(ctx, f.src, ForPlan); verdict.Reason(err) != "state-whole" {
		t.Errorf("with an archive: %v", err)
	}
}

// A backend that does not answer is neither a lost state nor a failed archive.
func TestBackendThatDoesNotAnswer(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(5, 10, "l"))
	f.mustMake(t)
	src := Pull{Backend: "pg", Pull: func(context.Context, io.Writer) error { return errors.New("connection refused") }}
	ctx := context.Background()
	_, makeErr := f.Make(ctx, src, ForPlan)
	_, lookErr := Look(ctx, src)
	_, inspectErr := Inspect(ctx, src)
	for what, err := range map[string]error{"an archive": makeErr, "a look": lookErr, "an inspection": inspectErr} {
		checks := verdict.ChecksOf(err)
		if len(checks) != 1 || checks[0].ID != Unreadable || checks[0].Verdict != verdict.Unproven || !strings.Contains(checks[0].Got, "connection refused") {
			t.Errorf("%s: %+v", what, checks)
		}
	}
}
