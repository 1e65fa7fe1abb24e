package action_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/testing/runnertest"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

// recorded runs an action whose evidence is kept by record.
func recorded(t *testing.T, ctx context.Context, run action.Run, record action.Record) (code int, outputs map[string]string, log string, a *action.Action) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "output")
	var out bytes.Buffer
	a = newAction(t, &out, "RUNNER_TEMP="+dir, "GITHUB_OUTPUT="+file)
	a.Record = record
	code = a.Do(ctx, run)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	outputs, _, err = runnertest.ParseFile(data)
	if err != nil {
		t.Fatal(err)
	}
	return code, outputs, out.String(), a
}

func proven(_ context.Context, a *action.Action) error {
	a.Report.Prove("port", "an open port", "22")
	a.SetOutput("a", "one")
	return nil
}

// What is recorded is a run that is over: its report and outputs are what the
// runner has.
func TestRecord(t *testing.T) {
	for name, tt := range map[string]struct {
		run     action.Run
		verdict verdict.Verdict
		outputs map[string]string
	}{
		"proven":         {proven, verdict.Proven, map[string]string{"a": "one", "failure_reason": ""}},
		"refused":        {scenarios["refused"], verdict.Disproven, map[string]string{"a": "one", "failure_reason": "port"}},
		"panic":          {scenarios["panic"], verdict.Unproven, map[string]string{"a": "one", "failure_reason": "panic"}},
		"output refused": {scenarios["output refused"], verdict.Disproven, map[string]string{"b": "two", "failure_reason": "output"}},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			code, outputs, _, _ := recorded(t, t.Context(), tt.run, func(_ context.Context, a *action.Action) error {
				calls++
				got := a.Outputs()
				if data, err := os.ReadFile(got["report"]); err != nil || !strings.Contains(string(data), `"verdict": "`+string(tt.verdict)+`"`) {
					t.Errorf("the report on disk: %s, %v", data, err)
				}
				delete(got, "report")
				if diff := cmp.Diff(tt.outputs, got); diff != "" || a.Report.Verdict != tt.verdict {
					t.Errorf("verdict %s, outputs (-want +got):\n%s", a.Report.Verdict, diff)
				}
				return nil
			})
			if calls != 1 || (code == 0) != (tt.verdict == verdict.Proven) || outputs["failure_reason"] != tt.outputs["failure_reason"] {
				t.Errorf("recorded %d times, exit code %d, outputs %q", calls, code, outputs)
			}
		})
	}
}

// Evidence that was lost is not green, wherever one looks.
func TestALostRecord(t *testing.T) {
	for name, record := range map[string]action.Record{
		"refused": func(context.Context, *action.Action) error {
			return verdict.CannotTell("evidence", "an entry", errors.New("a full disk"), "make room")
		},
		"panic": func(context.Context, *action.Action) error { panic("::add-path::/evil") },
	} {
		t.Run(name, func(t *testing.T) {
			code, outputs, log, a := recorded(t, t.Context(), proven, record)
			if code != 1 || outputs["failure_reason"] != "evidence" || outputs["a"] != "one" {
				t.Errorf("exit code %d, outputs %q", code, outputs)
			}
			data, err := os.ReadFile(outputs["report"])
			if err != nil || !strings.Contains(string(data), `"verdict": "unproven"`) || !strings.Contains(string(data), `"id": "evidence"`) {
				t.Errorf("the report on disk: %s, %v", data, err)
			}
			if !strings.Contains(log, "example: UNPROVEN") || strings.Contains(log, "\n::add-path") || a.Report.Verdict != verdict.Unproven {
				t.Errorf("log:\n%s", log)
			}
			// A step that was red keeps its own reason.
			if _, outputs, _, _ = recorded(t, t.Context(), scenarios["refused"], record); outputs["failure_reason"] != "port" {
				t.Errorf("outputs %q", outputs)
			}
		})
	}
}

// A cancelled run is recorded: with a context that is not cancelled.
func TestACancelledRunIsRecorded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	recorded(t, ctx, func(context.Context, *action.Action) error { cancel(); return nil }, func(ctx context.Context, a *action.Action) error {
		calls++
		if ctx.Err() != nil {
			t.Error("with a context that is cancelled")
		}
		return nil
	})
	if calls != 1 {
		t.Errorf("recorded %d times", calls)
	}
}

func TestRedactor(t *testing.T) {
	a := newAction(t, nil)
	if got := a.Redactor().Replace("nothing is masked"); got != "nothing is masked" {
		t.Errorf("%q", got)
	}
	for _, secret := range []string{"hunter22", "hunter22-and-more", "two\nlines-here", "left-part::right-part", "with\x1bescape", "abc"} {
		a.Mask(secret)
	}
	text := fmt.Sprintf("hunter22 hunter22-and-more lines-here left-part right-part %q abc", "with\x1bescape")
	if got := a.Redactor().Replace(text); got != `*** *** *** *** *** "***" abc` {
		t.Errorf("%q", got)
	}
}
