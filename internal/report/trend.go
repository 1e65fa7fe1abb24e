package report

import (
	"slices"
)

const (
	// window is how many earlier restores the newest is held against, and least
	// how many it takes to say anything.
	window = 20
	least  = 3
)

// Trend holds the newest whole restore against the ones before.
type Trend struct {
	// Before is how many there are; the rest says nothing below three.
	Before int
	// Seconds and Bytes are the medians of those.
	Seconds float64
	Bytes   float64
	// Slower says that it takes much longer than it did, Smaller that less than
	// half of what there was came back.
	Slower  bool
	Smaller bool
}

// Known reports whether there are enough to say anything.
func (t Trend) Known() bool { return t.Before >= least }

func (b *Builder) trend(tries []Try) Trend {
	var seconds, bytes []float64
	for _, t := range tries {
		if t.Real() && t.Seconds > 0 && !b.future(t.Time) {
			seconds, bytes = append(seconds, t.Seconds), append(bytes, float64(t.Bytes))
		}
	}
	if len(seconds) == 0 {
		return Trend{}
	}
	n := len(seconds) - 1
	from := max(0, n-window)
	out := Trend{Before: n - from, Seconds: median(seconds[from:n]), Bytes: median(bytes[from:n])}
	if out.Known() {
		longer := Seconds(seconds[n] - out.Seconds)
		out.Slower = seconds[n] > b.cfg.Slower*out.Seconds && longer > b.cfg.Slack
		out.Smaller = bytes[n] < out.Bytes/2
	}
	return out
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
