package verdict

import (
	"fmt"
	"strings"
)

// Text renders the report for a log: the verdict first, then a line a check,
// with wanted, found and what to do under the ones that did not hold.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", r.Action, strings.ToUpper(string(r.Verdict)))
	if r.Subject != "" {
		fmt.Fprintf(&b, " (%s)", r.Subject)
	}
	fmt.Fprintf(&b, " in %.1f s\n", r.Seconds)
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "  %-9s  %s", c.Verdict, c.name())
		switch {
		case c.Waived != "":
			fmt.Fprintf(&b, ": %s  [waived by %s]", c.Got, c.Waived)
		case c.Verdict == Proven && c.Got != "":
			fmt.Fprintf(&b, ": %s", c.Got)
		}
		b.WriteByte('\n')
		if c.Verdict == Proven || c.Waived != "" {
			continue
		}
		for _, row := range [][2]string{{"wanted", c.Wanted}, {"found", c.Got}, {"do", c.Hint}} {
			if row[1] != "" {
				fmt.Fprintf(&b, "             %-6s  %s\n", row[0], strings.ReplaceAll(row[1], "\n", "\n                     "))
			}
		}
	}
	return b.String()
}

// name is the check's id, after its subject if it has one.
func (c Check) name() string {
	if c.Subject != "" {
		return c.Subject + ": " + c.ID
	}
	return c.ID
}

// Markdown renders the report for a step summary.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s: %s\n\n", r.Action, r.Verdict)
	if r.Subject != "" {
		fmt.Fprintf(&b, "%s, %.1f s\n\n", cell(r.Subject), r.Seconds)
	}
	b.WriteString("| verdict | check | wanted | found | do |\n|---|---|---|---|---|\n")
	for _, c := range r.Checks {
		v := string(c.Verdict)
		if c.Waived != "" {
			v += " (waived by " + c.Waived + ")"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", cell(v), cell(c.name()), cell(c.Wanted), cell(c.Got), cell(c.Hint))
	}
	return b.String()
}

// cell makes text safe inside a Markdown table: no markup, no line break.
func cell(s string) string {
	return strings.NewReplacer("\n", " ", "\r", " ", "|", "\\|", "<", "&lt;", "`", "'").Replace(s)
}
