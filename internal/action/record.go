package action

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"

	"edge-actions/internal/verdict"
)

// Record keeps evidence of a run that is over: its report has its verdict, and
// report and outputs are written. An error turns the step red, because
// evidence that was lost is not green.
type Record func(ctx context.Context, a *Action) error

// record has the evidence kept. A cancel does not stop it: what was found until
// then is evidence too.
func (a *Action) record(ctx context.Context, report string) {
	if a.Record == nil {
		return
	}
	err := a.guardRecord(context.WithoutCancel(ctx))
	if err == nil {
		return
	}
	a.amend(report, err)
	// A second value is written after the first, and each runner takes the last.
	if entry, ok := a.failureReason(nil); ok {
		if err := a.writeOutputs(entry); err != nil {
			a.amend(report, err)
		}
	}
}

func (a *Action) guardRecord(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			fence := a.Fence("panic")
			fmt.Fprintf(fence, "%v\n%s", r, debug.Stack())
			fence.Close()
			err = verdict.CannotTell("evidence", "the run to be recorded", fmt.Errorf("a defect in it: %.500q", fmt.Sprint(r)), "report it with the trace in the log")
		}
	}()
	return a.Record(ctx, a)
}

// Outputs returns the outputs that the runner was given.
func (a *Action) Outputs() map[string]string {
	out := maps.Clone(a.outputs)
	maps.DeleteFunc(out, func(name, _ string) bool { return !a.written[name] })
	return out
}
