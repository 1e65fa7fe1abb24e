// Package delivery brings a signed handoff into the repository of the machines:
// as a commit, with a run of its workflow that is followed to its end, and with a
// status on the commit that the handoff comes from. It refuses to overwrite a
// handoff that speaks of a later state, and to call anything delivered that was
// not seen to end well.
package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"edge-actions/internal/forge"
	"edge-actions/internal/handoff"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// The ids of the checks.
const (
	// Committed is the handoff in the repository.
	Committed = "handoff-committed"
	// Ran is the workflow's run.
	Ran = "handoff-run"
	// Reported is the status on the commit of the stack.
	Reported = "handoff-status"
)

// Outcome is what a delivery came to.
type Outcome string

const (
	// Delivered: it was committed now.
	Delivered Outcome = "delivered"
	// Unchanged: what is there says the same and is young enough.
	Unchanged Outcome = "unchanged"
	// Superseded: what is there speaks of a later state of the same stack.
	Superseded Outcome = "superseded"
)

// Delivery is where a handoff goes and what is started by it.
type Delivery struct {
	Target *forge.Repo
	Branch string
	// Path is that of the document in the repository; the signature lies beside it.
	Path string
	// Workflow is the file's name of the one that is started; "" for none.
	Workflow string
	// Source is where the status goes; nil for none.
	Source *forge.Repo
	// Signer is who signed, and so who may have signed what is there.
	Signer ssh.PublicKey
	// Again is how old an unchanged handoff becomes before it is committed anew:
	// who receives it does not believe an old one.
	Again time.Duration
	// Poll is the time between two looks at the run.
	Poll time.Duration
	// Wait bounds the run.
	Wait time.Duration
	// Journal remembers how far a delivery came, on the runner.
	Journal *Journal
	Now     time.Time
	Logf    func(format string, args ...any)
}

// Result is what was done.
type Result struct {
	Outcome Outcome
	Commit  string // in the target; empty unless it was committed now
	RunID   int64
	RunURL  string
	Checks  []verdict.Check
}

// attempts is how often another delivery may come first.
const attempts = 5

// statusContext is the name of the status.
const statusContext = "edge-actions/handoff"

// Deliver brings the document and its signature. What an earlier run left
// half-done is completed: a commit without a run gets its run, and a run that was
// not followed to its end is followed.
func (d *Delivery) Deliver(ctx context.Context, document, signature []byte) *Result {
	r := &Result{}
	doc, err := handoff.Parse(document)
	if err == nil {
		err = handoff.Verify(document, signature, d.Signer)
	}
	if err != nil {
		r.Checks = verdict.ChecksOf(err)
		return r
	}
	d.deliver(ctx, r, doc, document, signature)
	d.report(ctx, r, doc)
	return r
}

func (d *Delivery) deliver(ctx context.Context, r *Result, doc *handoff.Document, document, signature []byte) {
	wanted := fmt.Sprintf("the handoff in %s at %q on %s", d.Target, d.Path, d.Branch)
	there, err := d.commit(ctx, r, doc, document, signature)
	if err != nil {
		checks := verdict.ChecksOf(err)
		checks[0].Hint += "; nothing was started"
		r.Checks = append(r.Checks, checks...)
		return
	}
	got := map[Outcome]string{
		Delivered: "committed as " + short(r.Commit), Unchanged: "it says the same already", Superseded: fmt.Sprintf("serial %d is there already, delivered by another run", there.serial),
	}[r.Outcome]
	r.Checks = append(r.Checks, verdict.Check{ID: Committed, Verdict: verdict.Proven, Wanted: wanted, Got: got})
	d.Logf("handoff: %s", got)
	if d.Workflow == "" || r.Outcome == Superseded { // who delivered it starts it
		return
	}
	r.Checks = append(r.Checks, d.run(ctx, r, there))
}

// present is the handoff that is in the repository.
type present struct {
	sha256                        string
	serial                        int64
	documentSHA, signatureSHA     string
	doc                           *handoff.Document // nil unless it is signed by ours
	documentThere, signatureThere bool
}

