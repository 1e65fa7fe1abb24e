package forge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

// maxWait bounds a wait whose caller has set no deadline.
const maxWait = time.Hour

// Run is one run of a workflow.
type Run struct {
	ID, Number int64
	Workflow   string // the file's name
	Ref        string // as the forge says it: main, refs/heads/main
	Commit     string
	Event      string
	// Status is success, failure, cancelled or skipped for a run that has ended,
	// and any other word for one that has not.
	Status string
	URL    string
}

// Done reports whether the run has ended.
func (r Run) Done() bool {
	switch r.Status {
	case "success", "failure", "cancelled", "skipped":
		return true
	}
	return false
}

// wireRun has the fields of Forgejo's ActionRun (modules/structs/action.go) and
// of Gitea's ActionWorkflowRun (modules/structs/repo_actions.go).
type wireRun struct {
	ID     int64
	Event  string
	Status string

	// Forgejo
	Index      int64  `json:"index_in_repo"`
	WorkflowID string `json:"workflow_id"`
	PrettyRef  string `json:"prettyref"`
	CommitSHA  string `json:"commit_sha"`
	Trigger    string `json:"trigger_event"`
	RunHTMLURL string `json:"run_html_url"`

	// Gitea, and the names of GitHub
	Number     int64  `json:"run_number"`
	Path       string // file@ref
	HeadSHA    string `json:"head_sha"`
	Conclusion string
	HTMLURL    string `json:"html_url"`
}

func (w wireRun) run() Run {
	file, ref, _ := strings.Cut(w.Path, "@")
	r := Run{
		ID: w.ID, Number: or(w.Index, w.Number), Workflow: or(w.WorkflowID, file), Ref: or(w.PrettyRef, ref), Commit: or(w.CommitSHA, w.HeadSHA),
		Event: or(w.Trigger, w.Event), Status: w.Status, URL: or(w.HTMLURL, w.RunHTMLURL),
	}
	if w.Status == "completed" { // and without a conclusion it is not known how
		r.Status = or(w.Conclusion, "unknown")
	}
	return r
}

// GetRun reads a run.
func (r *Repo) GetRun(ctx context.Context, id int64) (Run, error) {
	var w wireRun
	what := "run " + strconv.FormatInt(id, 10)
	if _, err := r.get(ctx, what, readRepository, nil, &w, "actions", "runs", strconv.FormatInt(id, 10)); err != nil {
		return Run{}, err
	}
	if w.ID != id {
		return Run{}, verdict.CannotTell(Failed, what, fmt.Errorf("an answer about run %d", w.ID), "see whether the address is the forge's")
	}
	return w.run(), nil
}

// WaitRun looks at a run every poll until it ends or the context does. Only a
// success is no error: a failure is disproven, and a cancelled or skipped run
// shows nothing. A forge that is away for a while is waited for.
func (r *Repo) WaitRun(ctx context.Context, id int64, poll time.Duration) (Run, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	var last Run
	tick := time.NewTicker(max(poll, 10*time.Millisecond))
	defer tick.Stop()
	for {
		run, err := r.GetRun(ctx, id)
		switch {
		case err == nil && run.Done():
			return run, ended(run)
		case err == nil:
			last = run
		case ctx.Err() != nil:
			return last, unfinished(id, last, err)
		case !verdict.Has(err, Unreachable, TimedOut) && status(err) < 500:
			return last, err
		}
		select {
		case <-ctx.Done():
			return last, unfinished(id, last, err)
		case <-tick.C:
		}
	}
}

func ended(run Run) error {
	wanted := fmt.Sprintf("run %d to succeed", run.ID)
	switch run.Status {
	case "success":
		return nil
	case "failure":
		return verdict.Refuse(RunEnded, wanted, "failure", "look at it: "+quote(run.URL))
	}
	return verdict.CannotTell(RunEnded, wanted, errors.New(run.Status), "a run that was "+run.Status+" shows nothing; start it again: "+quote(run.URL))
}

func unfinished(id int64, last Run, err error) error {
	found := fmt.Errorf("its status is %s", quote(or(last.Status, "not known")))
	if err != nil {
		found = fmt.Errorf("%w; %w", found, err)
	}
	return verdict.CannotTell(TimedOut, fmt.Sprintf("run %d to end in time", id), found, "see whether a runner takes it; it goes on: "+quote(last.URL))
}
