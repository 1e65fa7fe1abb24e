// Package verdict is the one vocabulary in which every stage says what it
// found: a check is proven, disproven or unproven, and a report is as good as
// its worst check. It refuses to let silence pass: a report without checks is
// unproven, and so is anything unreachable, empty, disabled, skipped or
// unknown.
package verdict

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verdict is the outcome of one check or of a whole report.
type Verdict string

const (
	// Proven: the thing was looked at and it holds. Only this exits 0.
	Proven Verdict = "proven"
	// Disproven: the thing was looked at and it does not hold.
	Disproven Verdict = "disproven"
	// Unproven: it could not be looked at, or there was nothing to look at.
	Unproven Verdict = "unproven"
)

// Schema names the format of the JSON report. A field is added under the same
// name of the schema; a change of meaning gets a new one.
const Schema = "edge-actions/report/v1"

// Check is one question with its answer, in words that a person can act on.
type Check struct {
	// ID is stable, lower-case and hyphenated: workflows may branch on it.
	ID string `json:"id"`
	// Subject is the node that the check is of, where a report has several.
	Subject string  `json:"subject,omitempty"`
	Verdict Verdict `json:"verdict"`
	// Wanted and Got are plain text; foreign text in them is quoted by the
	// one who wrote the check.
	Wanted string `json:"wanted,omitempty"`
	Got    string `json:"got,omitempty"`
	// Hint says what to do next. It is empty for a proven check.
	Hint string `json:"hint,omitempty"`
	// Waived names the input by which the operator accepted this check as it
	// is. A waived check keeps its verdict and no longer decides the report's.
	Waived string `json:"waived,omitempty"`
}

// Report is what one run of one action leaves behind.
type Report struct {
	Schema  string    `json:"schema"`
	Action  string    `json:"action"`
	Verdict Verdict   `json:"verdict"`
	Subject string    `json:"subject"`
	Checks  []Check   `json:"checks"`
	Started time.Time `json:"started"`
	// Seconds is the wall time of the run.
	Seconds float64 `json:"seconds"`
}

// Prove adds a proven check.
func (r *Report) Prove(id, wanted, got string) {
	r.Add(Check{ID: id, Verdict: Proven, Wanted: wanted, Got: got})
}

// Add appends checks in the order in which they were made.
func (r *Report) Add(checks ...Check) { r.Checks = append(r.Checks, checks...) }

// About names the subject of checks.
func About(subject string, checks []Check) []Check {
	out := slices.Clone(checks)
	for i := range out {
		out[i].Subject = subject
	}
	return out
}

// Finish sets the report's verdict from its checks and its duration from the
// time that has passed since it was started.
func (r *Report) Finish(now time.Time) {
	r.Schema = Schema
	r.Seconds = now.Sub(r.Started).Seconds()
	r.Verdict = Of(r.Checks)
}

// Of is the verdict of a set of checks: disproven if any is, else unproven if
// any is or if there is none, else proven. Waived checks do not count, and
// waivers alone prove nothing.
func Of(checks []Check) Verdict {
	var proven, unproven bool
	for _, c := range checks {
		switch {
		case c.Waived != "":
		case c.Verdict == Disproven:
			return Disproven
		case c.Verdict == Proven:
			proven = true
		default:
			unproven = true
		}
	}
	if proven && !unproven {
		return Proven
	}
	return Unproven
}

// Refusal is an error that is also a check: what was wanted, what was found
// and what to do about it.
type Refusal struct {
	Check
	// Err is the cause, if there is one.
	Err error
}

// Refuse returns a disproven check as an error.
func Refuse(id, wanted, got, hint string) *Refusal {
	return &Refusal{Check: Check{ID: id, Verdict: Disproven, Wanted: wanted, Got: got, Hint: hint}}
}

// CannotTell returns an unproven check as an error: the question could not be
// answered, because of err if that is not nil.
func CannotTell(id, wanted string, err error, hint string) *Refusal {
	got := ""
	if err != nil {
		got = err.Error()
	}
	return &Refusal{Check: Check{ID: id, Verdict: Unproven, Wanted: wanted, Got: got, Hint: hint}, Err: err}
}

func (r *Refusal) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: wanted %s, found %s", r.ID, r.Wanted, r.Got)
	if r.Hint != "" {
		fmt.Fprintf(&b, "; %s", r.Hint)
	}
	return b.String()
}

func (r *Refusal) Unwrap() error { return r.Err }

// ChecksOf returns the checks that err and the errors joined in it carry, in
// order. An error that carries none becomes one unproven check named "run".
func ChecksOf(err error) []Check {
	switch e := err.(type) {
	case nil:
		return nil
	case *Refusal:
		return []Check{e.Check}
	case interface{ Unwrap() []error }:
		var out []Check
		for _, inner := range e.Unwrap() {
			out = append(out, ChecksOf(inner)...)
		}
		return out
	}
	if r := (*Refusal)(nil); errors.As(err, &r) {
		return ChecksOf(errors.Unwrap(err))
	}
	return []Check{{ID: "run", Verdict: Unproven, Wanted: "the action to run to its end", Got: err.Error()}}
}

// Reason returns the id of the first check that err carries, or "" for nil.
func Reason(err error) string {
	for _, c := range ChecksOf(err) {
		return c.ID
	}
	return ""
}

// Has reports whether err carries a check with one of the ids.
func Has(err error, ids ...string) bool {
	return slices.ContainsFunc(ChecksOf(err), func(c Check) bool { return slices.Contains(ids, c.ID) })
}
