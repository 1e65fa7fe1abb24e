package stacks

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"edge-actions/internal/stack"
)

// Drift holds the state of every stack against the world. No stack waits for
// another: nothing is changed. allow are the addresses that may drift, by
// stack.
func (r *Run) Drift(ctx context.Context, req stack.DriftRequest, allow map[string][]string) error {
	results, err := r.Each(ctx, Work{Unordered: true, Do: func(ctx context.Context, t *Task) error {
		s, err := t.Open()
		if err != nil {
			return err
		}
		req := req
		if !r.Single {
			req.OutDir = filepath.Join(req.OutDir, t.Name)
			req.Allow = allow[t.Name]
		}
		drift, err := s.Drift(ctx, req)
		t.Result.DriftPath, t.Result.DriftSHA256 = drift.Path, drift.SHA256
		if t.Result.drift = drift.Found; t.Result.drift != nil {
			drifted, _ := t.Result.drift.Split()
			n := len(drifted)
			t.Result.Drifted = &n
			fence := t.Fence("drift")
			fmt.Fprint(fence, t.Result.drift.Text())
			fence.Close()
		}
		return err
	}})
	if results == nil {
		return err
	}
	drifted, known := 0, 0
	for _, one := range results {
		if one.Drifted != nil {
			known++
			drifted += *one.Drifted
		}
	}
	// Where one stack could not be asked, "false" would be a guess.
	if known == len(results) || drifted > 0 {
		r.Action.SetOutput("drifted", strconv.FormatBool(drifted > 0))
		r.Action.SetOutput("drifted_resources", strconv.Itoa(drifted))
	}
	if r.Single {
		r.set(map[string]string{"drift_path": results[0].DriftPath, "drift_sha256": results[0].DriftSHA256, "data_dir": results[0].DataDir})
	}
	return r.finish(results, "drift", err)
}
