package ingress

import (
	"fmt"
	"time"
)

// quote shows foreign text, cut.
func quote(s string) string { return fmt.Sprintf("%.120q", s) }

// stamp shows a time of the cloud's.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "a time that is not known"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