// commit writes the two files, unless what is there says the same or more.
func (d *Delivery) commit(ctx context.Context, r *Result, doc *handoff.Document, document, signature []byte) (*present, error) {
	var last error
	for range attempts {
		p, err := d.look(ctx)
		if err != nil {
			return nil, err
		}
		if p.doc != nil {
			if outcome, done := d.compare(doc, p.doc); done {
				r.Outcome = outcome
				return p, nil
			}
		}
		message := fmt.Sprintf("Handoff of %s at %s, state serial %d", doc.Context.Repository, short(doc.Context.Commit), doc.Context.StateSerial)
		r.Commit, err = d.Target.PutFiles(ctx, d.Branch, []forge.Change{
			{Path: d.Path, Content: document, SHA: p.documentSHA}, {Path: d.Path + handoff.SignatureSuffix, Content: signature, SHA: p.signatureSHA},
		}, message)
		if err == nil {
			r.Outcome = Delivered
			return &present{sha256: digest(document), serial: doc.Context.StateSerial}, nil
		}
		var conflict *forge.Conflict
		if !errors.As(err, &conflict) {
			return nil, err
		}
		last = err
		d.Logf("handoff: another delivery came first, looking again")
	}
	return nil, last
}

// look reads what is there.
func (d *Delivery) look(ctx context.Context) (*present, error) {
	p := &present{}
	document, err := d.Target.GetFile(ctx, d.Path, d.Branch)
	if err != nil && !verdict.Has(err, forge.Missing) {
		return nil, err
	}
	p.documentThere, p.documentSHA, p.sha256 = err == nil, document.SHA, digest(document.Content)
	signature, err := d.Target.GetFile(ctx, d.Path+handoff.SignatureSuffix, d.Branch)
	if err != nil && !verdict.Has(err, forge.Missing) {
		return nil, err
	}
	p.signatureThere, p.signatureSHA = err == nil, signature.SHA
	if !p.documentThere || !p.signatureThere || handoff.Verify(document.Content, signature.Content, d.Signer) != nil {
		return p, nil // not ours, or not whole: it is written anew
	}
	if doc, err := handoff.Parse(document.Content); err == nil {
		p.doc, p.serial = doc, doc.Context.StateSerial
	}
	return p, nil
}

// compare says whether there is nothing to commit.
func (d *Delivery) compare(ours, there *handoff.Document) (Outcome, bool) {
	o, t := ours.Context, there.Context
	if o.Repository != t.Repository || o.StateLineage != t.StateLineage {
		return "", false
	}
	if t.StateSerial > o.StateSerial {
		return Superseded, true
	}
	same := t.StateSerial == o.StateSerial && slices.EqualFunc(ours.Nodes, there.Nodes, equal)
	if same && d.Now.Sub(t.Created) < d.Again {
		return Unchanged, true
	}
	return "", false
}

// equal compares two nodes as they are written.
func equal(a, b handoff.Node) bool {
	one, err1 := (&handoff.Document{Nodes: []handoff.Node{a}}).Encode()
	two, err2 := (&handoff.Document{Nodes: []handoff.Node{b}}).Encode()
	return err1 == nil && err2 == nil && string(one) == string(two)
}

// report puts the status on the commit that the handoff comes from.
func (d *Delivery) report(ctx context.Context, r *Result, doc *handoff.Document) {
	if d.Source == nil {
		return
	}
	wanted := "a status on " + short(doc.Context.Commit) + " of " + d.Source.String()
	state, words := "success", fmt.Sprintf("%s, serial %d", r.Outcome, doc.Context.StateSerial)
	if v := verdict.Of(r.Checks); v != verdict.Proven {
		state, words = "failure", fmt.Sprintf("%s: %s", v, reason(r.Checks))
	}
	err := d.Source.SetStatus(ctx, doc.Context.Commit, forge.Status{Context: statusContext, State: state, Description: words, TargetURL: r.RunURL})
	if err != nil {
		r.Checks = append(r.Checks, about(Reported, wanted, err))
		return
	}
	r.Checks = append(r.Checks, verdict.Check{ID: Reported, Verdict: verdict.Proven, Wanted: wanted, Got: state})
}

func reason(checks []verdict.Check) string {
	for _, c := range checks {
		if c.Verdict != verdict.Proven {
			return c.ID
		}
	}
	return ""
}

// about is an error under the id of a step, with its own verdict and words.
func about(id, wanted string, err error) verdict.Check {
	c := verdict.ChecksOf(err)[0]
	c.Got = fmt.Sprintf("%s (%s)", c.Got, c.ID)
	c.ID, c.Wanted = id, wanted
	return c
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func short(id string) string { return id[:min(len(id), 12)] }
