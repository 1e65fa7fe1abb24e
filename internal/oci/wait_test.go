package oci

import (
	"context"
	"crypto/rsa"
	"errors"
	"net/http"
	"testing"
	"time"
)

func TestWait(t *testing.T) {
	c := &Client{pause: time.Second}
	date := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	in10 := date.Add(10 * time.Second).Format(http.TimeFormat)
	for name, test := range map[string]struct {
		status   int
		code     string
		after    string
		try      int
		min, max time.Duration
		ok       bool
	}{
		"first":                  {429, "", "", 1, time.Second / 2, time.Second, true},
		"third":                  {503, "", "", 3, 2 * time.Second, 4 * time.Second, true},
		"last":                   {429, "", "", 6, 0, 0, false},
		"the server's wait":      {429, "", "10", 1, 10 * time.Second, 13 * time.Second, true},
		"the server's date":      {503, "", in10, 1, 10 * time.Second, 13 * time.Second, true},
		"a wait that is over":    {429, "", date.Add(-time.Hour).Format(http.TimeFormat), 1, time.Second / 2, time.Second, true},
		"shorter than our own":   {429, "", "1", 5, 8 * time.Second, 16 * time.Second, true},
		"the longest":            {429, "", "30", 1, 30 * time.Second, 38 * time.Second, true},
		"longer than that":       {429, "", "31", 1, 0, time.Hour, false},
		"nonsense":               {429, "", "soon", 1, time.Second / 2, time.Second, true},
		"another state":          {409, "IncorrectState", "", 1, time.Second / 2, time.Second, true},
		"a conflict":             {409, "Conflict", "", 1, 0, 0, false},
		"a refusal":              {400, "IncorrectState", "", 1, 0, 0, false},
		"not found":              {404, "", "", 1, 0, 0, false},
		"an answer to nobody":    {401, "", "", 1, 0, 0, false},
		"a pause is not endless": {429, "", "", 5, 8 * time.Second, 16 * time.Second, true},
	} {
		a := &attempt{status: test.status, after: test.after, date: date}
		got, ok := c.wait(a, &failure{status: test.status, code: test.code}, test.try)
		if ok != test.ok || got < test.min || got > test.max {
			t.Errorf("%s: %s, %v", name, got, ok)
		}
	}
	c.pause = time.Hour
	if got, _ := c.wait(&attempt{status: 429}, &failure{status: 429}, 1); got > maxPause {
		t.Errorf("a pause of %s", got)
	}
}

// slow is a provider that asks for a key that never comes.
type slow struct{ end chan struct{} }

func (s slow) KeyID() (string, error)                  { <-s.end; return "", nil }
func (s slow) PrivateRSAKey() (*rsa.PrivateKey, error) { return nil, nil }

func TestAKeyThatNeverComes(t *testing.T) {
	s := slow{make(chan struct{})}
	defer close(s.end)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the runner said so")
	cancel(why)
	if err := fetchKey(s)(ctx); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}
