// Package evidence is the ledger of a runner: what each run of each action
// found, an entry a line, chained by sha256 and signed with an SSH key of the
// runner. ssh-keygen -Y verify and sha256sum are enough to check it;
// the README shows how. It refuses to go on after an end that is not the
// one it wrote, and finds a ledger that was edited, put into another order, cut
// or truncated, and where.
//
// Where the ledger is comes from the environment and not from inputs, because
// it is the runner's, like RUNNER_TOOL_CACHE: what a runner keeps is not for
// each workflow to say, and no step can be without it by an oversight. It is
// set once in the runner's configuration, or in a workflow's env.
//
// What a signature can't show is that a ledger was set back together with its
// head: for that, keep the Mark of a check elsewhere and give it to the next.
// A key is changed by listing both in allowed_signers and pointing SignersVar
// at that file: what the old one signed holds while it is listed.
package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"edge-actions/internal/action"
	"edge-actions/internal/files"
	"edge-actions/internal/signature"
	"edge-actions/internal/verdict"
)

// The variables of the runner's environment.
const (
	// DirVar is the directory of the ledger. Without it and KeyVar there is none.
	DirVar = "EDGE_ACTIONS_LEDGER"
	// KeyVar is the file of the private SSH key that signs, without passphrase.
	KeyVar = "EDGE_ACTIONS_LEDGER_KEY"
	// SignersVar is a file in the form of allowed_signers with the keys that
	// signed before: wanted once, after the key was changed.
	SignersVar = "EDGE_ACTIONS_LEDGER_SIGNERS"
)

const (
	// maxOutput is the length above which an output is kept as its digest.
	maxOutput = 16 << 10
	// maxWord is where a word of the runner's is cut.
	maxWord = 256
	// appendWait is how long other jobs may hold the ledger. An append takes
	// some milliseconds.
	appendWait = 30 * time.Second
)

// Record adds a run that is over to the ledger of its runner, if that has one.
// Its error is one check named "evidence": unproven, because whether there is
// evidence of the run can't be told.
func Record(ctx context.Context, a *action.Action) error {
	if a.Getenv(DirVar) == "" && a.Getenv(KeyVar) == "" {
		return nil
	}
	l, err := open(a)
	if err != nil {
		return lost(err)
	}
	mark, err := l.Append(ctx, entryOf(a))
	if err != nil {
		return lost(err)
	}
	a.Logf("Evidence: entry %d of the ledger %s, sha256 %s.", mark.Seq, l.Dir, mark.SHA256)
	return nil
}

// lost makes the check of a run that was not recorded. Its words are those of
// the cause, where that has some.
func lost(err error) error {
	out := verdict.CannotTell("evidence", "the run in the ledger of the runner ("+DirVar+")", err,
		"look at the directory, its modes and the space on its disk, then run again: this run left no evidence")
	if cause := (*verdict.Refusal)(nil); errors.As(err, &cause) {
		out.Wanted, out.Got, out.Hint = cause.Wanted, cause.Got, cause.Hint
	}
	return out
}

// open reads the settings.
func open(a *action.Action) (*Ledger, error) {
	dir, err := lasting(a, DirVar, "a directory for the ledger")
	if err != nil {
		return nil, err
	}
	path, err := lasting(a, KeyVar, "the private SSH key that signs the ledger")
	if err != nil {
		return nil, err
	}
	if err := files.CheckSecret(path); err != nil {
		return nil, verdict.Refuse("evidence", KeyVar+": a file that only the runner's user can read", fmt.Sprintf("%q, which %v", path, err), "correct the file or "+KeyVar)
	}
	l := &Ledger{Dir: dir, Wait: appendWait, Logf: a.Logf}
	if l.Signer, err = signature.ReadSigner(path, signature.Source{ID: "evidence", Name: KeyVar}); err != nil {
		return nil, err
	}
	if a.Getenv(SignersVar) == "" {
		return l, nil
	}
	if path, err = lasting(a, SignersVar, "a file in the form of allowed_signers"); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err == nil {
		l.Former, err = signature.ParseSigners(string(text), Namespace)
	}
	if err != nil {
		return nil, verdict.Refuse("evidence", SignersVar+": a file in the form of allowed_signers", fmt.Sprintf("%.300q", err.Error()), "correct the file or "+SignersVar)
	}
	return l, nil
}

// lasting is the path that a variable has. It outlives the job, and nothing
// that a checkout brings along can lie there.
func lasting(a *action.Action, name, what string) (string, error) {
	v := a.Getenv(name)
	if v == "" {
		return "", verdict.Refuse("evidence", name+": "+what, "nothing, and the other of "+DirVar+" and "+KeyVar+" is set", "set both on the runner, or neither")
	}
	if rest, ok := strings.CutPrefix(v, "~/"); ok && a.Getenv("HOME") != "" {
		v = filepath.Join(a.Getenv("HOME"), rest)
	}
	if err := a.CheckLasting(v); err != nil {
		return "", verdict.Refuse("evidence", name+": an absolute path that outlives the job", fmt.Sprintf("%q, which %v", v, err), "put it elsewhere on the runner, for example under ~/.local/state")
	}
	return filepath.Clean(v), nil
}

// entryOf is what is kept of a run. What was masked is masked here too: it goes
// where no runner's log reaches.
func entryOf(a *action.Action) Entry {
	redact := a.Redactor().Replace
	word := func(name string) string { return plain(redact(a.Getenv(name))) }
	e := Entry{
		Repository: word("GITHUB_REPOSITORY"), Workflow: word("GITHUB_WORKFLOW"), Job: word("GITHUB_JOB"),
		RunID: word("GITHUB_RUN_ID"), RunNumber: word("GITHUB_RUN_NUMBER"), Commit: word("GITHUB_SHA"), Runner: word("RUNNER_NAME"),
		Report: *a.Report, Outputs: map[string]string{},
	}
	e.Report.Subject = redact(e.Report.Subject)
	e.Report.Checks = make([]verdict.Check, len(a.Report.Checks))
	for i, c := range a.Report.Checks {
		for _, s := range []*string{&c.Subject, &c.Wanted, &c.Got, &c.Hint, &c.Waived} {
			*s = redact(*s)
		}
		e.Report.Checks[i] = c
	}
	for name, value := range a.Outputs() {
		if value = redact(value); len(value) <= maxOutput {
			e.Outputs[name] = value
			continue
		}
		if e.Omitted == nil {
			e.Omitted = map[string]string{}
		}
		e.Omitted[name] = digest([]byte(value))
	}
	return e
}

// plain is a word of the runner's environment, which anybody who can push may
// choose: bounded, and without what a terminal would obey.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
	if len(s) <= maxWord {
		return s
	}
	return strings.ToValidUTF8(s[:maxWord], "") + "…"
}
