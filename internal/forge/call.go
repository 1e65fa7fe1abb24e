package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	maxTries = 4
	// maxPause bounds the wait between two attempts, and how long a forge may
	// ask for.
	maxPause = 30 * time.Second
	// maxBody bounds an answer. The largest that are wanted are the list of an
	// issue's comments, which Forgejo gives in one piece, and a release's asset.
	maxBody = 32 << 20
)

// op is one thing that is asked of a forge.
type op struct {
	what   string // for people: "the push mirrors of owner/name"
	scope  string // what the token must have for it
	method string
	path   string
	query  url.Values
	body   any // to be JSON; nil for none
	// raw is a body as it is, of contentType, in the place of body.
	raw         []byte
	contentType string
	// repeat says that a change may be sent again after a lost answer: it comes
	// to the same. A read always may.
	repeat  bool
	timeout time.Duration // of one attempt; the client's if 0
	// into is where the answer goes, decoded, or as it is into a *[]byte; nil
	// throws it away.
	into any
}

func (o op) change() bool { return o.method != http.MethodGet }

// answer is what came back.
type answer struct {
	status    int // 0 without one
	header    http.Header
	body      []byte
	connected bool // the request may have left
}

// at is the forge's clock when it answered.
func (a *answer) at() (time.Time, bool) {
	t, err := http.ParseTime(a.header.Get("Date"))
	return t, err == nil
}

// do asks until there is an answer, or another attempt would not help or could
// do the thing twice.
func (c *Client) do(ctx context.Context, o op) (*answer, error) {
	body := o.raw
	if o.body != nil {
		var err error
		if body, err = json.Marshal(o.body); err != nil {
			return nil, fmt.Errorf("writing %s: %w", o.what, err)
		}
	}
	for try := 1; ; try++ {
		a, err := c.once(ctx, o, body)
		if err == nil && a.status/100 == 2 {
			if err = decode(a, o.into); err == nil {
				return a, nil
			}
			// It was done, and what it says can't be read.
			return a, c.failed(o, a, err, try).refusal()
		}
		f := c.failed(o, a, err, try)
		wait, again := c.wait(o, a, err, try)
		if !again || ctx.Err() != nil {
			return a, f.refusal()
		}
		c.logf("%s: %s; attempt %d of %d in %s", o.what, f.short(), try+1, maxTries, wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return a, f.refusal()
		case <-time.After(wait):
		}
	}
}

func (c *Client) once(ctx context.Context, o op, body []byte) (*answer, error) {
	a := &answer{header: http.Header{}}
	limited, cancel := context.WithTimeout(ctx, or(o.timeout, c.timeout))
	defer cancel()
	var connected atomic.Bool // told from the transport's goroutines
	limited = httptrace.WithClientTrace(limited, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := http.NewRequestWithContext(limited, o.method, c.base.String()+o.path, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	if len(o.query) > 0 {
		req.URL.RawQuery = o.query.Encode()
	}
	req.Header.Set("Authorization", "token "+c.token)
	if _, raw := o.into.(*[]byte); !raw {
		req.Header.Set("Accept", "application/json")
	}
	req.Header.Set("User-Agent", "edge-actions")
	if body != nil {
		req.Header.Set("Content-Type", or(o.contentType, "application/json"))
	}
	res, err := c.http.Do(req)
	a.connected = connected.Load()
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	a.body, err = io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err == nil && len(a.body) > maxBody {
		err = fmt.Errorf("%w: more than %d MiB", errStrange, maxBody>>20)
	}
	return a, err
}

// errStrange is a whole answer that is of no use.
var errStrange = errors.New("an answer that is not a forge's")

// errMoved is a redirect that is not followed.
var errMoved = errors.New("it is said to be at another address")

// redirect lets a read follow the forge within itself, as for a repository that
// was renamed. The token goes to no other origin, and a change goes nowhere:
// net/http would make a GET of it.
func (c *Client) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > 3 || via[0].Method != http.MethodGet || req.URL.Scheme != c.base.Scheme || req.URL.Host != c.base.Host || req.URL.User != nil {
		return fmt.Errorf("%w, %s", errMoved, quote(req.URL.Scheme+"://"+req.URL.Host))
	}
	return nil
}

// wait says whether another attempt can help and does no harm, and after what
// time.
func (c *Client) wait(o op, a *answer, err error, try int) (time.Duration, bool) {
	safe := !o.change() || o.repeat
	switch {
	case try >= maxTries || errors.Is(err, errMoved) || errors.Is(err, errStrange):
		return 0, false
	case err != nil && a.status == 0 && !a.connected: // nothing has left
	case a.status == http.StatusTooManyRequests: // nothing was done
	case safe && (err != nil || a.status >= 500):
	default:
		return 0, false
	}
	wait := min(c.pause<<(try-1), maxPause)
	wait = wait/2 + rand.N(wait/2+1)
	if after := retryAfter(a); after > wait {
		return after, after <= maxPause
	}
	return wait, true
}

// retryAfter is how long the forge asks to be left alone: in seconds, or until
// a moment of its own clock.
func retryAfter(a *answer) time.Duration {
	value := a.header.Get("Retry-After")
	if n, err := strconv.Atoi(value); err == nil {
		return time.Duration(max(0, min(n, 1<<20))) * time.Second
	}
	until, err := http.ParseTime(value)
	now, ok := a.at()
	if err != nil || !ok {
		return 0
	}
	return max(0, until.Sub(now))
}

func decode(a *answer, into any) error {
	if into == nil || a.status == http.StatusNoContent {
		return nil
	}
	if raw, ok := into.(*[]byte); ok {
		*raw = a.body
		return nil
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("%w: %w", errStrange, err)
	}
	return nil
}

// get is a read of one repository.
func (r *Repo) get(ctx context.Context, what, scope string, query url.Values, into any, path ...string) (*answer, error) {
	return r.c.do(ctx, op{what: what + " of " + r.String(), scope: scope, method: http.MethodGet, path: r.path(path...), query: query, into: into})
}
