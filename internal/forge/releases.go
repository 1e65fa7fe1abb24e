package forge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"edge-actions/internal/verdict"
)

// assetTimeout is of one attempt to send or to fetch an asset.
const assetTimeout = 10 * time.Minute

// Release is a release as it stands on the forge.
type Release struct {
	ID    int64
	Tag   string
	URL   string // its page
	Draft bool
}

// Asset is a file of a release.
type Asset struct {
	Name string
	Size int64
}

type wireRelease struct {
	ID      int64
	TagName string `json:"tag_name"`
	HTMLURL string `json:"html_url"`
	Draft   bool
}

// assetForm is what can stand in an address as it is.
var assetForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// TagCommit returns the commit that a tag stands for.
func (r *Repo) TagCommit(ctx context.Context, tag string) (string, error) {
	path, err := branchPath(tag)
	if err != nil {
		return "", err
	}
	var t struct {
		Name   string
		Commit struct{ SHA string }
	}
	what := "tag " + quote(tag)
	if _, err := r.get(ctx, what, readRepository, nil, &t, append([]string{"tags"}, path...)...); err != nil {
		return "", err
	}
	if t.Name != tag || t.Commit.SHA == "" {
		return "", verdict.CannotTell(Failed, what, fmt.Errorf("an answer about %s", quote(t.Name)), "see whether the address is the forge's")
	}
	return t.Commit.SHA, nil
}

// GetRelease reads the release of a tag. Without one it is forge-missing.
func (r *Repo) GetRelease(ctx context.Context, tag string) (Release, error) {
	path, err := branchPath(tag)
	if err != nil {
		return Release{}, err
	}
	var w wireRelease
	_, err = r.get(ctx, "the release of tag "+quote(tag), readRepository, nil, &w, append([]string{"releases", "tags"}, path...)...)
	if err != nil {
		return Release{}, err
	}
	return w.release(tag)
}

func (w wireRelease) release(tag string) (Release, error) {
	if w.TagName != tag || w.ID <= 0 {
		return Release{}, verdict.CannotTell(Failed, "the release of tag "+quote(tag), fmt.Errorf("an answer about %s", quote(w.TagName)), "see whether the address is the forge's")
	}
	return Release{ID: w.ID, Tag: w.TagName, URL: w.HTMLURL, Draft: w.Draft}, nil
}

// EnsureRelease returns the release of a tag, and makes it if there is none. The
// tag has to be there: a forge would make one of the default branch.
func (r *Repo) EnsureRelease(ctx context.Context, tag, title, notes string) (Release, error) {
	if _, err := r.TagCommit(ctx, tag); err != nil {
		return Release{}, err
	}
	rel, err := r.GetRelease(ctx, tag)
	if err == nil || !verdict.Has(err, Missing) {
		return rel, err
	}
	var w wireRelease
	_, err = r.c.do(ctx, op{
		what: "the new release " + quote(tag) + " of " + r.String(), scope: writeRepository, method: http.MethodPost, path: r.path("releases"),
		body: map[string]string{"tag_name": tag, "name": title, "body": notes}, into: &w,
	})
	if err == nil {
		return w.release(tag)
	}
	// It may have been made, by this or by somebody else at the same moment.
	if Ambiguous(err) || verdict.Has(err, Conflicted) {
		if rel, readErr := r.GetRelease(ctx, tag); readErr == nil {
			return rel, nil
		}
	}
	return Release{}, err
}

// Assets lists the files of a release.
func (r *Repo) Assets(ctx context.Context, rel Release) ([]Asset, error) {
	var list []Asset
	// A forge gives all of them at once, whatever is asked.
	_, err := r.get(ctx, "the assets of release "+quote(rel.Tag), readRepository, nil, &list, "releases", strconv.FormatInt(rel.ID, 10), "assets")
	return list, err
}

// PutAsset sees to it that a release has a file of that name with those bytes,
// and says whether it was added. A file of other bytes is a conflict: what was
// published is not replaced.
func (r *Repo) PutAsset(ctx context.Context, rel Release, name string, data []byte) (added bool, err error) {
	if !assetForm.MatchString(name) {
		return false, verdict.Refuse(Config, "the name of an asset, of letters, digits and . _ -", fmt.Sprintf("%.100q", name), "correct it")
	}
	if there, err := r.sameAsset(ctx, rel, name, data); there || err != nil {
		return false, err
	}
	body, contentType, err := form(name, data)
	if err != nil {
		return false, err
	}
	_, err = r.c.do(ctx, op{
		what: "the new asset " + name + " of release " + quote(rel.Tag) + " of " + r.String(), scope: writeRepository, method: http.MethodPost,
		path:  r.path("releases", strconv.FormatInt(rel.ID, 10), "assets"),
		query: url.Values{"name": {name}}, raw: body, contentType: contentType, timeout: assetTimeout,
	})
	if err == nil {
		return true, nil
	}
	if Ambiguous(err) {
		// Sent again, it could be there twice.
		if there, readErr := r.sameAsset(ctx, rel, name, data); there && readErr == nil {
			return true, nil
		}
	}
	return false, err
}

// form is a file in the only shape that all versions of a forge take.
func form(name string, data []byte) (body []byte, contentType string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("attachment", name)
	if err != nil {
		return nil, "", err
	}
	if _, err := part.Write(data); err != nil {
		return nil, "", err
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return b.Bytes(), w.FormDataContentType(), nil
}

// sameAsset reports whether the file is there, once and with those bytes.
func (r *Repo) sameAsset(ctx context.Context, rel Release, name string, data []byte) (bool, error) {
	list, err := r.Assets(ctx, rel)
	if err != nil {
		return false, err
	}
	refuse := func(found string) (bool, error) {
		return false, verdict.Refuse(Conflicted, fmt.Sprintf("asset %s of release %s with the bytes that it is to have", name, quote(rel.Tag)), found, "what was published is not replaced: make another version; if it is the rest of a failed attempt, delete it in the forge")
	}
	count := 0
	for _, a := range list {
		if a.Name != name {
			continue
		}
		if count++; count > 1 {
			return refuse("two of that name")
		}
		if a.Size != int64(len(data)) {
			return refuse(fmt.Sprintf("%d bytes and not %d", a.Size, len(data)))
		}
	}
	if count == 0 {
		return false, nil
	}
	got, err := r.getAsset(ctx, rel, name)
	switch {
	case err != nil:
		return false, err
	case !bytes.Equal(got, data):
		return refuse("other bytes")
	}
	return true, nil
}

// getAsset reads a file as everybody gets it.
func (r *Repo) getAsset(ctx context.Context, rel Release, name string) ([]byte, error) {
	path, err := branchPath(rel.Tag)
	if err != nil {
		return nil, err
	}
	var data []byte
	_, err = r.c.do(ctx, op{
		what: "asset " + name + " of release " + quote(rel.Tag) + " of " + r.String(), scope: readRepository, method: http.MethodGet,
		path: "/" + escape(append(append([]string{r.owner, r.name, "releases", "download"}, path...), name)...), into: &data, timeout: assetTimeout,
	})
	if errors.Is(err, errMoved) {
		return nil, verdict.CannotTell(Failed, "asset "+name+" from the forge itself", err, "let the forge serve its attachments (SERVE_DIRECT = false): the token is sent to no other")
	}
	return data, err
}
