// Package review shows what a plan came to where it is discussed: as one comment
// on a pull request or an issue, which each run brings up to date, and as a status
// of the commit. It refuses to let what was not shown pass for shown, and never
// undoes what it was to speak of.
package review

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"html"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/forge"
	"edge-actions/internal/verdict"
)

// The ids of the checks.
const (
	// Commented is the comment.
	Commented = "comment"
	// Reported is the status of the commit.
	Reported = "comment-status"
)

// maxShow bounds all that is asked of the forge: what it is about is done, and
// the step waits.
const maxShow = 2 * time.Minute

// Review is where something is shown.
type Review struct {
	a           *action.Action
	place       *forge.Repo // of the comment; nil for none
	issue       int
	source      *forge.Repo // of the status; nil for none
	commit, run string
}

// Finding is what is shown.
type Finding struct {
	// Kind is what was made, "plan" or "drift", and Name of what. A comment is
	// found again by them and by Choice, which tells two apart of one name.
	Kind, Name, Choice string
	// Markdown is the text, which is made to fit into a comment. Its first line is
	// the status's description. Empty: nothing came of it, and the checks say why.
	Markdown string
	// Checks are all that is known of it.
	Checks []verdict.Check
}

// Show shows it, and returns what could not be shown as an error. A nil Review
// shows nothing.
func (r *Review) Show(ctx context.Context, f Finding) error {
	if r == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxShow)
	defer cancel()
	if f.Markdown == "" {
		f.Markdown = fmt.Sprintf("**No %s: %s.**\n", f.Kind, reason(f.Checks))
	}
	return errors.Join(r.comment(ctx, f), r.status(ctx, f))
}

func (r *Review) comment(ctx context.Context, f Finding) error {
	if r.place == nil {
		return nil
	}
	wanted := fmt.Sprintf("the %s as a comment on #%d of %s", f.Kind, r.issue, r.place)
	// No block: the text was cut at a whole resource by who knows what one is.
	c, err := r.place.PutNote(ctx, r.issue, forge.Note{
		Marker: fmt.Sprintf("%s:%.16x", f.Kind, sha256.Sum256([]byte(f.Name+"\n"+f.Choice))),
		Head:   fmt.Sprintf("### %s of %s\n\n%s", strings.ToUpper(f.Kind[:1])+f.Kind[1:], heading(f.Name), strings.TrimSpace(f.Markdown)),
		Tail:   fmt.Sprintf("_%s, commit %.12s, run %s; the next run writes over it._", verdict.Of(f.Checks), r.commit, r.run),
	})
	if err != nil {
		return unproven(Commented, wanted, err)
	}
	done := "brought up to date"
	if c.Created {
		done = "new"
	}
	r.a.Report.Prove(Commented, wanted, done)
	r.a.Logf("the comment: %.500q", c.URL)
	return nil
}

func (r *Review) status(ctx context.Context, f Finding) error {
	if r.source == nil {
		return nil
	}
	wanted := fmt.Sprintf("a status on commit %.12q of %s", r.commit, r.source)
	state := map[verdict.Verdict]string{verdict.Proven: "success", verdict.Disproven: "failure", verdict.Unproven: "error"}[verdict.Of(f.Checks)]
	first, _, _ := strings.Cut(f.Markdown, "\n")
	err := r.source.SetStatus(ctx, r.commit, forge.Status{
		Context: "edge-actions/" + f.Kind + "/" + cut(f.Name, 200), State: state, Description: html.UnescapeString(strings.Trim(first, "*")),
	})
	if err != nil {
		return unproven(Reported, wanted, err)
	}
	r.a.Report.Prove(Reported, wanted, state)
	return nil
}

// unproven is an error of the forge's under our own id. What could not be shown
// disproves nothing of what was to be shown.
func unproven(id, wanted string, err error) error {
	c := verdict.ChecksOf(err)[0]
	return verdict.CannotTell(id, wanted, fmt.Errorf("%s (%s)", c.Got, c.ID), c.Hint+"; what it is about stands, and is in the outputs")
}

// heading is a name in a heading of Markdown. It is of letters, digits and
// ._- (the input stack), and two underscores in it are no emphasis.
func heading(name string) string { return "`" + strings.ReplaceAll(cut(name, 200), "`", "") + "`" }

func cut(s string, n int) string { return s[:min(len(s), n)] }

func reason(checks []verdict.Check) string {
	for _, c := range checks {
		if c.Verdict != verdict.Proven && c.Waived == "" {
			return c.ID
		}
	}
	return "nothing was found"
}
