package oci

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"
)

// maxSkew is how wrong the machine's clock may be before requests are signed
// with the server's time. OCI refuses more than 5 minutes with a 401.
const maxSkew = time.Minute

// clock knows the server's time by its last answer.
type clock struct {
	wall func() time.Time // the machine's own

	mu       sync.Mutex
	date     time.Time // of the last answer
	received time.Time // when that came, with its monotonic reading
	said     bool
}

// server is the server's time now, or zero before its first answer.
func (c *clock) server() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *clock) now() time.Time {
	if c.date.IsZero() {
		return time.Time{}
	}
	return c.date.Add(time.Since(c.received))
}

// sign is the time to sign a request with: the machine's, or the server's if
// that is known to be another one. It is compared at every request, because a
// clock is set while a program runs too.
func (c *clock) sign() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall := c.wall()
	if server := c.now(); !server.IsZero() && apart(wall, server) > maxSkew {
		return server
	}
	return wall
}

// heard takes the Date of an answer. The first time that it is far from the
// machine's clock, skew says by how much that is ahead.
func (c *clock) heard(date time.Time) (skew time.Duration, news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.date, c.received = date, time.Now()
	skew = c.wall().Sub(date)
	if apart(c.wall(), date) <= maxSkew || c.said {
		return skew, false
	}
	c.said = true
	return skew, true
}

func apart(a, b time.Time) time.Duration { return a.Sub(b).Abs() }

// signer signs requests with the time of clock. The SDK sets the Date header
// from time.Now just before it calls Sign (prepareRequest in its
// common/client.go), and the signature covers that header.
type signer struct {
	clock *clock
	warm  func(context.Context) error
	inner common.HTTPRequestSigner
}

// Sign implements common.HTTPRequestSigner.
func (s *signer) Sign(r *http.Request) error {
	a := attemptOf(r)
	if s.warm != nil {
		if err := s.warm(a.ctx); err != nil {
			return err
		}
	}
	a.signed = s.clock.sign().UTC()
	r.Header.Set("Date", a.signed.Format(http.TimeFormat))
	return s.inner.Sign(r)
}
