package action

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	githubactions "github.com/sethvargo/go-githubactions"
)

// Mask has the runner hide secret in its logs. It prints nothing that a
// runner which does not understand a mask would show:
//   - an open fence is opened for it, since behind one the runner would print
//     the secret instead of hiding it;
//   - each line is masked by itself, without the blanks around it, since
//     maskers work line by line;
//   - a line with "%" is masked raw and escaped, since the Forgejo runner
//     never unescapes and GitHub always does;
//   - a line with "::" is masked in its parts, without colons at their start,
//     since act takes such a value for a command and prints it;
//   - the form that %q and the fence give it is masked too, since that is how
//     foreign text is shown;
//   - parts of less than four bytes are left, since masking them would blank
//     the log and hide nothing.
func (a *Action) Mask(secret string) {
	var b strings.Builder
	parts := maskParts(secret)
	a.hidden.add(parts)
	for _, part := range parts {
		command := &githubactions.Command{Name: "add-mask", Message: part}
		fmt.Fprintln(&b, command)
		if strings.Contains(part, "%") {
			fmt.Fprintf(&b, "::add-mask::%s\n", part)
		}
	}
	a.log.command(b.String())
}

// maskParts returns what to mask of a secret, the longest first: a mask that
// is part of another would otherwise leave the rest of that in sight.
func maskParts(secret string) []string {
	var parts []string
	for line := range strings.FieldsFuncSeq(secret, func(r rune) bool { return r == '\n' || r == '\r' }) {
		for part := range strings.SplitSeq(line, "::") {
			quoted := strconv.Quote(part)
			for _, form := range []string{part, quoted[1 : len(quoted)-1], clean(part)} {
				form = strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(form), ":"))
				if len(form) >= 4 && !slices.Contains(parts, form) {
					parts = append(parts, form)
				}
			}
		}
	}
	slices.SortStableFunc(parts, func(a, b string) int { return len(b) - len(a) })
	return parts
}

// hidden is what was masked so far.
type hidden struct {
	mu    sync.Mutex // masks are found by several goroutines
	parts []string
}

func (h *hidden) add(parts []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parts = append(h.parts, parts...)
}

// Redactor replaces what was masked so far, as the runner does in its log, for
// text that goes elsewhere.
func (a *Action) Redactor() *strings.Replacer {
	a.hidden.mu.Lock()
	defer a.hidden.mu.Unlock()
	parts := slices.Clone(a.hidden.parts)
	// At one place the replacer takes the first that fits.
	slices.SortStableFunc(parts, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, part := range parts {
		pairs = append(pairs, part, "***")
	}
	return strings.NewReplacer(pairs...)
}
