package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"edge-actions/internal/verdict"
)

var workflowForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}\.ya?ml$`)

// Dispatch starts a workflow by its file's name on a branch or a tag ("main",
// "refs/tags/v1"), and returns the id of its run. Forgejo says which run it is.
// Gitea does not: there the run is the one that was not in the list before, and
// if there are several, the error is forge-run-unknown and the workflow runs all
// the same.
func (r *Repo) Dispatch(ctx context.Context, workflow, ref string, inputs map[string]string) (int64, error) {
	if !workflowForm.MatchString(workflow) || strings.Trim(workflow, ".") == "" {
		return 0, verdict.Refuse(Config, "the name of a workflow's file, such as deploy.yml", fmt.Sprintf("%.100q", workflow), "correct it; it has no directory")
	}
	if _, err := branchPath(ref); err != nil {
		return 0, err
	}
	// Before, since nobody knows afterwards what was there.
	before, beforeErr := r.Dispatched(ctx, workflow, ref)
	if beforeErr != nil && !verdict.Has(beforeErr, Missing) {
		return 0, beforeErr
	}
	if inputs == nil {
		inputs = map[string]string{}
	}
	var run struct{ ID int64 }
	a, err := r.c.do(ctx, op{
		what: "the start of " + workflow + " in " + r.String(), scope: writeRepository, method: http.MethodPost,
		path: r.path("actions", "workflows", workflow, "dispatches"),
		body: map[string]any{"ref": ref, "inputs": inputs, "return_run_info": true}, into: &run,
	})
	if err != nil {
		return 0, err
	}
	if a.status == http.StatusCreated && run.ID > 0 {
		return run.ID, nil
	}
	return r.fresh(ctx, workflow, ref, before, beforeErr)
}

// fresh finds the run that was not there before. Gitea makes it before it
// answers, so that it is in the list; whoever else started one at that moment
// has his there too.
func (r *Repo) fresh(ctx context.Context, workflow, ref string, before []Run, err error) (int64, error) {
	unknown := func(found error) (int64, error) {
		return 0, verdict.CannotTell(RunUnknown, "the run of "+workflow+" on "+quote(ref)+" that was started just now", found, "it runs: look at the runs of "+r.String()+" before it is started again")
	}
	if err != nil {
		return unknown(err)
	}
	after, err := r.Dispatched(ctx, workflow, ref)
	if err != nil {
		return unknown(err)
	}
	var newest int64
	for _, run := range before {
		newest = max(newest, run.ID)
	}
	var fresh []int64
	for _, run := range after {
		if run.ID > newest {
			fresh = append(fresh, run.ID)
		}
	}
	if len(fresh) != 1 {
		return unknown(fmt.Errorf("%d new ones %v", len(fresh), fresh))
	}
	return fresh[0], nil
}

// Dispatched returns the last runs of a workflow that were started by hand on a
// branch or a tag, at most 50. A forge that does not list runs says 404.
func (r *Repo) Dispatched(ctx context.Context, workflow, ref string) ([]Run, error) {
	var list struct {
		Runs []wireRun `json:"workflow_runs"`
	}
	// Each forge takes of these what it knows; the answer is gone through again.
	query := url.Values{"event": {"workflow_dispatch"}, "workflow_id": {workflow}, "limit": {"50"}}
	if _, err := r.get(ctx, "the runs", readRepository, query, &list, "actions", "runs"); err != nil {
		return nil, err
	}
	var out []Run
	for _, w := range list.Runs {
		run := w.run()
		if run.ID <= 0 {
			return nil, verdict.CannotTell(Failed, "runs with an id", errors.New("one without"), "see whether the address is the forge's")
		}
		if run.Workflow == workflow && run.Event == "workflow_dispatch" && sameRef(run.Ref, ref) {
			out = append(out, run)
		}
	}
	return out, nil
}

// sameRef compares a branch or a tag in the forms that forges use.
func sameRef(a, b string) bool {
	return short(a) == short(b)
}

func short(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
}
