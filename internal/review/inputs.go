package review

import (
	"fmt"
	"regexp"
	"strconv"

	"edge-actions/internal/action"
	"edge-actions/internal/forge/access"
)

// placeForm is a number, or a repository and a number.
var placeForm = regexp.MustCompile(`^(?:([^#]*)#)?([1-9][0-9]{0,8})$`)

// Read reads the inputs that say where something is shown; nil if nowhere. What
// is wrong with them is recorded in in. What is shown is still to be named.
func Read(in *action.Inputs, a *action.Action) *Review {
	on, status := in.Text("comment_on"), in.Bool("comment_status")
	// A workflow sets these for each of its events, and on most there is no pull
	// request: they may be there without a use.
	in.Text("comment_url")
	in.Text("comment_token_file")
	if on == "" && !status {
		return nil
	}
	r := &Review{a: a, commit: a.Getenv("GITHUB_SHA"), run: a.Getenv("GITHUB_RUN_ID")}
	own := a.Getenv("GITHUB_REPOSITORY")
	place, scopes := own, "write:repository"
	if on != "" {
		m := placeForm.FindStringSubmatch(on)
		if m == nil {
			in.Wrong("comment_on", "the number of a pull request or an issue, or owner/name#number", fmt.Sprintf("%.200q", on), "correct the input comment_on")
			return nil
		}
		if m[1] != "" {
			place = m[1]
		}
		r.issue, _ = strconv.Atoi(m[2]) // nine digits
		if scopes = "write:issue"; status {
			scopes = "write:issue and write:repository"
		}
	}
	client := access.Client(in, a, access.Names{URL: "comment_url", TokenFile: "comment_token_file", Scopes: scopes})
	if client == nil {
		return nil
	}
	if on != "" {
		r.place = access.Repo(in, client, "comment_on", place)
	}
	if status {
		r.source = access.Repo(in, client, "comment_status", own)
	}
	return r
}
