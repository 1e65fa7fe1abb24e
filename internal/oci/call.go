package oci

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"time"

	"edge-actions/internal/verdict"
)

const (
	maxTries = 6
	// maxPause is the longest wait between two tries. If the server asks for
	// more, there is no further try.
	maxPause = 30 * time.Second
	pageSize = 100
	maxPages = 1000
)

// op is one operation of the API, for its messages.
type op struct {
	name string // as the API calls it
	id   string // what it is of
	// need is the permission in the words of a policy, a verb and a type, as in
	// https://docs.oracle.com/iaas/Content/Identity/Reference/corepolicyreference.htm
	need string
	// again says that the operation may be tried more than once, change that it
	// leaves something behind.
	again, change bool
}

// do runs one operation. f is called once an attempt, with a context for the
// SDK that carries the attempt.
func (c *Client) do(ctx context.Context, o op, f func(context.Context) error) error {
	if !validID(o.id) {
		return verdict.Refuse(Refused, o.name+" of an OCID", quote(o.id), "see where that id comes from")
	}
	resigned := false
	for try := 1; ; try++ {
		a, err := c.once(ctx, f)
		if err == nil {
			return nil
		}
		if a.status == http.StatusUnauthorized && a.skewed() && !resigned {
			// The clock has heard the server's time by now. A 401 is a clear no, so
			// this repeats nothing, whatever the operation.
			resigned = true
			try--
			continue
		}
		e := c.failed(o, a, err, try)
		wait, ok := c.wait(a, e, try)
		if !ok || !o.again || ctx.Err() != nil {
			return e.refusal()
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return e.refusal()
		}
		c.logf("%s: %s, attempt %d of %d: again in %s", o.name, e.short(), try, maxTries, wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return e.refusal()
		case <-time.After(wait):
		}
	}
}

func (c *Client) once(ctx context.Context, f func(context.Context) error) (*attempt, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	a := &attempt{ctx: limited}
	if err := ctx.Err(); err != nil {
		return a, context.Cause(ctx)
	}
	return a, f(a.context())
}

// wait says whether another attempt can help, and after what time.
func (c *Client) wait(a *attempt, e *failure, try int) (time.Duration, bool) {
	switch {
	case try >= maxTries:
		return 0, false
	case e.broken(), a.status == http.StatusTooManyRequests, a.status >= 500:
	case a.status == http.StatusConflict && e.code == "IncorrectState":
	default:
		return 0, false
	}
	wait := min(c.pause<<(try-1), maxPause)
	wait = wait/2 + rand.N(wait/2+1)
	if after := a.retryAfter(); after > wait {
		// Not before it asked for, and not all at the same time after it.
		wait = after + rand.N(after/4+1)
		return wait, after <= maxPause
	}
	return wait, true
}

// pages follows a list to its end. convert refuses an item without an id.
func pages[In, Out any](ctx context.Context, c *Client, o op, get func(ctx context.Context, page *string) (items []In, next *string, err error), convert func(In) (Out, error)) ([]Out, error) {
	var out []Out
	var page *string
	seen := map[string]bool{}
	for {
		var items []Out
		var next *string
		err := c.do(ctx, o, func(ctx context.Context) error {
			raw, token, err := get(ctx, page)
			if err != nil {
				return err
			}
			items, next = nil, token
			for _, r := range raw {
				item, err := convert(r)
				if err != nil {
					return err
				}
				items = append(items, item)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, items...)
		if next == nil || *next == "" {
			return out, nil
		}
		if seen[*next] || len(seen) >= maxPages {
			return nil, verdict.CannotTell(ServerError, o.name+" of "+o.id+" to the end", fmt.Errorf("page %d leads to %s again", len(seen)+1, quote(*next)), "run it again")
		}
		seen[*next] = true
		page = next
	}
}

// idForm keeps an id that comes from a file or an answer from becoming another
// path.
var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// validID is apart from it: an expression that counts to 255 takes a millisecond
// to compile, in each start of a program.
func validID(s string) bool { return len(s) <= 255 && idForm.MatchString(s) }

var errNoID = errors.New("an object without an id")

// same returns an error unless the answer is of what was asked for.
func same(asked, got string) error {
	if asked != got {
		return fmt.Errorf("the answer is of %s", quote(got))
	}
	return nil
}

// or gives what a pointer points to, or the zero value.
func or[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
