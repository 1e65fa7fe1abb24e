// Package access reads the inputs that say which forge is asked and as whom. It
// refuses an address to which a token would travel in clear, and a token that
// others on the runner can read.
package access

import (
	"fmt"
	"os"
	"strings"

	"edge-actions/internal/action"
	"edge-actions/internal/forge"
	"edge-actions/internal/verdict"
)

// Names are the inputs of an action that say so.
type Names struct {
	// URL is the input with the forge's address; an empty one is the forge that
	// the runner belongs to.
	URL string
	// TokenFile is the input with a file on the runner.
	TokenFile string
	// Scopes are what its token needs, for the message about a missing one.
	Scopes string
}

// Client prepares a client, and masks its token. It is nil if something is
// wrong, which is then recorded in in.
func Client(in *action.Inputs, a *action.Action, n Names) *forge.Client {
	url, file := in.Text(n.URL), in.KeyFile(n.TokenFile)
	if url == "" {
		url = a.Getenv("GITHUB_SERVER_URL")
	}
	if in.Text(n.TokenFile) == "" {
		in.Wrong(n.TokenFile, "a file with a token of the forge, of the scope "+n.Scopes, "nothing", "make one in the forge (Settings, Applications) and put it into a file of mode 0600 on the runner")
	}
	if _, err := forge.CheckURL(url); err != nil {
		for _, c := range verdict.ChecksOf(err) {
			in.Wrong(n.URL, c.Wanted, c.Got, "correct the input "+n.URL)
		}
		return nil
	}
	if file == "" {
		return nil
	}
	token, err := os.ReadFile(file)
	if err != nil {
		in.Wrong(n.TokenFile, "a file that can be read", err.Error(), "correct the input "+n.TokenFile)
		return nil
	}
	word := strings.TrimSpace(string(token))
	a.Mask(word)
	client, err := forge.New(url, word, forge.Options{Logf: a.Logf})
	if err != nil {
		c := verdict.ChecksOf(err)[0]
		in.Wrong(n.TokenFile, c.Wanted, c.Got, c.Hint)
	}
	return client
}

// Repo names a repository of the forge, which the input says as owner/name. It
// is nil if that is no repository, which is then recorded in in.
func Repo(in *action.Inputs, client *forge.Client, input, repository string) *forge.Repo {
	owner, name, _ := strings.Cut(repository, "/")
	r, err := client.Repo(owner, name)
	if err != nil {
		in.Wrong(input, "a repository as owner/name", fmt.Sprintf("%.200q", repository), "correct the input "+input)
		return nil
	}
	return r
}
