package forge

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"edge-actions/internal/verdict"
)

// File is a file of a repository at some moment.
type File struct {
	Content []byte
	// SHA is git's id of the content, to be given back with a change.
	SHA string
}

// Written is a change that was made.
type Written struct {
	SHA    string // of the content
	Commit string
}

// Conflict is the cause of a refusal named forge-conflict: the file is not what
// it was when it was read. Forgejo says 409 to it, and 422 where a new file is
// there already; Gitea says 422 to both.
type Conflict struct{ Path, Branch string }

func (c *Conflict) Error() string {
	return fmt.Sprintf("%s on branch %s was changed by somebody else", quote(c.Path), quote(c.Branch))
}

// GetFile reads a file at a branch, a tag or a commit. A 404 is forge-missing:
// it is not there, or it may not be seen.
func (r *Repo) GetFile(ctx context.Context, path, ref string) (File, error) {
	at, err := filePath(path)
	if err != nil {
		return File{}, err
	}
	what := quote(path) + " at " + quote(ref)
	var f struct {
		Type, Encoding, SHA string
		// A null is what is said of a file that is too large to be shown.
		Content *string
	}
	if _, err := r.get(ctx, what, readRepository, url.Values{"ref": {ref}}, &f, append([]string{"contents"}, at...)...); err != nil {
		return File{}, err
	}
	refuse := func(found string) (File, error) {
		return File{}, verdict.CannotTell(Failed, "a file: "+what, errors.New(found), "correct the path; a file of more than a few MiB is not for the API")
	}
	if f.Type != "file" || f.SHA == "" {
		return refuse("an entry of type " + quote(f.Type))
	}
	if f.Content == nil || f.Encoding != "base64" {
		return refuse("no content")
	}
	data, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(*f.Content, "\n", ""))
	if err != nil {
		return refuse("content that is not base64")
	}
	return File{Content: data, SHA: f.SHA}, nil
}

// PutFile writes a file to a branch: a new one if sha is empty, and else in the
// place of the content with that id. It is one commit. Where the file is not
// what sha says, nothing is written and the error holds a *Conflict.
func (r *Repo) PutFile(ctx context.Context, path, branch string, content []byte, sha, message string) (Written, error) {
	at, err := filePath(path)
	if err != nil {
		return Written{}, err
	}
	if _, err := branchPath(branch); err != nil {
		return Written{}, err
	}
	body := map[string]string{"content": base64.StdEncoding.EncodeToString(content), "branch": branch, "message": message}
	method := http.MethodPost
	if sha != "" {
		method, body["sha"] = http.MethodPut, sha
	}
	var done struct {
		Content, Commit struct{ SHA string }
	}
	_, err = r.c.do(ctx, op{
		what: quote(path) + " on branch " + quote(branch) + " of " + r.String(), scope: writeRepository, method: method,
		path: r.path(append([]string{"contents"}, at...)...), body: body, into: &done,
	})
	switch status(err) {
	case http.StatusConflict:
		return Written{}, conflict(path, branch, err)
	case http.StatusUnprocessableEntity:
		// The words differ from one forge to the next: the file itself says
		// whether it was this.
		if now, readErr := r.GetFile(ctx, path, branch); readErr == nil && now.SHA != sha || sha != "" && verdict.Has(readErr, Missing) {
			return Written{}, conflict(path, branch, err)
		}
	}
	return Written{SHA: done.Content.SHA, Commit: done.Commit.SHA}, err
}

func conflict(path, branch string, err error) error {
	c := &Conflict{path, branch}
	r := verdict.Refuse(Conflicted, "the file as it was read", c.Error()+" ("+err.Error()+")", "read it again and make the change anew")
	r.Err = c
	return r
}

func filePath(path string) ([]string, error) {
	at, err := elements(path)
	if err != nil {
		return nil, verdict.Refuse(Config, "the path of a file in the repository", fmt.Sprintf("%.200q, %v", path, err), "correct the path")
	}
	return at, nil
}
