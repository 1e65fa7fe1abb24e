package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"edge-actions/internal/verdict"
)

// maxDescription is GitHub's limit of a status's description; Forgejo and Gitea
// have none and show about as much.
const maxDescription = 140

// Status is what is said about a commit under one name.
type Status struct {
	// Context is the name: the last status of a name counts.
	Context string
	// State is pending, success, error, failure or warning.
	State string
	// Description is cut at 140 characters.
	Description string
	// TargetURL leads to more; it may be empty.
	TargetURL string
}

var commitForm = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// SetStatus says something about a commit, by its whole id.
func (r *Repo) SetStatus(ctx context.Context, commit string, s Status) error {
	target, err := url.Parse(s.TargetURL)
	switch {
	case !commitForm.MatchString(commit):
		return verdict.Refuse(Config, "the id of a commit, 40 or 64 lower-case hex digits", fmt.Sprintf("%.80q", commit), "give the whole id")
	case !slices.Contains([]string{"pending", "success", "error", "failure", "warning"}, s.State):
		return verdict.Refuse(Config, "a state: pending, success, error, failure or warning", fmt.Sprintf("%.80q", s.State), "correct it")
	case strings.TrimSpace(s.Context) == "" || len(s.Context) > 255:
		return verdict.Refuse(Config, "a name for the status, of at most 255 bytes", fmt.Sprintf("%.80q", s.Context), "correct it")
	case err != nil || s.TargetURL != "" && (target.Scheme != "https" && target.Scheme != "http" || target.Host == "" || target.User != nil):
		return verdict.Refuse(Config, "a URL, https:// or http://, without a user", "something else", "correct the target's URL")
	}
	_, err = r.c.do(ctx, op{
		what: "a status of " + commit[:12] + " in " + r.String(), scope: writeRepository, method: http.MethodPost, path: r.path("statuses", commit),
		body: map[string]string{"context": s.Context, "state": s.State, "description": cutText(s.Description, maxDescription), "target_url": s.TargetURL},
		// A second one of the same words changes nothing: the last one counts.
		repeat: true,
	})
	return err
}

// cutText returns at most n characters, and says by the last one that there
// were more.
func cutText(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
