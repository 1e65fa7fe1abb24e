// Package forge asks a Forgejo, or the Gitea that it grew from, over its API:
// comments, commit statuses, files, branches, releases, runs of workflows, push
// mirrors. It refuses to take a 404 for "gone", a cancelled run for a good one
// and somebody else's run for its own; it never sends twice what could happen
// twice, and its token goes to one origin and is in no error and no log.
package forge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

// The ids of the refusals of this package.
const (
	// Config: an address, a name or a token that is none. Nothing was sent.
	Config = "forge-config"
	// Unreachable: no answer, or half of one.
	Unreachable = "forge-unreachable"
	// TimedOut: no answer, or no end of a run, within the deadline.
	TimedOut = "forge-timeout"
	// Denied: a 401 or a 403.
	Denied = "forge-auth"
	// Missing: a 404, which a forge gives for what is not there and for what
	// the token's user may not see.
	Missing = "forge-missing"
	// Conflicted: a 409, or a write by somebody else that came first.
	Conflicted = "forge-conflict"
	// Limit: too much, too long or too often (413, 422, 429).
	Limit = "forge-limit"
	// Failed: any other answer, and one that is not a forge's.
	Failed = "forge-failed"
	// RunEnded: a run that ended, and not well.
	RunEnded = "forge-run"
	// RunUnknown: a run was started, and which one it is can't be told.
	RunUnknown = "forge-run-unknown"
)

// Options say how patient a client is.
type Options struct {
	// Timeout is of one attempt, its answer included; 30 s if 0.
	Timeout time.Duration
	// Pause is the wait before the second attempt; it doubles from one to the
	// next. 1 s if 0.
	Pause time.Duration
	// Logf may be nil. It is told of retries, in words without secrets.
	Logf func(format string, args ...any)
}

// Client asks one forge as one user. It may be used from several goroutines.
type Client struct {
	base    *url.URL // without a slash at its end
	token   string
	timeout time.Duration
	pause   time.Duration
	logf    func(string, ...any)
	http    *http.Client
}

// Repo is one repository of a forge.
type Repo struct {
	c           *Client
	owner, name string
}

// validToken reports whether a header may hold it. Forgejo's tokens are 40 hex
// digits, and those of a job or of OAuth are longer. It is no regular expression
// because one that counts to a thousand takes a millisecond to compile.
func validToken(s string) bool {
	return len(s) >= 8 && len(s) <= 1000 && !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' })
}

// New prepares a client of the forge at base, such as https://forge.example.org
// or, on loopback only, http://127.0.0.1:3000.
func New(base, token string, o Options) (*Client, error) {
	u, err := CheckURL(base)
	if err != nil {
		return nil, err
	}
	if !validToken(token) {
		// Not even its length is shown.
		return nil, verdict.Refuse(Config, "an access token, one word", "something else", "make one in the forge (Settings, Applications) and put it into the file without anything else")
	}
	c := &Client{base: u, token: token, timeout: or(o.Timeout, 30*time.Second), pause: or(o.Pause, time.Second), logf: o.Logf}
	if c.logf == nil {
		c.logf = func(string, ...any) {}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSHandshakeTimeout, transport.ResponseHeaderTimeout = c.timeout, 0
	transport.MaxResponseHeaderBytes = 64 << 10
	c.http = &http.Client{Transport: transport, CheckRedirect: c.redirect}
	return c, nil
}

// CheckURL returns the address of a forge, or a refusal: https, or http where
// nobody can listen, and nothing in it that would be sent along.
func CheckURL(base string) (*url.URL, error) {
	refuse := func(found string) error {
		return verdict.Refuse(Config, "the address of a forge, https://, or http:// on loopback", found, "correct it; the token is given on its own")
	}
	u, err := url.Parse(strings.TrimRight(base, "/"))
	switch {
	case err != nil: // the error would show the address, with a password in it
		return nil, refuse("no URL")
	case u.User != nil:
		return nil, refuse("one with a user name or a password in it")
	case u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, refuse(quote(u.Redacted()))
	case u.Scheme == "http" && loopback(u.Hostname()), u.Scheme == "https":
		return u, nil
	}
	return nil, refuse(quote(u.Redacted()))
}

// loopback reports whether a host is this machine by its address. A name is
// not, localhost apart: what it leads to can change.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// nameForm is what Forgejo takes for users and for repositories.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// CheckName returns a refusal unless owner/name can be a repository.
func CheckName(owner, name string) error {
	for _, part := range []string{owner, name} {
		if !nameForm.MatchString(part) || strings.Trim(part, ".") == "" {
			return verdict.Refuse(Config, "a repository as owner/name", fmt.Sprintf("%.100q/%.100q", owner, name), "correct the name")
		}
	}
	return nil
}

// Repo names a repository. Nothing is asked.
func (c *Client) Repo(owner, name string) (*Repo, error) {
	if err := CheckName(owner, name); err != nil {
		return nil, err
	}
	return &Repo{c, owner, name}, nil
}

func (r *Repo) String() string { return r.owner + "/" + r.name }

// path is that of the repository in the API, with the rest, whose elements are
// escaped here.
func (r *Repo) path(elements ...string) string {
	return "/api/v1/repos/" + escape(append([]string{r.owner, r.name}, elements...)...)
}

func escape(elements ...string) string {
	out := make([]string, len(elements))
	for i, e := range elements {
		out[i] = url.PathEscape(e)
	}
	return strings.Join(out, "/")
}

// errPath is of a name that would lead elsewhere in the API.
var errPath = errors.New("not a path without empty and dotted elements")

// elements splits the path of a file or the name of a branch.
func elements(path string) ([]string, error) {
	list := strings.Split(path, "/")
	for _, e := range list {
		if e == "" || e == "." || e == ".." || strings.ContainsFunc(e, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, errPath
		}
	}
	return list, nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
