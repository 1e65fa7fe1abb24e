package report

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var actionForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// ParseName reads ACTION or ACTION/SUBJECT. A subject may have blanks and
// slashes of its own.
func ParseName(text string) (Name, error) {
	action, subject, has := strings.Cut(text, "/")
	if !actionForm.MatchString(action) || has && strings.TrimSpace(subject) == "" {
		return Name{}, fmt.Errorf("%.200q is no action's name, alone or with a subject after a slash", text)
	}
	return Name{action, strings.TrimSpace(subject)}, nil
}

// ParseExpectation reads a line "ACTION[/SUBJECT] MAX_AGE", with an age such as
// 8d, 26h or 90m.
func ParseExpectation(line string) (Expectation, error) {
	i := strings.LastIndexAny(line, " \t")
	if i < 0 {
		return Expectation{}, fmt.Errorf("%.200q has no age after the name", line)
	}
	name, err := ParseName(strings.TrimSpace(line[:i]))
	if err != nil {
		return Expectation{}, err
	}
	text := line[i+1:]
	age, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n > 0 && n <= 3660 {
			age = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil || age < time.Minute || age > 3660*24*time.Hour {
		return Expectation{}, fmt.Errorf("%.40q is no age from 1m to 3660d, such as 8d or 26h", text)
	}
	return Expectation{name, age}, nil
}

// due holds the expectations against the evidence. One that names a subject
// goes before one that is of all; what was never proven is over.
func (b *Builder) due(rows []Evidence, contracts []Contract) []Due {
	var out []Due
	for _, e := range b.cfg.Expect {
		found := b.expected(e, rows, contracts)
		if len(found) == 0 {
			found = []Due{{Name: e.Name}}
		}
		for _, d := range found {
			if e.Subject == "" && b.named(d) {
				continue
			}
			d.MaxAge, d.Accepted = e.MaxAge, b.waived(d.Name) || e.Subject != "" && b.waived(e.Name)
			if d.Future = b.future(d.Last); d.Last.IsZero() || d.Future || b.cfg.Now.Sub(d.Last) > e.MaxAge {
				d.Over = true
			}
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(x, y Due) int {
		over := 0
		if x.Over != y.Over {
			if over = 1; x.Over {
				over = -1
			}
		}
		return cmp.Or(over, cmp.Compare(x.Action, y.Action), cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Detail, y.Detail), cmp.Compare(x.MaxAge, y.MaxAge))
	})
	return slices.CompactFunc(out, func(x, y Due) bool { return x == y })
}

// expected are the things that an expectation is of.
func (b *Builder) expected(e Expectation, rows []Evidence, contracts []Contract) []Due {
	var out []Due
	have := map[backup]bool{}
	for _, r := range rows {
		if r.Action != e.Action || e.Subject != "" && e.Subject != r.Subject && e.Subject != r.Contract || idle(r) {
			continue
		}
		d := Due{Name: Name{r.Action, cmp.Or(r.Contract, r.Subject)}, Detail: r.Detail, Last: r.Proven}
		if d.Subject == r.Contract && r.Contract != "" {
			d.Detail = ""
		}
		if r.Future { // a proof before it can still be in time
			d.Last = r.Proven
		}
		have[r.backup] = true
		out = append(out, d)
	}
	kind := map[string]string{"restic-restore-check": KindRestic, "tofu-state-restore": KindState}[e.Action]
	for _, c := range contracts {
		switch {
		case !c.Promised || e.Subject != "" && e.Subject != c.Name:
		case e.Action == "backup-validate" && e.Subject != "":
			out = append(out, Due{Name: e.Name, Last: c.proven})
		case kind != "" && c.Kind == kind && !have[c.backup]:
			// Promised, and never brought back.
			out = append(out, Due{Name: Name{e.Action, c.Name}})
		}
	}
	return out
}

// idle are rows that say nothing of whether a state comes back.
func idle(r Evidence) bool { return r.Action == "tofu-state-restore" && r.backup == (backup{}) }

// named reports whether an expectation names what d is of.
func (b *Builder) named(d Due) bool {
	return slices.ContainsFunc(b.cfg.Expect, func(e Expectation) bool { return e.Subject != "" && e.Name == d.Name })
}

// waived reports whether n, or all of its action, is shown only.
func (b *Builder) waived(n Name) bool {
	return slices.Contains(b.cfg.Waive, n) || slices.Contains(b.cfg.Waive, Name{Action: n.Action})
}
