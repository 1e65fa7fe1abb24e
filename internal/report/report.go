// Package report says what a ledger's entries prove today: of each stage and
// each thing that it is about, the newest word; of each recovery contract, when
// it was last really restored; what is overdue, and what gets worse. It refuses
// to let time pass for proof: what was never done, what was done too long ago
// and what claims to come from the future is unproven.
//
// It is about entries whose signature and place in the ledger were checked by
// who gives them to it.
package report

import (
	"time"

	"edge-actions/internal/verdict"
)

// Own is the action that makes the report. What it says of others is no
// evidence, so its own entries are passed over.
const Own = "recovery-report"

// Config is what an operator wants to see.
type Config struct {
	Title string
	// Now is when the report is made.
	Now time.Time
	// Skew is how far a clock may be ahead of Now, or go back, without a word.
	Skew   time.Duration
	Expect []Expectation
	// Waive are what is shown and does not decide.
	Waive []Name
	// Slower and Slack say when a recovery time got worse: it is Slower times
	// the median of the ones before, and longer than it by more than Slack.
	Slower float64
	Slack  time.Duration
}

// Name is an action, or one of the things that it is about.
type Name struct{ Action, Subject string }

func (n Name) String() string {
	if n.Subject == "" {
		return n.Action
	}
	return n.Action + "/" + n.Subject
}

// Expectation is how old the newest proof may be. Without a subject it is of
// everything that the action is about.
type Expectation struct {
	Name
	MaxAge time.Duration
}

// Ledger is what is known of the ledger itself.
type Ledger struct {
	// Entries were checked; the last of them has this number and digest.
	Entries int64
	SHA256  string
	// Checks are what was found of the ledger. Entries after a break were not
	// read.
	Checks []verdict.Check
}

// Page is everything that is shown.
type Page struct {
	Title   string
	Made    time.Time
	Verdict verdict.Verdict
	Ledger  Ledger
	// Checks decide; those of the ledger are among them.
	Checks []verdict.Check
	// Todo is what a person has to look at, the worst first.
	Todo      []Todo
	Contracts []Contract
	Evidence  []Evidence
	Due       []Due
	Doors     []Door
	// Looked is when the doors were looked at last; zero if never.
	Looked time.Time
	Drift  []Drift
	// Waivers are the checks that somebody accepted as they are.
	Waivers []Waiver
	// Notes are oddities that decide nothing.
	Notes []string
}

// Todo is one thing to look at.
type Todo struct {
	Verdict verdict.Verdict
	What    string
	Found   string
	Wanted  string
	Do      string
	// Where is the run that found it.
	Where string
}

// Evidence is the newest word of an action about one thing.
type Evidence struct {
	Name
	// Detail tells two things of one name apart: the paths of a backup, what a
	// run was for.
	Detail string
	// Contract is the contract that it is about, where that is known.
	Contract string
	Source   Source
	Seq      int64
	Time     time.Time
	// Future says that the clock was wrong: how old it is can't be told.
	Future  bool
	Verdict verdict.Verdict
	// Why is the first check that did not hold, and More how many there are
	// besides.
	Why  verdict.Check
	More int
	// Waived are the checks that were accepted in that run.
	Waived []verdict.Check
	// Proven is when it was last proven; zero if never.
	Proven time.Time
	// Accepted says that it is shown and does not decide.
	Accepted bool

	backup backup
}

// Source is where an entry came from, in the words of the runner.
type Source struct{ Repository, Workflow, Job, RunID, RunNumber string }

// Due is an expectation of one thing.
type Due struct {
	Name
	Detail string
	MaxAge time.Duration
	// Last is when it was last proven; zero if never.
	Last     time.Time
	Future   bool
	Over     bool
	Accepted bool
}

// Waiver is a check that somebody accepted as it is.
type Waiver struct {
	Name
	Check verdict.Check
	Time  time.Time
}

// Drift is what was last said of a stack against the world.
type Drift struct {
	Stack      string
	Repository string
	Resources  int
	Time       time.Time
	// Applied says that the stack was applied since: nobody has looked again.
	Applied bool
}

// Door is one that was not shut when it was last looked at.
type Door struct {
	// State is open or Foreign.
	State                    string
	Where, Source, Node, Run string
	Opened, Expires          string
	Seen                     time.Time
	By                       string
	// Ended says that its lease has ended since, by this machine's clock.
	Ended bool
}
