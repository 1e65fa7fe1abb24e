package fleet

import (
	"cmp"
	"fmt"
	"strings"

	"edge-actions/internal/nixos"
	"edge-actions/internal/verdict"
)

// NodeResult is what became of one node; the output "nodes" is a list of them.
type NodeResult struct {
	Name    string        `json:"name"`
	Outcome nixos.Outcome `json:"outcome"`
	Reason  string        `json:"reason,omitempty"`
	Address string        `json:"address,omitempty"`
	// SystemPath is live on the node, PreviousSystemPath was before, and
	// WantedSystemPath is what the hive says. "" is unknown.
	SystemPath         string `json:"system_path,omitempty"`
	PreviousSystemPath string `json:"previous_system_path,omitempty"`
	WantedSystemPath   string `json:"wanted_system_path,omitempty"`
	Generation         int    `json:"generation,omitempty"`
	Changed            bool   `json:"changed"`

	Checks []verdict.Check `json:"-"`
}

// well reports whether the next node may be taken.
func (r *NodeResult) well() bool {
	return (r.Outcome == nixos.Unchanged || r.Outcome == nixos.Converged) && verdict.Of(r.Checks) == verdict.Proven
}

// Outcome is that of a whole fleet: of the first node that is not well, else
// converged if any node is, else unchanged.
func Outcome(results []*NodeResult) nixos.Outcome {
	out := nixos.Unchanged
	for _, r := range results {
		switch r.Outcome {
		case nixos.Unchanged, nixos.NotTouched:
		case nixos.Converged:
			out = nixos.Converged
		default:
			return r.Outcome
		}
	}
	for _, r := range results {
		if r.Outcome == nixos.NotTouched { // something that concerns all of them
			return nixos.Refused
		}
	}
	return out
}

// Text says for each node what became of it.
func Text(results []*NodeResult) string {
	var b strings.Builder
	width := 0
	for _, r := range results {
		width = max(width, len(r.Name))
	}
	for _, r := range results {
		fmt.Fprintf(&b, "%-*s  %-18s  %s", width, r.Name, r.Outcome, cmp.Or(r.SystemPath, "not seen"))
		if r.Reason != "" {
			fmt.Fprintf(&b, "  (%s)", r.Reason)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Table is Text in Markdown.
func Table(results []*NodeResult) string {
	var b strings.Builder
	b.WriteString("| node | outcome | reason | live |\n|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.Name, r.Outcome, strings.NewReplacer("|", "", "`", "", "<", "").Replace(r.Reason), cmp.Or(r.SystemPath, "not seen"))
	}
	return b.String()
}
