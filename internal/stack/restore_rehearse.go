package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"edge-actions/internal/tfplan"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/verdict"
)

// Rehearsed is what a rehearsal found out.
type Rehearsed struct {
	Archive  string
	Manifest *tfstate.Manifest
	Plan     *tfplan.Plan
	Changed  bool
}

// Rehearse does all of a restore on a copy: it reads the archive to its end,
// opens it with the key, gives its state to a copy of the module with a
// backend of its own, and plans there. The real state and its backend are
// neither read nor locked.
func (s *Stack) Rehearse(ctx context.Context, req RestoreRequest) (*Rehearsed, error) {
	out := &Rehearsed{Archive: req.Archive}
	if req.Archive == "" {
		name, err := s.Archives.NewestGood(ctx, req.From)
		if err != nil {
			return out, err
		}
		out.Archive = name
	}
	archive, err := s.Archives.Open(ctx, out.Archive, req.From)
	if err != nil {
		return out, err
	}
	out.Manifest = archive.Manifest
	state := archive.Manifest.State
	s.Report.Prove("archive", "the archive "+out.Archive+", read to its end and opened with the key", fmt.Sprintf("%s: serial %d, lineage %s", archive.Where, state.Serial, state.Lineage))
	c, err := s.copyModule(ctx, req.Scratch, func(w io.Writer) error { return archive.CopyTo(ctx, w) })
	if err != nil {
		return out, err
	}
	path := filepath.Join(filepath.Dir(c.CLI.DataDir), "rehearsal.tfplan")
	if out.Changed, err = c.makePlan(ctx, req.Options, path); err != nil {
		return out, err
	}
	if out.Plan, err = c.read(ctx, path); err != nil {
		return out, verdict.CannotTell("plan-failed", "a plan that can be read", err, "look at the versions of OpenTofu and of the providers")
	}
	counts := out.Plan.Counts()
	if !out.Changed && counts.Any() {
		return out, verdict.CannotTell("plan-failed", "one answer from tofu", errors.New("exit code 0, no changes, and a plan with changes"), "look for a wrapper around tofu that changes its exit code")
	}
	s.Report.Prove("rehearsal", "a plan against the state of the archive", counts.Headline())
	return out, nil
}
