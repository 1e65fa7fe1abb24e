package contracts

import (
	"fmt"
	"time"

	"edge-actions/internal/verdict"
)

// waive marks the checks that the operator wrote down. A waiver that has ended
// waives nothing, and is said.
func waive(checks []verdict.Check, waivers []Waiver, now time.Time) []verdict.Check {
	for _, w := range waivers {
		ended := !now.Before(w.Until.ends())
		for i := range checks {
			c := &checks[i]
			if c.Subject != w.Contract || c.ID != w.Check || c.Verdict == verdict.Proven {
				continue
			}
			if ended {
				c.Hint = fmt.Sprintf("%s; it was waived until %s (%.200q): give another date only if that still holds", c.Hint, w.Until, w.Reason)
				continue
			}
			c.Waived = fmt.Sprintf("contracts until %s: %.200s", w.Until, printable(w.Reason))
		}
	}
	return checks
}

// printable is the operator's own line without what is none.
func printable(s string) string {
	out := []rune{}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			r = ' '
		}
		out = append(out, r)
	}
	return string(out)
}
