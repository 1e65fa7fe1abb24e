package forge

import (
	"context"
	"fmt"
	"net/http"

	"edge-actions/internal/verdict"
)

// BranchExists reports whether there is such a branch. That there is none is
// only said by a forge that shows the repository.
func (r *Repo) BranchExists(ctx context.Context, name string) (bool, error) {
	path, err := branchPath(name)
	if err != nil {
		return false, err
	}
	var b struct{ Name string }
	_, err = r.get(ctx, "branch "+quote(name), readRepository, nil, &b, append([]string{"branches"}, path...)...)
	switch {
	case err == nil && b.Name != name:
		return false, verdict.CannotTell(Failed, "the branch "+quote(name), fmt.Errorf("an answer about %s", quote(b.Name)), "see whether the address is the forge's")
	case err == nil:
		return true, nil
	case status(err) != http.StatusNotFound:
		return false, err
	}
	if _, err := r.get(ctx, "the repository", readRepository, nil, nil); err != nil {
		return false, err
	}
	return false, nil
}

// CreateBranch makes a branch at what from names: a branch, a tag or a commit.
// One that is there already is a conflict, wherever it is.
func (r *Repo) CreateBranch(ctx context.Context, name, from string) error {
	for _, n := range []string{name, from} {
		if _, err := branchPath(n); err != nil {
			return err
		}
	}
	_, err := r.c.do(ctx, op{
		what: "the new branch " + quote(name) + " of " + r.String(), scope: writeRepository, method: http.MethodPost, path: r.path("branches"),
		body: map[string]string{"new_branch_name": name, "old_ref_name": from},
	})
	return err
}

func branchPath(name string) ([]string, error) {
	path, err := elements(name)
	if err != nil {
		return nil, verdict.Refuse(Config, "the name of a branch", fmt.Sprintf("%.100q, %v", name, err), "correct the name")
	}
	return path, nil
}
