package main

import (
	"context"
	"encoding/json"
	"fmt"

	"edge-actions/internal/action"
	"edge-actions/internal/contracts"
	"edge-actions/internal/fleet"
	"edge-actions/internal/verdict"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	v := contracts.Read(in, a)
	roads := fleet.ReadRoads(in, a, "backup-validate", "contracts", v.File.Hosts())
	if err := in.Err(); err != nil {
		return err
	}
	a.Report.Subject = fmt.Sprintf("%d contracts", len(v.File.Contracts))
	v.Ask = func(ctx context.Context, host, user string, q contracts.Request) (contracts.Response, []verdict.Check, error) {
		return fleet.Errand[contracts.Response](ctx, roads, host, user, q.Whole(), q)
	}
	checks := roads.Open(ctx)
	findings, ways := v.Validate(ctx)
	checks = append(checks, ways...)
	a.Report.Add(checks...)
	type contract struct {
		Name               string          `json:"name"`
		Verdict            verdict.Verdict `json:"verdict"`
		SnapshotID         string          `json:"snapshot_id,omitempty"`
		SnapshotAgeSeconds int64           `json:"snapshot_age_seconds,omitempty"`
	}
	var out []contract
	for _, f := range findings {
		a.Report.Add(f.Checks...)
		checks = append(checks, f.Checks...)
		c := contract{Name: f.Name, Verdict: verdict.Of(f.Checks), SnapshotID: f.SnapshotID}
		if !f.Taken.IsZero() {
			c.SnapshotAgeSeconds = max(int64(v.Now.Sub(f.Taken).Seconds()), 0)
		}
		out = append(out, c)
	}
	encoded, err := json.Marshal(out)
	if err != nil {
		return err
	}
	a.SetOutput("contracts", string(encoded))
	a.SetOutput("verdict", string(verdict.Of(checks)))
	return nil
}
