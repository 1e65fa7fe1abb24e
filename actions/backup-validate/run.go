package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

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
	var out []contract
	for i, f := range findings { // in the order of the file
		a.Report.Add(f.Checks...)
		checks = append(checks, f.Checks...)
		c := describe(&v.File.Contracts[i])
		c.Verdict, c.SnapshotID = verdict.Of(f.Checks), f.SnapshotID
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

// contract is an element of the output contracts. What it is of is in it too, so
// that whoever reads it can tell which rehearsal is of which contract.
type contract struct {
	Name               string          `json:"name"`
	Kind               string          `json:"kind"`
	Host               string          `json:"host,omitempty"`
	Verdict            verdict.Verdict `json:"verdict"`
	SnapshotID         string          `json:"snapshot_id,omitempty"`
	SnapshotAgeSeconds int64           `json:"snapshot_age_seconds,omitempty"`
	MaxAgeSeconds      int64           `json:"max_age_seconds,omitempty"`
	RepositoryID       string          `json:"repository_id,omitempty"`
	SnapshotHost       string          `json:"snapshot_host,omitempty"`
	Paths              []string        `json:"paths,omitempty"`
	Stack              string          `json:"stack,omitempty"`
}

func describe(c *contracts.Contract) contract {
	out := contract{Name: c.Name, Host: c.Host, MaxAgeSeconds: int64(time.Duration(c.MaxAge).Seconds())}
	switch {
	case c.Restic != nil:
		out.Kind, out.RepositoryID, out.Paths = "restic", c.Restic.RepositoryID, c.Restic.Paths
		if out.SnapshotHost = c.Restic.SnapshotHost; out.SnapshotHost == "" {
			out.SnapshotHost = c.Host
		}
	case c.LFS != nil:
		out.Kind = "lfs"
	case c.State != nil:
		out.Kind, out.Stack = "state", c.State.Stack
	}
	return out
}
