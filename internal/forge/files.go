package forge

import (
	"context"
	"encoding/base64"
	"net/http"

	"edge-actions/internal/verdict"
)

// Change is one file of a commit.
type Change struct {
	Path    string
	Content []byte
	// SHA is git's id of the content that is there, "" for a new file.
	SHA string
}

// PutFiles writes several files to a branch in one commit, and returns its id:
// all of them or none. Where one of them is not what its SHA says, the error
// holds a *Conflict.
func (r *Repo) PutFiles(ctx context.Context, branch string, changes []Change, message string) (commit string, err error) {
	if _, err := branchPath(branch); err != nil {
		return "", err
	}
	if len(changes) == 0 {
		return "", verdict.Refuse(Config, "at least one file", "none", "give what is to be written")
	}
	type file struct {
		Operation string `json:"operation"`
		Path      string `json:"path"`
		Content   string `json:"content"`
		SHA       string `json:"sha,omitempty"`
	}
	var list []file
	for _, c := range changes {
		if _, err := filePath(c.Path); err != nil {
			return "", err
		}
		f := file{"create", c.Path, base64.StdEncoding.EncodeToString(c.Content), c.SHA}
		if c.SHA != "" {
			f.Operation = "update"
		}
		list = append(list, f)
	}
	var done struct {
		Commit struct{ SHA string }
	}
	_, err = r.c.do(ctx, op{
		what: "a commit on branch " + quote(branch) + " of " + r.String(), scope: writeRepository, method: http.MethodPost,
		path: r.path("contents"), body: map[string]any{"branch": branch, "message": message, "files": list}, into: &done,
	})
	switch status(err) {
	case http.StatusConflict:
		return "", conflict(changes[0].Path, branch, err)
	case http.StatusUnprocessableEntity, http.StatusNotFound, http.StatusInternalServerError:
		// The words and the numbers differ from one forge to the next: the files
		// themselves say whether it was this.
		for _, c := range changes {
			now, readErr := r.GetFile(ctx, c.Path, branch)
			if readErr == nil && now.SHA != c.SHA || c.SHA != "" && verdict.Has(readErr, Missing) {
				return "", conflict(c.Path, branch, err)
			}
		}
	}
	return done.Commit.SHA, err
}
