package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"edge-actions/internal/verdict"
)

// maxComment is what is sent as one comment, in bytes. Forgejo and Gitea have
// no limit of their own (the column is a LONGTEXT), but a proxy before them has
// one (nginx: 1 MiB a request), and GitHub refuses more than 65,536 characters.
const maxComment = 60 << 10

// perPage is how many comments are asked for at once. Forgejo and Gitea give
// all of them, whatever is asked.
const perPage = 50

// Note is one comment on an issue or a pull request that is kept up to date.
type Note struct {
	// Marker finds the comment again. It stands in it, hidden.
	Marker string
	// Author is the login of the token's user; asked for if empty, which needs
	// the scope read:user. A comment of somebody else is never taken for ours,
	// whatever it says: whoever wrote it can change what we write into it.
	Author string
	// Head and Tail are always there. Blocks are shown as far as they fit, whole
	// or not at all.
	Head   string
	Blocks []string
	Tail   string
}

// Comment is a comment as it stands on the forge.
type Comment struct {
	ID      int64
	URL     string
	Created bool // it is new
	Shown   int  // of the blocks
}

var markerForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$`)

func hidden(marker string) string { return "<!-- edge-actions: " + marker + " -->" }

// Text is the comment's text, and how many of the blocks are in it.
func (n Note) Text() (string, int, error) {
	if !markerForm.MatchString(n.Marker) || strings.Contains(n.Marker, "--") {
		return "", 0, verdict.Refuse(Config, "a marker of letters, digits and . _ : / -, without two hyphens in a row", fmt.Sprintf("%.100q", n.Marker), "correct it")
	}
	if all := n.join(n.Blocks, ""); len(all) <= maxComment {
		return all, len(n.Blocks), nil
	}
	left := maxComment - len(n.join(nil, n.more(len(n.Blocks))))
	if left < 0 {
		return "", 0, verdict.Refuse(Limit, fmt.Sprintf("a comment of at most %d bytes", maxComment), "more before its first block", "shorten what stands above and below the blocks")
	}
	shown := 0
	for _, b := range n.Blocks {
		if left -= len(b) + len(gap); left < 0 {
			break
		}
		shown++
	}
	return n.join(n.Blocks[:shown], n.more(shown)), shown, nil
}

// gap makes a paragraph of each part.
const gap = "\n\n"

func (n Note) more(shown int) string {
	return fmt.Sprintf("_%d of %d are shown; the rest is in the log._", shown, len(n.Blocks))
}

func (n Note) join(blocks []string, more string) string {
	parts := []string{hidden(n.Marker)}
	for _, part := range append(append([]string{n.Head}, blocks...), more, n.Tail) {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, gap)
}

// comment is one as the forge has it.
type comment struct {
	ID      int64
	HTMLURL string `json:"html_url"`
	Body    string
	User    struct{ Login string }
}

// PutNote makes the comment on an issue or a pull request, or brings the one
// with the marker up to date: the oldest, should there be several.
func (r *Repo) PutNote(ctx context.Context, issue int, n Note) (Comment, error) {
	text, shown, err := n.Text()
	if err != nil {
		return Comment{}, err
	}
	old, err := r.findNote(ctx, issue, n)
	if err != nil {
		return Comment{}, err
	}
	what := fmt.Sprintf("the comment on #%d of %s", issue, r)
	var now comment
	o := op{what: what, scope: writeIssue, body: map[string]string{"body": text}, into: &now}
	if old == nil {
		o.method, o.path = http.MethodPost, r.path("issues", strconv.Itoa(issue), "comments")
	} else {
		o.method, o.path, o.repeat = http.MethodPatch, r.path("issues", "comments", strconv.FormatInt(old.ID, 10)), true
		if old.Body == text {
			return Comment{ID: old.ID, URL: old.HTMLURL, Shown: shown}, nil
		}
	}
	if _, err := r.c.do(ctx, o); err != nil {
		return Comment{}, err
	}
	return Comment{ID: now.ID, URL: now.HTMLURL, Created: old == nil, Shown: shown}, nil
}

// findNote returns the oldest comment of the user's that begins with the
// marker, or nil.
func (r *Repo) findNote(ctx context.Context, issue int, n Note) (*comment, error) {
	var found []comment
	seen := map[int64]bool{}
	for page := 1; ; page++ {
		var list []comment
		query := url.Values{"limit": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(page)}}
		if _, err := r.get(ctx, fmt.Sprintf("the comments on #%d", issue), writeIssue, query, &list, "issues", strconv.Itoa(issue), "comments"); err != nil {
			return nil, err
		}
		fresh := 0
		for _, c := range list {
			if seen[c.ID] {
				continue
			}
			seen[c.ID] = true
			fresh++
			if strings.HasPrefix(c.Body, hidden(n.Marker)) {
				found = append(found, c)
			}
		}
		// More than a page means that all of them are given, and an answer
		// without anything new that pages are not known.
		if len(list) != perPage || fresh == 0 {
			break
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	author := n.Author
	if author == "" {
		var user struct{ Login string }
		if _, err := r.c.do(ctx, op{what: "the token's user", scope: readUser, method: http.MethodGet, path: "/api/v1/user", into: &user}); err != nil {
			return nil, err
		}
		author = user.Login
	}
	var oldest *comment
	for i, c := range found {
		if strings.EqualFold(c.User.Login, author) && (oldest == nil || c.ID < oldest.ID) {
			oldest = &found[i]
		}
	}
	return oldest, nil
}
