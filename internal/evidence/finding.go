package evidence

import (
	"fmt"

	"edge-actions/internal/verdict"
)

// Kind is what is wrong with a ledger.
type Kind string

const (
	// Edited: a line or the head is not what was written.
	Edited Kind = "edited"
	// Reordered: an entry stands after one that was written later.
	Reordered Kind = "reordered"
	// Repeated: an entry is there again.
	Repeated Kind = "repeated"
	// Cut: entries are missing from the middle.
	Cut Kind = "cut"
	// Truncated: entries are missing at the end.
	Truncated Kind = "truncated"
	// SetBack: it is an older or another ledger than one that was seen before.
	SetBack Kind = "set-back"
	// ForeignKey: a line or the head is signed by a key that is not listed.
	ForeignKey Kind = "foreign-key"
	// NotOurs: it is signed, and still no entry that this project writes.
	NotOurs Kind = "not-ours"
	// Headless: there are entries, and nothing says where they end.
	Headless Kind = "headless"
	// Torn: the last line has no end, as a kill leaves it.
	Torn Kind = "torn"
	// Empty: there is no entry.
	Empty Kind = "empty"
)

// Finding says what is wrong with a ledger, and where. It carries a check named
// "ledger-" and its kind.
type Finding struct {
	Kind Kind
	// Line counts from 1; it is 0 for the head and for the ledger as a whole.
	Line int64
	// Offset is that of the line's first byte.
	Offset int64

	refusal *verdict.Refusal
}

func (f *Finding) Error() string { return f.refusal.Error() }

func (f *Finding) Unwrap() error { return f.refusal }

// find returns a finding in a line, or about the whole for line 0.
func find(kind Kind, line, offset int64, format string, args ...any) *Finding {
	where := ""
	if line > 0 {
		where = fmt.Sprintf("line %d (byte %d): ", line, offset)
	}
	id, wanted, got := "ledger-"+string(kind), "a ledger that is as it was written", where+fmt.Sprintf(format, args...)
	f := &Finding{Kind: kind, Line: line, Offset: offset}
	switch kind {
	case Torn:
		f.refusal = verdict.CannotTell(id, wanted, nil, "the next run of an action on that runner sets what was torn aside, then check again")
		f.refusal.Got = got
	case Empty:
		f.refusal = verdict.CannotTell(id, "a ledger with entries", nil, "set EDGE_ACTIONS_LEDGER and EDGE_ACTIONS_LEDGER_KEY on the runner and run an action, or correct the directory")
		f.refusal.Got = got
	case ForeignKey:
		f.refusal = verdict.Refuse(id, "a ledger signed by the listed keys", got, "find out whose key that is; list it in allowed_signers only if it was the runner's")
	case Headless:
		f.refusal = verdict.Refuse(id, wanted, got, "compare it with a copy; where none is left, begin a new ledger in another directory and keep this one")
	default:
		f.refusal = verdict.Refuse(id, wanted, got, "trust nothing in it from there on: compare it with a copy, and find out who can write to the directory")
	}
	return f
}
