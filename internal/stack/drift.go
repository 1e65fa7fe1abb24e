package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"edge-actions/internal/files"
	"edge-actions/internal/tfplan"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
)

// DriftRequest is what Drift is asked for.
type DriftRequest struct {
	Options tofu.PlanOptions // without Out
	// Allow are addresses that may drift, as in tfplan.Guard.Addresses.
	Allow []string
	// OutDir is where the document goes. Scratch is for the plan file, which
	// holds secrets: a directory that does not outlive the run.
	OutDir, Scratch string
}

// Drift is what a refresh found, and where the document of it is.
type Drift struct {
	Found        *tfplan.Drift
	Path, SHA256 string
}

// Drift holds the state against the world without changing either. No drift is
// proven; what can't be asked, and a state with nothing in it, is not. It
// makes no backup and no receipt: there is nothing to apply.
func (s *Stack) Drift(ctx context.Context, req DriftRequest) (*Drift, error) {
	out := &Drift{}
	if err := s.open(ctx, false); err != nil {
		return out, unproven(err)
	}
	if err := s.holdsResources(ctx); err != nil {
		return out, err
	}
	req.Options.RefreshOnly = true
	path := filepath.Join(req.Scratch, s.Name+".drift.tfplan")
	changed, err := s.makePlan(ctx, req.Options, path)
	if err != nil {
		return out, unproven(err)
	}
	found, err := readShown(ctx, s.CLI, path, tfplan.ReadDrift)
	if err != nil {
		return out, verdict.CannotTell("plan-failed", "a plan that can be read", err, "look at it by hand: tofu plan -refresh-only")
	}
	if changes := len(found.Resources) + len(found.Outputs) + len(found.Moved); !changed && changes > 0 {
		return out, verdict.CannotTell("plan-failed", "one answer from tofu", fmt.Errorf("exit code 0, no changes, and a plan with %d", changes), "look for a wrapper around tofu that changes its exit code")
	} else if changed && changes == 0 {
		return out, verdict.CannotTell("plan-failed", "one answer from tofu", errors.New("exit code 2 and a plan in which nothing differs"), "look at it by hand: tofu plan -refresh-only")
	}
	found.Stack = s.Name
	found.Allow(req.Allow)
	if err := s.write(out, found, req.OutDir); err != nil {
		return out, err
	}
	return out, s.judgeDrift(found)
}

// dataSource matches the address of one, in any module.
var dataSource = regexp.MustCompile(`^(module\.[^.\[]+(\[[^\]]*\])?\.)*data\.`)

// holdsResources refuses a state in which there is nothing that could drift:
// nobody looks at anything then.
func (s *Stack) holdsResources(ctx context.Context) error {
	const hint = "apply the stack first, or correct path, workspace and backend_config"
	now, err := tfstate.Look(ctx, s.source)
	if err != nil {
		return unproven(err)
	}
	if now.Absent {
		return verdict.CannotTell("state-empty", "a state to hold against the world", errors.New("there is none"), hint)
	}
	var listed strings.Builder
	if err := s.CLI.StateList(ctx, &listed); err != nil {
		return verdict.CannotTell("state-empty", "the resources of the state", err, "look at it by hand: tofu state list")
	}
	managed := 0
	for line := range strings.Lines(listed.String()) {
		if line = strings.TrimSpace(line); line != "" && !dataSource.MatchString(line) {
			managed++
		}
	}
	if managed == 0 {
		return verdict.CannotTell("state-empty", "a state with resources", errors.New("none in it"), hint)
	}
	s.Report.Prove("state", "a state with resources", fmt.Sprintf("%d resources; %s", managed, tfplan.StateID(now)))
	return nil
}

func (s *Stack) write(out *Drift, found *tfplan.Drift, dir string) (err error) {
	out.Found = found
	if dir, err = privateTemp(dir, "drift-"); err != nil {
		return err
	}
	out.Path = filepath.Join(dir, "drift.json")
	if err := found.Write(out.Path); err != nil {
		return err
	}
	out.SHA256, err = files.SHA256(out.Path)
	return err
}

func (s *Stack) judgeDrift(found *tfplan.Drift) error {
	const wanted = "the world as the state has it"
	drifted, allowed := found.Split()
	if len(allowed) > 0 {
		s.Report.Add(verdict.Check{ID: "drift-allowed", Verdict: verdict.Disproven, Wanted: wanted, Got: addresses(allowed), Waived: "allow_drift"})
	}
	if len(drifted) > 0 {
		return verdict.Refuse("drift", wanted, addresses(drifted), "plan and apply to put it back, or bring the configuration up to what is there; allow_drift if it may stay so")
	}
	got := found.Headline()
	if len(found.Outputs) > 0 {
		got += fmt.Sprintf(" An apply would change %d outputs.", len(found.Outputs))
	}
	s.Report.Prove("drift", wanted, got)
	return nil
}

// addresses names the first few: the document has all.
func addresses(list []tfplan.Drifted) string {
	var names []string
	for i, r := range list {
		if i == 5 {
			names = append(names, fmt.Sprintf("%d more", len(list)-i))
			break
		}
		how := "changed"
		if r.Action == tfplan.Delete {
			how = "deleted"
		}
		names = append(names, fmt.Sprintf("%s outside: %.200q", how, r.Address))
	}
	return strings.Join(names, ", ")
}

// unproven is err with its refusals as questions that could not be answered:
// a refresh that failed has found nothing out about the world.
func unproven(err error) error {
	var errs []error
	for _, c := range verdict.ChecksOf(err) {
		if c.Verdict == verdict.Disproven {
			c.Verdict = verdict.Unproven
		}
		errs = append(errs, &verdict.Refusal{Check: c, Err: err})
	}
	return errors.Join(errs...)
}

// readShown reads a plan file through tofu show, without it touching the disk.
func readShown[T any](ctx context.Context, cli *tofu.CLI, planPath string, read func(io.Reader) (T, error)) (T, error) {
	r, w := io.Pipe()
	shown := make(chan error, 1)
	go func() {
		err := cli.ShowPlan(ctx, planPath, w)
		w.CloseWithError(err)
		shown <- err
	}()
	out, err := read(r)
	r.Close()
	return out, errors.Join(err, <-shown)
}
