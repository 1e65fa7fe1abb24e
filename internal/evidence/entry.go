package evidence

import (
	"time"

	"edge-actions/internal/verdict"
)

// Schema names the format of an entry. A field is added under the same name of
// the schema; a change of meaning gets a new one.
const Schema = "edge-actions/evidence/v1"

// Entry is what one run of one action left behind. It is signed by the runner
// and names the line before it, so it says where in the ledger it belongs.
type Entry struct {
	Schema string `json:"schema"`
	// Seq counts from 1 without gaps.
	Seq int64 `json:"seq"`
	// Previous is the sha256 of the line before, its newline included, in
	// lower-case hex; 64 zeros in the first one.
	Previous string `json:"previous"`
	// Time is when the entry was made, by the runner's clock, in UTC.
	Time time.Time `json:"time"`

	// Where the run came from, in the words of the runner.
	Repository string `json:"repository"`
	Workflow   string `json:"workflow"`
	Job        string `json:"job"`
	RunID      string `json:"run_id"`
	RunNumber  string `json:"run_number"`
	Commit     string `json:"commit"`
	Runner     string `json:"runner"`

	// Report is the report as it was when the step ended: its verdict is the
	// step's.
	Report verdict.Report `json:"report"`
	// Outputs are the action's outputs by name.
	Outputs map[string]string `json:"outputs"`
	// Omitted has the sha256 of each output that was too long to keep, in
	// lower-case hex.
	Omitted map[string]string `json:"omitted,omitempty"`
}

// Mark names a state of a ledger: its last entry. Who keeps one elsewhere, in
// a note or in another repository, can tell that a ledger was set back.
type Mark struct {
	// Seq is the number of the last entry; 0 for a ledger without one.
	Seq int64 `json:"seq"`
	// SHA256 is of the last line with its newline, in lower-case hex.
	SHA256 string `json:"sha256"`
}
