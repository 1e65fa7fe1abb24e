package restic

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"edge-actions/internal/command"
)

// CheckResult is what a check found. Before restic 0.18 a check says nothing
// that can be counted.
type CheckResult struct {
	// Errors is at least 1 if there was any error, even before the check began.
	Errors      int
	BrokenPacks []string
	// RepairIndex and Prune are what restic would do about it. It is for the
	// repository's owner.
	RepairIndex, Prune bool
	// Messages are the first of the errors.
	Messages []Message
}

var subset = regexp.MustCompile(`^[1-9][0-9]{0,3}/[1-9][0-9]{0,3}$`)

// All is the subset of Check that is everything.
const All = "all"

// Check looks whether the repository is whole. Without a subset it reads no
// data: a flipped byte in a file's content is found only by reading it. A subset
// "n/t" reads part n of t, always the same one; All reads everything. It takes
// no lock, so a prune at the same time looks like damage: see Locks.
func (c *Client) Check(ctx context.Context, part string) (CheckResult, error) {
	args := []string{"check"}
	switch {
	case part == "":
	case part == All:
		args = append(args, "--read-data")
	case subset.MatchString(part) && inside(part):
		args = append(args, "--read-data-subset="+part)
	default:
		return CheckResult{}, fmt.Errorf("checking a repository: wanted a subset such as %q, found %q", "3/52", part)
	}
	var s struct {
		Type        string   `json:"message_type"`
		Errors      int      `json:"num_errors"`
		Broken      []string `json:"broken_packs"`
		RepairIndex bool     `json:"suggest_repair_index"`
		Prune       bool     `json:"suggest_prune"`
	}
	said := &stderr{}
	ended := false
	err := c.ask(ctx, said, func(r io.Reader) error {
		return lines(r, func(line []byte) error {
			if line[0] != '{' { // before 0.18, words
				return nil
			}
			if err := json.Unmarshal(line, &s); err != nil {
				return unreadable("the summary of a check", err)
			}
			ended = ended || s.Type == "summary"
			return nil
		})
	}, args...)
	result := CheckResult{Errors: s.Errors, BrokenPacks: s.Broken, RepairIndex: s.RepairIndex, Prune: s.Prune}
	result.Messages, _ = said.found()
	version, _ := c.Version(ctx)
	switch {
	// A check that could not begin says num_errors 1 as well.
	case damaged(err, said):
		result.Errors = max(1, result.Errors)
		return result, refuse(Damaged, fmt.Sprintf("a repository without errors at %s", c.repo), fmt.Errorf("%d: %q", result.Errors, said.words()),
			"look whether somebody pruned it at the time; if not, its owner repairs it (restic's manual, \"Troubleshooting\")")
	case err != nil:
		return result, err
	case ended && (s.Errors > 0 || len(s.Broken) > 0):
		return result, unreadable("a check that agrees with its exit code", fmt.Sprintf("exit code 0 and %d errors", s.Errors))
	case !ended && !strings.HasPrefix(version, "0.17."):
		return result, unreadable("the summary of a check", "none")
	}
	return result, nil
}

// damaged reports whether a check came to its end and found errors. There is
// no exit code for it, only these words.
func damaged(err error, said *stderr) bool {
	return command.Code(err) == 1 && said.last("Fatal: repository contains errors")
}

// inside reports whether n of "n/t" is one of t.
func inside(part string) bool {
	var n, t int
	_, err := fmt.Sscanf(part, "%d/%d", &n, &t)
	return err == nil && n <= t
}
