package agent

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"edge-actions/internal/verdict"
)

// schema names what the two ends say to each other. They are the same source,
// and a cache that is wrong about that shows here.
const schema = "edge-actions/agent/v1"

// Bounds of what a host may say, and of what an agent says.
const (
	maxLine  = 8 << 20
	maxLog   = 4 << 10
	maxLogs  = 20_000
	maxBytes = 64 << 20
	// maxChecks is how many refusals an error is worth.
	maxChecks = 1000
)

// asked is the one line that an agent is sent. Then its stdin stays open until
// nobody waits for it any more.
type asked struct {
	Schema string `json:"schema"`
	// Seconds is the deadline, Grace what there is to clean up in after it.
	Seconds float64         `json:"seconds"`
	Grace   float64         `json:"grace"`
	Request json.RawMessage `json:"request"`
}

// said is one line of an agent's: its schema first, then what it logs, then an
// answer or the checks of an error.
type said struct {
	Schema string          `json:"schema,omitempty"`
	Log    *string         `json:"log,omitempty"`
	Answer json.RawMessage `json:"answer,omitempty"`
	Checks []verdict.Check `json:"checks,omitempty"`
}

// one reports whether it says one thing.
func (s said) one() bool {
	n := 0
	for _, is := range []bool{s.Schema != "", s.Log != nil, s.Answer != nil, s.Checks != nil} {
		if is {
			n++
		}
	}
	return n == 1
}

// refusals are the checks as errors. A check that holds, or that was waived, or
// whose name is none, is nothing that an agent says of an error.
func refusals(checks []verdict.Check) ([]error, bool) {
	if len(checks) == 0 || len(checks) > maxChecks {
		return nil, false
	}
	var out []error
	for _, c := range checks {
		if c.Verdict != verdict.Disproven && c.Verdict != verdict.Unproven || c.Waived != "" || !isID(c.ID) {
			return nil, false
		}
		for _, s := range []*string{&c.Subject, &c.Wanted, &c.Got, &c.Hint} {
			*s = printable(*s)
		}
		out = append(out, &verdict.Refusal{Check: c})
	}
	return out, true
}

func isID(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

// printable takes out what has an effect where it is shown.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, s)
}

// cut returns the first bytes of a line, in whole letters.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max] + "…"
}

func badAnswer(got string) *verdict.Refusal {
	return verdict.CannotTell(BadAnswer, "exactly one answer of the agent", errors.New(got), "see what the host's shell prints by itself, what its journal says of that time, and whether it ran out of memory")
}
