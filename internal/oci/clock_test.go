package oci_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

func TestAClockThatIsWrong(t *testing.T) {
	for name, offset := range map[string]time.Duration{
		"right":            0,
		"seconds":          20 * time.Second,
		"3 minutes behind": 3 * time.Minute,
		"an hour behind":   time.Hour,
		"an hour ahead":    -time.Hour,
		"years ahead":      -5 * 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			s, _, n := rig(t)
			s.Offset(offset)
			var said []string
			c := s.Client(t, func(o *oci.Options) { o.Logf = func(f string, a ...any) { said = append(said, fmt.Sprintf(f, a...)) } })
			if !c.Now().IsZero() {
				t.Errorf("a time before any answer: %s", c.Now())
			}
			r, err := c.AddRule(t.Context(), n.NSGID, door)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.RemoveRules(t.Context(), n.NSGID, r.ID); err != nil {
				t.Error(err)
			}
			if apart := c.Now().Sub(s.Now()).Abs(); apart > 5*time.Second {
				t.Errorf("the clock is %s off", apart)
			}
			repeated, told := 0, 0
			if offset.Abs() > 5*time.Minute {
				repeated = 1
			}
			if offset.Abs() > time.Minute {
				told = 1
			}
			if got := len(s.Requests()); got != 2+repeated {
				t.Errorf("%d requests", got)
			}
			if len(said) != told || told == 1 && (!strings.Contains(said[0], "clock") || strings.Contains(said[0], "ahead") != (offset < 0)) {
				t.Errorf("said: %q", said)
			}
			if made := 1; strings.Count(fmt.Sprint(s.Requests()), "addSecurityRules") != made+repeated {
				t.Errorf("%+v", s.Requests())
			}
		})
	}
}

// A door that was opened while the clock was right can be closed when it is
// not, however it became so.
func TestAClockThatIsSetInMidLife(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		s, c, n := rig(t)
		r, err := c.AddRule(t.Context(), n.NSGID, door)
		if err != nil {
			t.Fatal(err)
		}
		c.SetWall(func() time.Time { return time.Now().Add(jump) })
		if err := c.RemoveRules(t.Context(), n.NSGID, r.ID); err != nil {
			t.Errorf("this machine's clock jumped %s: %v", jump, err)
		}
		c.SetWall(time.Now)
		s.Offset(jump)
		if _, err := c.AddRule(t.Context(), n.NSGID, door); err != nil {
			t.Errorf("the server's clock jumped %s: %v", jump, err)
		}
		if got := len(s.World().NSG(n.NSGID).Rules); got != 1 {
			t.Errorf("%d rules", got)
		}
	}
}

func TestA401ThatTheClockDoesNotExplain(t *testing.T) {
	s, c, n := rig(t)
	s.Fail("", "", -1, 401, "NotAuthenticated")
	if _, err := c.AddRule(t.Context(), n.NSGID, door); !verdict.Has(err, oci.BadCredentials) || len(s.Requests()) != 1 {
		t.Errorf("%v, %d requests", err, len(s.Requests()))
	}
	// And one that stays: it is repeated once.
	s, c, n = rig(t)
	s.Offset(time.Hour)
	s.Fail("", "", -1, 401, "NotAuthenticated")
	if _, err := c.Instance(t.Context(), n.InstanceID); !verdict.Has(err, oci.BadCredentials) || len(s.Requests()) != 2 {
		t.Errorf("%v, %d requests", err, len(s.Requests()))
	}
}

func TestAServerWithoutAClockEndsToo(t *testing.T) {
	s, c, n := rig(t)
	var hours atomic.Int64
	s.SetClock(func() time.Time { return time.Now().Add(time.Duration(hours.Add(1)) * time.Hour) })
	if _, err := c.AddRule(t.Context(), n.NSGID, door); !verdict.Has(err, oci.BadCredentials) || len(s.Requests()) != 2 {
		t.Errorf("%v, %d requests", err, len(s.Requests()))
	}
}

func TestNowGoesOn(t *testing.T) {
	s, c, n := rig(t)
	s.SetClock(func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) })
	if _, err := c.Instance(t.Context(), n.InstanceID); err != nil {
		t.Fatal(err)
	}
	first := c.Now()
	for !c.Now().After(first) {
		time.Sleep(time.Millisecond)
	}
	if first.Year() != 2030 {
		t.Errorf("%s", first)
	}
}
