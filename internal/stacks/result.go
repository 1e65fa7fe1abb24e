package stacks

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"

	"edge-actions/internal/files"
	"edge-actions/internal/stack"
	"edge-actions/internal/tfplan"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/verdict"
)

// Result is what a run says of one stack: an element of the output stacks. The
// plan step's elements are what the apply step is given.
type Result struct {
	Name string `json:"name"`
	Path string `json:"path"`
	ID   string `json:"id,omitempty"`
	// After are the stacks of the run that come directly before it.
	After         []string        `json:"after,omitempty"`
	Verdict       verdict.Verdict `json:"verdict"`
	FailureReason string          `json:"failure_reason,omitempty"`
	Changes       *bool           `json:"changes,omitempty"`
	Counts        *tfplan.Counts  `json:"counts,omitempty"`
	PlanPath      string          `json:"plan_path,omitempty"`
	PlanSHA256    string          `json:"plan_sha256,omitempty"`
	ReceiptPath   string          `json:"receipt_path,omitempty"`
	ReceiptSHA256 string          `json:"receipt_sha256,omitempty"`
	Drifted       *int            `json:"drifted_resources,omitempty"`
	DriftPath     string          `json:"drift_path,omitempty"`
	DriftSHA256   string          `json:"drift_sha256,omitempty"`
	Outcome       string          `json:"outcome,omitempty"`
	ErroredPath   string          `json:"errored_state_path,omitempty"`
	BackupPath    string          `json:"backup_path,omitempty"`
	BackupSHA256  string          `json:"backup_sha256,omitempty"`
	OffsitePath   string          `json:"offsite_path,omitempty"`
	StateSerial   string          `json:"state_serial,omitempty"`
	StateLineage  string          `json:"state_lineage,omitempty"`
	DataDir       string          `json:"data_dir,omitempty"`

	plan  *tfplan.Plan
	drift *tfplan.Drift
}

// conclude draws the verdict and the reason from the checks.
func (r *Result) conclude(checks []verdict.Check) {
	r.Verdict = verdict.Of(checks)
	for _, c := range checks {
		if c.Verdict != verdict.Proven && c.Waived == "" {
			r.FailureReason = c.ID
			return
		}
	}
}

// planned takes what a plan has made.
func (r *Result) planned(p *stack.Planned) {
	r.backup(p.Backup)
	if p.Plan != nil {
		counts := p.Plan.Counts()
		r.plan, r.Changes, r.Counts = p.Plan, &p.Changed, &counts
	}
	if p.PlanPath != "" {
		r.PlanPath, r.PlanSHA256 = p.PlanPath, p.Receipt.Plan.SHA256
		r.ReceiptPath, r.ReceiptSHA256 = p.ReceiptPath, p.ReceiptSHA256
	}
}

func (r *Result) backup(b *tfstate.Backup) {
	if b == nil || b.Manifest == nil {
		return
	}
	r.BackupPath, r.BackupSHA256, r.OffsitePath = b.Path, b.Manifest.Archive.SHA256, b.OffsitePath
	r.StateSerial, r.StateLineage = strconv.FormatUint(b.State.Serial, 10), b.State.Lineage
}

// format renders results as JSON, a line an element: a runner loses lines of
// 64 KiB.
func format(results []*Result) (string, error) {
	if len(results) == 0 {
		return "[]", nil
	}
	lines := make([]string, len(results))
	for i, r := range results {
		data, err := json.Marshal(r)
		if err != nil {
			return "", err
		}
		lines[i] = string(data)
	}
	return "[\n" + strings.Join(lines, ",\n") + "\n]", nil
}

// outputs sets what both actions give out about several stacks.
func (r *Run) outputs(results []*Result) error {
	text, err := format(results)
	if err != nil {
		return err
	}
	dir, err := r.Action.TempDir("stacks")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "stacks.json")
	if err := files.Write(path, []byte(text+"\n")); err != nil {
		return err
	}
	sum, err := files.SHA256(path)
	if err != nil {
		return err
	}
	r.Action.SetOutput("stacks", text)
	r.Action.SetOutput("stacks_path", path)
	r.Action.SetOutput("stacks_sha256", sum)
	return nil
}
