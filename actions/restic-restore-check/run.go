package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"

	"edge-actions/internal/action"
	"edge-actions/internal/recovery"
	"edge-actions/internal/verdict"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	r := recovery.ReadRehearsal(in, a)
	r.Assert = recovery.ReadAssertions(in, a)
	if err := in.Err(); err != nil {
		return err
	}
	a.Report.Subject = r.Want.Host
	if err := os.MkdirAll(r.ScratchRoot, 0o700); err != nil {
		return verdict.CannotTell(recovery.Scratch, "a directory for rehearsals", err, "correct the input scratch_dir")
	}
	out, checks := r.Rehearse(ctx)
	for i := range checks {
		if checks[i].Verdict != verdict.Proven && slices.Contains(r.Waive, checks[i].ID) {
			checks[i].Waived = "waive"
		}
	}
	a.Report.Add(checks...)
	a.SetOutput("verdict", string(verdict.Of(checks)))
	if out.SnapshotID == "" {
		return nil
	}
	a.SetOutput("snapshot_id", out.SnapshotID)
	a.SetOutput("snapshot_age_seconds", strconv.FormatInt(int64(out.Age.Seconds()), 10))
	if out.Files == 0 {
		return nil
	}
	a.SetOutput("restored_bytes", strconv.FormatUint(out.Bytes, 10))
	a.SetOutput("restored_files", strconv.FormatUint(out.Files, 10))
	a.SetOutput("rto_seconds", fmt.Sprintf("%.1f", out.RTO().Seconds()))
	a.Logf("recovery time: %.1f s (list %.1f, restore %.1f, verify %.1f, assert %.1f)", out.RTO().Seconds(), out.List.Seconds(), out.Restore.Seconds(), out.Verify.Seconds(), out.Assert.Seconds())
	if out.Whole > 0 {
		a.Logf("an ESTIMATE for the whole snapshot, by its size: %.0f s; only a part was restored", out.Whole.Seconds())
		a.SetOutput("rto_whole_estimate_seconds", fmt.Sprintf("%.0f", out.Whole.Seconds()))
	}
	return nil
}
