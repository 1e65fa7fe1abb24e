package page

import (
	"fmt"
	"slices"
	"time"
)

// ago is how long ago a moment was, seen from when the report was made.
func (v *view) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := v.Made.Sub(t)
	switch {
	case d < -time.Minute:
		return "in the future"
	case d < time.Minute:
		return "just now"
	}
	return round(d) + " ago"
}

func (v *view) span(t time.Time) string {
	if d := v.Made.Sub(t); d > 0 {
		return round(d)
	}
	return "0 min"
}

// round is a length of time in one unit, as it is read at a glance.
func round(d time.Duration) string {
	switch day := 24 * time.Hour; {
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%d h", d/time.Hour)
	default:
		return fmt.Sprintf("%d d", d/day)
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04") }

func because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

func things(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func sortedDurations(d []time.Duration) []time.Duration { return slices.Sorted(slices.Values(d)) }
