package main

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"os/user"
	"slices"
	"strings"

	"edge-actions/internal/verdict"
)

// status is how a line begins.
type status string

const (
	ok      status = "ok"
	missing status = "MISSING"
	wrong   status = "WRONG"
	unknown status = "UNKNOWN" // it could not be told, which is not ok
)

// finding is one line.
type finding struct {
	status
	what  string // that is needed
	found string
	fix   string
	by    []string // which steps need it
}

// of makes findings of what an action's own code says about something.
func of(what string, err error) (out []finding) {
	for _, c := range verdict.ChecksOf(err) {
		out = append(out, ofCheck(what, c))
	}
	return out
}

func ofCheck(what string, c verdict.Check) finding {
	f := finding{status: unknown, what: what, found: c.Got, fix: c.Hint}
	if what == "" {
		f.what = c.Wanted
	}
	switch {
	case c.Verdict == verdict.Proven:
		f.status = ok
	case strings.HasPrefix(c.ID, "tool-missing"), c.ID == "tool-rclone":
		f.status = missing
	case c.Verdict == verdict.Disproven:
		f.status = wrong
	}
	return f
}

// failed is a finding of an error that no action's code has words for.
func failed(s status, what string, err error, fix string) finding {
	if errors.Is(err, exec.ErrNotFound) {
		err = errors.New("none on PATH")
	}
	return finding{status: s, what: what, found: err.Error(), fix: fix}
}

// merge puts what several steps need into one line.
func merge(findings []finding) (out []finding) {
	for _, f := range findings {
		i := slices.IndexFunc(out, func(o finding) bool {
			return o.status == f.status && o.what == f.what && o.found == f.found && o.fix == f.fix
		})
		if i < 0 {
			out = append(out, f)
			continue
		}
		for _, by := range f.by {
			if !slices.Contains(out[i].by, by) {
				out[i].by = append(out[i].by, by)
			}
		}
	}
	return out
}

// show prints the lines, what is not ok last, where a person looks first, and
// returns the exit code.
func show(out io.Writer, findings []finding, who string) int {
	findings = merge(findings)
	slices.SortStableFunc(findings, func(a, b finding) int { return rank(a.status) - rank(b.status) })
	bad := 0
	for _, f := range findings {
		by := ""
		switch most := 3; {
		case len(f.by) > most:
			by = fmt.Sprintf(" [%s and %d more]", line(strings.Join(f.by[:most], ", ")), len(f.by)-most)
		case len(f.by) > 0:
			by = " [" + line(strings.Join(f.by, ", ")) + "]"
		}
		if f.status == ok {
			fmt.Fprintf(out, "%-8s %s: %s%s\n", f.status, line(f.what), line(f.found), by)
			continue
		}
		bad++
		fmt.Fprintf(out, "%-8s %s: found %s; %s%s\n", f.status, line(f.what), line(f.found), line(f.fix), by)
	}
	fmt.Fprintf(out, "%d of %d are as they must be, %s\n", len(findings)-bad, len(findings), who)
	if bad > 0 || len(findings) == 0 {
		return 1
	}
	return 0
}

func rank(s status) int { return slices.Index([]status{ok, unknown, wrong, missing}, s) }

// line keeps what others wrote on one line of this terminal.
func line(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// who says for whom the lines hold: a daemon's PATH is not a shell's.
func (d *doctor) who() string {
	name := "an unknown user"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return fmt.Sprintf("for the user %s with PATH=%s", name, d.getenv("PATH"))
}
