package action

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"edge-actions/internal/verdict"

	githubactions "github.com/sethvargo/go-githubactions"
)

// maxOutputLine is the length from which a line of an output is refused. The
// Forgejo runner silently drops a line of 64 KiB and every later one; the
// name and the delimiter need some of that room.
const maxOutputLine = 60 << 10

// maxOutput is what Forgejo and GitHub keep of one output; above it Forgejo
// ignores it with a line in the log.
const maxOutput = 1 << 20

// SetOutput sets one of the outputs that action.yml declares. Outputs are
// written together at the end.
func (a *Action) SetOutput(name, value string) {
	if _, ok := a.Meta.Outputs[name]; !ok {
		panic(fmt.Sprintf("output %q is not declared in action.yml", name))
	}
	a.outputs[name] = value
}

// Output returns what SetOutput was last given for name.
func (a *Action) Output(name string) string { return a.outputs[name] }

// formatOutputs renders the outputs that may be written, and says which may
// not.
func (a *Action) formatOutputs() (string, error) {
	var b strings.Builder
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.outputs)) {
		if name == "report" || name == "failure_reason" && a.outputs[name] == "" {
			continue // known at the end only
		}
		entry, err := formatOutput(name, a.outputs[name], token())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		a.written[name] = true
		b.WriteString(entry)
	}
	return b.String(), errors.Join(errs...)
}

// failureReason renders the output failure_reason of an action that has one
// and did not set it: the first check that did not hold, of the report or of
// err.
func (a *Action) failureReason(err error) (string, bool) {
	if _, ok := a.Meta.Outputs["failure_reason"]; !ok || a.outputs["failure_reason"] != "" {
		return "", false
	}
	reason := ""
	for _, c := range slices.Concat(a.Report.Checks, verdict.ChecksOf(err)) {
		if c.Verdict != verdict.Proven && c.Waived == "" {
			reason = c.ID
			break
		}
	}
	if reason == "" && a.Report.Verdict != verdict.Proven {
		reason = "empty" // nothing was looked at, or all of it was waived
	}
	a.outputs["failure_reason"] = reason
	entry, err := formatOutput("failure_reason", reason, token())
	a.written["failure_reason"] = err == nil
	return entry, err == nil
}

// writeOutputs appends all outputs at once.
func (a *Action) writeOutputs(entries string) error {
	if entries == "" || a.getenv("GITHUB_OUTPUT") == "" {
		return nil
	}
	if err := a.fileCommand("output", entries); err != nil {
		clear(a.written)
		return verdict.CannotTell("output", "the outputs to be written", err, "look at the space on the runner's disk")
	}
	return nil
}

// formatOutput renders one entry of the output file, under a delimiter that
// the value can't contain. go-githubactions has a constant one, and a value
// with that line in it set a second output on both engines.
func formatOutput(name, value, delimiter string) (string, error) {
	hint := "pass it as a file, with its path as the output"
	if !utf8.ValidString(value) {
		return "", verdict.Refuse("output", "output "+name+" to be valid UTF-8", "invalid bytes", hint)
	}
	if strings.ContainsRune(value, '\r') || strings.ContainsRune(value, 0) {
		return "", verdict.Refuse("output", "output "+name+" without carriage returns or NUL bytes", "one", hint)
	}
	if len(value) > maxOutput {
		return "", verdict.Refuse("output", fmt.Sprintf("at most %d bytes in output %s", maxOutput, name), fmt.Sprintf("%d", len(value)), hint)
	}
	if strings.HasPrefix(value, "\n") {
		// The Forgejo runner and act both lose empty lines at the start.
		return "", verdict.Refuse("output", "output "+name+" without an empty first line", "one", "trim it, or "+hint)
	}
	for line := range strings.Lines(value) {
		if len(line) >= maxOutputLine {
			return "", verdict.Refuse("output", fmt.Sprintf("lines under %d bytes in output %s", maxOutputLine, name), fmt.Sprintf("one of %d bytes", len(line)), hint)
		}
		if strings.TrimRight(line, "\n") == delimiter {
			return "", verdict.Refuse("output", "output "+name+" without its own delimiter", "the delimiter", "run the step again")
		}
	}
	if strings.Contains(value, "${{") {
		// Not expanded from an output by any runner today, but it is from
		// GITHUB_ENV, where a workflow may well put it next.
		return "", verdict.Refuse("output", "output "+name+" without an expression", fmt.Sprintf("%q", "${{"), hint)
	}
	return fmt.Sprintf("%s<<%s\n%s\n%s\n", name, delimiter, value, delimiter), nil
}

// fileCommand appends to one of the runner's files. The library panics on an
// error; here it is one.
func (a *Action) fileCommand(name, message string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("writing to the runner's %s file: %v", name, r)
		}
	}()
	a.gha.IssueFileCommand(&githubactions.Command{Name: name, Message: strings.TrimSuffix(message, "\n")})
	return nil
}

// token is a word that nobody can guess: a delimiter, or the end of a fence.
func token() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return "edge_" + hex.EncodeToString(b[:])
}
