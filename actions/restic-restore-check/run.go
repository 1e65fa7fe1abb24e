package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/fleet"
	"edge-actions/internal/recovery"
	"edge-actions/internal/recovery/assert"
	"edge-actions/internal/verdict"
)

// request is a rehearsal wherever it is made, and response what was seen.
type (
	request struct {
		Rehearsal  *recovery.Rehearsal
		Assertions []byte
	}
	response struct {
		Rehearsed *recovery.Rehearsed
		Checks    []verdict.Check
	}
)

// rehearse does it on this machine.
func (q request) rehearse(ctx context.Context, environ []string, logf func(string, ...any)) (r response) {
	r.Rehearsed, r.Checks = q.Rehearsal.Rehearse(ctx, recovery.Place{Environ: environ, Assert: assert.All(q.Assertions, environ, logf), Logf: logf})
	return r
}

// serve answers on a host.
func serve(ctx context.Context, q request, logf func(string, ...any)) (response, error) {
	return q.rehearse(ctx, os.Environ(), logf), nil
}

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	r, host, user := recovery.ReadRehearsal(in, a)
	q := request{Rehearsal: r, Assertions: assert.Read(in)}
	waive := recovery.ReadWaivers(in, append(recovery.Waivable(), assert.K3sDatastore))
	var hosts []string
	if host != "" {
		hosts = []string{host}
	}
	roads := fleet.ReadRoads(in, a, "restic-restore-check", "run_on", hosts)
	if err := in.Err(); err != nil {
		return err
	}
	a.Report.Subject = r.Want.Host
	if err := about(a, r); err != nil {
		return err
	}
	var done response
	if host == "" {
		done = q.rehearse(ctx, a.Environ(), a.Logf)
	} else {
		checks := roads.Open(ctx)
		answer, way, err := fleet.Errand[response](ctx, roads, host, user, whole(r), q)
		checks = append(checks, way...)
		if err != nil {
			a.Report.Add(checks...)
			a.SetOutput("verdict", string(verdict.Unproven))
			return err
		}
		done = answer
		done.Checks = append(checks, answer.Checks...) // the way there decides too
	}
	return report(a, done, waive, len(r.Include) == 0)
}

// about says which backup this is of, however it ends: one host may have several.
func about(a *action.Action, r *recovery.Rehearsal) error {
	paths, err := json.Marshal(r.Want.Paths)
	if err != nil {
		return err
	}
	a.SetOutput("repository_id", r.RepositoryID)
	a.SetOutput("host", r.Want.Host)
	a.SetOutput("paths", string(paths))
	return nil
}

// whole is more than a rehearsal can take: each of restic's commands its time,
// and the assertions theirs.
func whole(r *recovery.Rehearsal) time.Duration {
	const commands = 6
	return min(commands*r.Timeout+assert.Timeout, 24*time.Hour)
}

func report(a *action.Action, done response, waive []string, whole bool) error {
	out, checks := done.Rehearsed, done.Checks
	for i := range checks {
		if checks[i].Verdict != verdict.Proven && slices.Contains(waive, checks[i].ID) {
			checks[i].Waived = "waive"
		}
	}
	a.Report.Add(checks...)
	a.SetOutput("verdict", string(verdict.Of(checks)))
	if out == nil || out.SnapshotID == "" {
		return nil
	}
	a.SetOutput("snapshot_id", out.SnapshotID)
	a.SetOutput("snapshot_age_seconds", strconv.FormatInt(int64(out.Age.Seconds()), 10))
	if out.Files == 0 {
		return nil
	}
	a.SetOutput("restored_whole", strconv.FormatBool(whole))
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
