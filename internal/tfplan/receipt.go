package tfplan

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
)

// ReceiptSchema names the format of the receipt.
const ReceiptSchema = "edge-actions/receipt/v1"

// Receipt ties a plan file to the world for which it was made. OpenTofu itself
// compares lineage and serial only, and accepts the same serial with other
// contents and a first plan after the state has vanished.
type Receipt struct {
	Schema  string    `json:"schema"`
	Created time.Time `json:"created"`
	Stack   string    `json:"stack"`
	Plan    struct {
		SHA256 string `json:"sha256"`
	} `json:"plan"`
	State StateID `json:"state"`
	// Backup names the archive of that state; it is empty only where there was
	// no state.
	Backup struct {
		ID     string `json:"id,omitempty"`
		SHA256 string `json:"sha256,omitempty"` // of the archive
	} `json:"backup"`
	Commit      string `json:"commit"`
	TofuVersion string `json:"tofu_version"`
	// LockFileSHA256 is of .terraform.lock.hcl, empty if there is none.
	LockFileSHA256 string `json:"lock_file_sha256,omitempty"`
	Workspace      string `json:"workspace"`
	Backend        string `json:"backend"`
	Counts         Counts `json:"counts"`
	// NoChanges: OpenTofu's own exit code said so.
	NoChanges bool `json:"no_changes,omitempty"`
}

// StateID identifies the contents of a state.
type StateID struct {
	Absent  bool   `json:"absent,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Serial  uint64 `json:"serial"`
	Lineage string `json:"lineage,omitempty"`
}

func (s StateID) String() string {
	if s.Absent {
		return "no state"
	}
	return fmt.Sprintf("serial %d, lineage %q, sha256 %.12s…", s.Serial, s.Lineage, s.SHA256)
}

// Write puts the receipt at path.
func (r *Receipt) Write(path string) error {
	r.Schema = ReceiptSchema
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return files.Write(path, append(data, '\n'))
}

// Nothing reports whether there is nothing in the plan to apply, by the counts
// and by OpenTofu's own word.
func (r *Receipt) Nothing() bool { return r.NoChanges && !r.Counts.Any() }

const planAgain = "run the plan step again and apply that plan"

// ReadReceipt reads a receipt, strictly: what it can't read it can't check.
// sum is the digest that the plan step gave out for it.
func ReadReceipt(path, sum string) (*Receipt, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, verdict.CannotTell("plan-changed", "the receipt that the plan step wrote", err, planAgain)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != sum {
		return nil, verdict.Refuse("plan-changed", "a receipt with sha256 "+sum, got, planAgain)
	}
	var r Receipt
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err = dec.Decode(&r)
	if err == nil && r.Schema != ReceiptSchema {
		err = fmt.Errorf("schema %q", r.Schema)
	}
	if err != nil {
		return nil, verdict.CannotTell("plan-changed", "a receipt of schema "+ReceiptSchema, err, planAgain)
	}
	return &r, nil
}

// World is what a receipt is held against just before the apply.
type World struct {
	PlanPath       string
	State          StateID
	Stack          string
	Commit         string
	TofuVersion    string
	LockFileSHA256 string
	Workspace      string
	Backend        string
}

// Check returns every point in which the world is not the receipt's, or nil.
func (r *Receipt) Check(w World) error {
	var errs []error
	differ := func(id, what, want, got string) {
		if want != got {
			errs = append(errs, verdict.Refuse(id, fmt.Sprintf("%s %s, as when it was planned", what, orNone(want)), orNone(got), planAgain))
		}
	}
	sum, err := files.SHA256(w.PlanPath)
	if err != nil {
		errs = append(errs, verdict.CannotTell("plan-changed", "the plan file", err, planAgain))
	} else {
		differ("plan-changed", "a plan with sha256", r.Plan.SHA256, sum)
	}
	differ("plan-changed", "stack", r.Stack, w.Stack)
	differ("plan-changed", "commit", r.Commit, w.Commit)
	differ("plan-changed", "OpenTofu", r.TofuVersion, w.TofuVersion)
	differ("plan-changed", "a provider lock file with sha256", r.LockFileSHA256, w.LockFileSHA256)
	differ("plan-changed", "workspace", r.Workspace, w.Workspace)
	differ("plan-changed", "state in", r.Backend, w.Backend)
	if r.State != w.State {
		errs = append(errs, verdict.Refuse("state-moved", "the state that was planned for: "+r.State.String(), w.State.String(),
			"something else wrote the state since; find out what, then "+planAgain))
	}
	return errors.Join(errs...)
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return fmt.Sprintf("%q", s)
}
