package stacks

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"edge-actions/internal/action"
	"edge-actions/internal/files"
	"edge-actions/internal/stack"
	"edge-actions/internal/stacks/dag"
	"edge-actions/internal/verdict"
)

// Receipts is what the plan step gave out about several stacks.
type Receipts struct {
	text string
	set  bool
}

const planOutput = "pass the output stacks, or stacks_path and stacks_sha256, of the plan step"

// ReadReceipts reads the inputs of an apply that is of several stacks: the
// plan step's output itself, or the path of the file of it with its digest.
func ReadReceipts(in *action.Inputs) Receipts {
	text, sum := in.Text("receipts"), in.SHA256("receipts_sha256")
	if text == "" || strings.HasPrefix(text, "[") {
		if sum != "" {
			in.Wrong("receipts_sha256", "nothing without a path in receipts", fmt.Sprintf("%q", sum), planOutput)
		}
		return Receipts{text: text, set: text != ""}
	}
	if !filepath.IsAbs(text) {
		in.Wrong("receipts", "a JSON list or an absolute path", fmt.Sprintf("%.100q", text), planOutput)
		return Receipts{}
	}
	data, err := os.ReadFile(text)
	switch {
	case err != nil:
		in.Wrong("receipts", "the file that the plan step wrote", err.Error(), planOutput)
	case fmt.Sprintf("%x", sha256.Sum256(data)) != sum:
		in.Wrong("receipts_sha256", fmt.Sprintf("the sha256 of %q", text), fmt.Sprintf("%q", sum), planOutput)
	}
	return Receipts{text: string(data), set: true}
}

// Several reports whether the input receipts is set.
func (r Receipts) Several() bool { return r.set }

var receiptSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Run makes a run of what was planned, in the same order. All that is wrong
// with it is refused together, before anything is applied.
func (r Receipts) Run(a *action.Action, config *stack.Config, secrets string, atOnce int) (*Run, map[string]*Result, error) {
	if !r.set {
		return Alone(a, config, secrets), nil, nil
	}
	var planned []*Result
	if err := json.Unmarshal([]byte(r.text), &planned); err != nil {
		return nil, nil, refuseReceipts("a JSON list of stacks", err.Error())
	}
	if len(planned) == 0 {
		return nil, nil, verdict.CannotTell("input-receipts", "at least one stack", errors.New("an empty list"), "run this step only if the plan step's output changes is true")
	}
	var errs []error
	by, paths, names := map[string]*Result{}, map[string][]string{}, []string{}
	for _, p := range planned {
		if p == nil || !stackName.MatchString(p.Name) {
			return nil, nil, refuseReceipts("stacks with their names", "one without, or with another kind of name")
		}
		if by[p.Name] != nil {
			errs = append(errs, refuseReceipts("each stack once", p.Name+" twice"))
		}
		by[p.Name], names = p, append(names, p.Name)
		paths[p.Path] = append(paths[p.Path], p.Name)
		if p.Verdict == verdict.Proven && (!filepath.IsAbs(p.ReceiptPath) || !filepath.IsAbs(p.PlanPath) || !receiptSum.MatchString(p.ReceiptSHA256)) {
			errs = append(errs, refuseReceipts("plan_path, receipt_path and receipt_sha256 of "+p.Name, "not all of them"))
		}
	}
	run := &Run{Action: a, Secrets: secrets, AtOnce: atOnce, Graph: dag.New(names...)}
	for _, p := range planned {
		for _, before := range p.After {
			if by[before] == nil {
				errs = append(errs, refuseReceipts("the stacks before "+p.Name, fmt.Sprintf("no stack %q", before)))
				continue
			}
			run.Graph.Edge(before, p.Name)
		}
	}
	for _, cycle := range run.Graph.Cycles() {
		errs = append(errs, refuseReceipts("an order without a circle", quoted(append(cycle, cycle[0]), " before ")))
	}
	errs = append(errs, doubles(paths, "input-receipts", "a path of its own for each stack", planOutput))
	for _, name := range run.Graph.Order() {
		p := by[name]
		dir := filepath.Join(config.Dir(), filepath.FromSlash(p.Path))
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || !files.Inside(config.Dir(), dir) {
			errs = append(errs, refuseReceipts(fmt.Sprintf("the directory of %s below the input path", name), fmt.Sprintf("%q", p.Path)))
		}
		run.Stacks = append(run.Stacks, &One{Name: name, Path: p.Path, ID: p.ID, Config: config.At(dir, name)})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	a.Report.Subject = fmt.Sprintf("%d stacks", len(run.Stacks))
	return run, by, nil
}

func refuseReceipts(wanted, got string) error {
	return verdict.Refuse("input-receipts", wanted, got, planOutput)
}
