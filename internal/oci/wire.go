package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// maxAnswer is the largest answer that is read: a page of 100 instances with
// their metadata, which is at most 32 kB each, and room.
const maxAnswer = 16 << 20

// attempt is what became of one request. The SDK runs each operation in a
// goroutine of its own and returns from it without waiting when its context
// ends (Retry in its common/retry.go), so it gets a context that does not end,
// and ctx, which does, travels in here.
type attempt struct {
	ctx context.Context

	signed    time.Time // the Date that it was signed with
	connected atomic.Bool
	status    int // 0 without an answer
	date      time.Time
	requestID string
	after     string // Retry-After
}

type attemptKey struct{}

func (a *attempt) context() context.Context {
	return context.WithValue(context.WithoutCancel(a.ctx), attemptKey{}, a)
}

func attemptOf(r *http.Request) *attempt {
	a, ok := r.Context().Value(attemptKey{}).(*attempt)
	if !ok {
		return &attempt{ctx: r.Context()}
	}
	return a
}

// skewed reports whether the time that the request was signed with explains
// that it was refused.
func (a *attempt) skewed() bool {
	return !a.signed.IsZero() && !a.date.IsZero() && apart(a.signed, a.date) > maxSkew
}

// retryAfter is the wait that the server asked for, or 0.
func (a *attempt) retryAfter() time.Duration {
	if seconds, err := strconv.Atoi(a.after); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	if t, err := http.ParseTime(a.after); err == nil && !a.date.IsZero() {
		return max(0, t.Sub(a.date))
	}
	return 0
}

// wire sends what the SDK has signed. It implements
// common.HTTPRequestDispatcher.
type wire struct{ client *Client }

// Do sends a request and reads its answer to the end, so that half an answer
// is an error here and not an object with empty fields.
func (w *wire) Do(r *http.Request) (*http.Response, error) {
	c, a := w.client, attemptOf(r)
	c.calls.Add(1)
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { a.connected.Store(true) }}
	resp, err := c.http.Do(r.WithContext(httptrace.WithClientTrace(a.ctx, trace)))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	resp.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("the answer broke off after %d bytes: %w", len(body), err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	if err := genuine(r, resp, body); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	a.status, a.requestID, a.after = resp.StatusCode, resp.Header.Get("opc-request-id"), resp.Header.Get("Retry-After")
	if a.date, err = http.ParseTime(resp.Header.Get("Date")); err == nil {
		if skew, news := c.clock.heard(a.date); news {
			c.logf("this machine's clock is %s %s that of OCI: requests are signed with OCI's time from now on", skew.Abs().Round(time.Second), map[bool]string{true: "ahead of", false: "behind"}[skew > 0])
		}
	}
	return resp, nil
}

// genuine refuses an answer that some other machine on the way gave: the SDK
// reads a redirect, an empty body or a null as an object without contents.
func genuine(r *http.Request, resp *http.Response, body []byte) error {
	if resp.StatusCode >= 400 {
		return nil
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("an answer of status %d, which OCI does not give", resp.StatusCode)
	}
	if resp.Header.Get("opc-request-id") == "" {
		return errors.New("an answer without an opc-request-id, so it is not OCI's")
	}
	if text := strings.TrimSpace(string(body)); r.Method == http.MethodGet && (text == "" || text == "null") {
		return errors.New("an empty answer")
	}
	return nil
}

// newHTTP follows no redirect: a signature is for one host and one path.
func newHTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     30 * time.Second,
			ForceAttemptHTTP2:   true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
