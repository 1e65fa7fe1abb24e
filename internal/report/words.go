package report

import (
	"fmt"
	"time"
)

// Seconds is a length of time in seconds; one that no time can hold is cut.
func Seconds(n float64) time.Duration {
	const most = 200 * 366 * 86400
	return time.Duration(max(-most, min(n, most)) * float64(time.Second))
}

// Span is a length of time in the one or two units that matter.
func Span(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d < 0:
		return "-" + Span(max(-d, 0)) // the least of all has no opposite
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return two(d, time.Minute, time.Second, "min", "s")
	case d < 2*day:
		return two(d, time.Hour, time.Minute, "h", "min")
	case d < 14*day:
		return two(d, day, time.Hour, "d", "h")
	}
	return fmt.Sprintf("%d d", d/day)
}

func two(d, big, small time.Duration, one, other string) string {
	if rest := d % big / small; rest > 0 {
		return fmt.Sprintf("%d %s %d %s", d/big, one, rest, other)
	}
	return fmt.Sprintf("%d %s", d/big, one)
}

// Size is a number of bytes in the unit that fits.
func Size(bytes float64) string {
	unit := "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if bytes < 1024 {
			break
		}
		bytes, unit = bytes/1024, next
	}
	if unit == "B" || bytes >= 100 {
		return fmt.Sprintf("%.0f %s", bytes, unit)
	}
	return fmt.Sprintf("%.1f %s", bytes, unit)
}
