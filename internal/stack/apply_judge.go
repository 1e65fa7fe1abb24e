package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
)

// judge turns the end of tofu into nil or the reason for the failure.
func (s *Stack) judge(ctx context.Context, r *record, ended *exit, diagnostics []tofu.Diagnostic, res *ApplyResult) error {
	var texts []string
	for _, d := range diagnostics {
		texts = append(texts, d.String())
	}
	said := fmt.Sprintf("%q", strings.Join(texts, "; "))
	hint := "the state was backed up as it is now; plan again"
	if res.ErroredPath != "" {
		hint = fmt.Sprintf("OpenTofu could not write the state and left it in %s; it is archived, too: put it back with tofu-state-restore and the archive that the check errored-state names, or with tofu state push, then plan again", res.ErroredPath)
	}
	wanted := "tofu to apply the plan of " + r.Run
	switch {
	case ended == nil && !r.started():
		return verdict.CannotTell("interrupted", wanted, errors.New("it was killed before tofu started, so nothing was changed"), "plan again")
	case ended == nil:
		return verdict.CannotTell("interrupted", wanted, errors.New("it was killed and nobody saw how far it came"), hint)
	case ended.Code == 0 && ended.Error == "" && res.ErroredPath == "":
		return nil
	case ended.Code > 0 && res.ErroredPath == "" && !tofu.LockLost(diagnostics) && s.unreachable(ctx):
		return verdict.CannotTell(tfstate.Unreadable, wanted, errors.New(said), "see whether the backend answers, then plan again")
	case hasSummary(diagnostics, tofu.LockSummary):
		return verdict.Refuse("state-locked", wanted, said, tofu.LockHint+"; then plan again")
	case res.ErroredPath == "" && tofu.LockLost(diagnostics):
		return verdict.CannotTell(tofu.LockLostID, wanted, errors.New(said), "the plan was applied and its state written; "+tofu.LockLostHint)
	case hasSummary(diagnostics, "Saved plan is stale"):
		return verdict.Refuse("state-moved", wanted, said, hint)
	case ended.Code < 0:
		return verdict.CannotTell("interrupted", wanted, errors.New(ended.Error), hint)
	}
	return verdict.Refuse("apply-failed", wanted, fmt.Sprintf("exit code %d %s: %s", ended.Code, ended.Error, said), hint)
}

func hasSummary(diagnostics []tofu.Diagnostic, summary string) bool {
	for _, d := range diagnostics {
		if d.Summary == summary {
			return true
		}
	}
	return false
}

// afterApply takes from a backup's refusals the words that nothing was changed.
func afterApply(err error) error {
	if err == nil {
		return nil
	}
	out := []error{}
	for _, c := range verdict.ChecksOf(err) {
		if c.ID == "backup-unproven" || c.ID == tfstate.Unreadable {
			c.Hint = "the apply is over, and the state after it has no backup yet: mend the place (backend, room, mode, connection) and run this action again, which makes it first"
		}
		out = append(out, &verdict.Refusal{Check: c})
	}
	return errors.Join(out...)
}
