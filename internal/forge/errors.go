package forge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"edge-actions/internal/verdict"
)

// Scopes of a token, by Forgejo's names.
const (
	readRepository  = "read:repository"
	writeRepository = "write:repository"
	writeIssue      = "write:issue"
	readUser        = "read:user"
)

// failure is why something could not be asked or done.
type failure struct {
	op
	tries   int
	answer  *answer
	cause   error // why there is no answer
	message string
	timeout bool
	hidden  func(string) string
}

func (c *Client) failed(o op, a *answer, err error, tries int) *failure {
	f := &failure{op: o, tries: tries, answer: a, hidden: c.hide}
	if err != nil {
		f.timeout = errors.Is(err, context.DeadlineExceeded)
		// net/http's own error shows the whole URL, and after a redirect it is
		// the one that the answer made up.
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		f.cause = err
		return f
	}
	var said struct{ Message string }
	if json.Unmarshal(a.body, &said) == nil {
		f.message = said.Message
	}
	return f
}

// hide takes the token out of a text. It is put into none; but an answer can
// say back what it was sent.
func (c *Client) hide(s string) string { return strings.ReplaceAll(s, c.token, "[token]") }

func (f *failure) short() string {
	if f.cause != nil {
		return quote(f.hidden(f.cause.Error()))
	}
	return fmt.Sprintf("%d %s", f.answer.status, http.StatusText(f.answer.status))
}

func (f *failure) Error() string {
	s := f.what + ": " + f.short()
	if f.message != "" {
		s += ": " + quote(f.hidden(f.message))
	}
	if f.tries > 1 {
		s += fmt.Sprintf(", after %d attempts", f.tries)
	}
	return s
}

// Unwrap has no text of net/http: the cause can hold a URL.
func (f *failure) Unwrap() error {
	if f.timeout {
		return context.DeadlineExceeded
	}
	if errors.Is(f.cause, errMoved) {
		return errMoved
	}
	return nil
}

// refusal is the failure as a check. It is disproven only where the forge said
// what is: what can't be asked is not known.
func (f *failure) refusal() error {
	wanted := "an answer of the forge to: " + f.what
	status := f.answer.status
	switch {
	case f.timeout:
		return verdict.CannotTell(TimedOut, wanted, f, f.doubt("see whether the forge is slow or the way to it is cut"))
	case errors.Is(f.cause, errMoved):
		return verdict.CannotTell(Failed, wanted, f, "correct the forge's address or the repository's name; the token is sent to no other")
	case errors.Is(f.cause, errStrange):
		return verdict.CannotTell(Failed, wanted, f, f.doubt("see whether the address is the forge's, and not that of something before it"))
	case f.cause != nil:
		return verdict.CannotTell(Unreachable, wanted, f, f.doubt("see whether this machine reaches the forge: DNS, a proxy, its certificate, the address"))
	case status == http.StatusUnauthorized:
		return verdict.CannotTell(Denied, "a token that the forge takes", f, "make a new one with the scope "+f.scope+" and put it into the file")
	case status == http.StatusForbidden:
		return verdict.CannotTell(Denied, "a token that may do this: "+f.what, f, "give the token the scope "+f.scope+", and its user the right in the repository")
	case status == http.StatusNotFound:
		// A forge says so too of what the user may not see.
		return verdict.CannotTell(Missing, "that it exists and may be seen: "+f.what, f, "missing or not allowed: correct the name; the token needs the scope "+f.scope+" and its user access to the repository")
	case status == http.StatusTooManyRequests:
		return verdict.CannotTell(Limit, wanted, f, "wait, and ask for less at once"+f.after())
	case status == http.StatusRequestEntityTooLarge:
		return f.refuse(Limit, "less than the forge, or a proxy before it, takes", "send less, or raise the quota or the proxy's limit")
	case status == http.StatusConflict:
		return f.refuse(Conflicted, "nothing in the way of: "+f.what, "something else was there first: look at it, and run it again")
	case status == http.StatusLocked:
		return f.refuse(Failed, "a repository that can be written to", "it is archived: take it out of the archive")
	case status == http.StatusUnprocessableEntity && strings.Contains(strings.ToLower(f.message), "too long"):
		return f.refuse(Limit, "no more than the forge takes", "send less")
	case status >= 500:
		return verdict.CannotTell(Failed, wanted, f, f.doubt("run it again; if it stays, look into the forge's log"))
	}
	return f.refuse(Failed, wanted, "see what the forge says of it")
}

func (f *failure) refuse(id, wanted, hint string) error {
	r := verdict.Refuse(id, wanted, f.Error(), hint)
	r.Err = f
	return r
}

// doubt adds to a hint that a change may have been made.
func (f *failure) doubt(hint string) string {
	if f.maybe() {
		return hint + "; whether it was done is not known"
	}
	return hint
}

func (f *failure) after() string {
	if d := retryAfter(f.answer); d > 0 {
		return fmt.Sprintf("; it asks for %s", d)
	}
	return ""
}

// maybe reports whether the change may have been made.
func (f *failure) maybe() bool {
	return f.change() && f.answer.connected && !errors.Is(f.cause, errMoved) && (f.cause != nil || f.answer.status >= 500)
}

// Ambiguous reports whether the change that err is of may have been made all
// the same: it was sent, and there was no answer, half of one, or a 5xx.
func Ambiguous(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.maybe()
}

// status returns the HTTP status that err carries, or 0.
func status(err error) int {
	var f *failure
	if errors.As(err, &f) && f.cause == nil {
		return f.answer.status
	}
	return 0
}

// quote shows foreign text, and not all of it.
func quote(s string) string {
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
