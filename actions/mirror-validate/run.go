package main

import (
	"context"
	"encoding/json"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/mirror"
	"edge-actions/internal/verdict"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	m := mirror.Read(in, a)
	a.SetOutput("verdict", string(verdict.Unproven))
	if err := in.Err(); err != nil {
		return err
	}
	dir, remove, err := a.SecretDir()
	if err != nil {
		return err
	}
	defer remove()
	m.Git.Dir = dir
	a.Report.Subject = m.Repo.String() + " on " + m.Mirror.URL
	found := m.Look(ctx)
	a.Report.Add(found.Checks...)
	a.SetOutput("verdict", string(verdict.Of(a.Report.Checks)))
	counts, err := json.Marshal(found.Counts)
	if err != nil {
		return err
	}
	a.SetOutput("refs", string(counts))
	if !found.LastUpdate.IsZero() {
		a.SetOutput("last_update", found.LastUpdate.UTC().Format(time.RFC3339))
	}
	return nil
}
