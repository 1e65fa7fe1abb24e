package double

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// filter is what --on selects: rules that are OR'd. nil is no --on at all,
// and no rules are a blank one, which matches nothing.
type filter struct {
	names, tags []*regexp.Regexp
}

// badGlob is a pattern that Colmena unwraps without a look.
type badGlob struct {
	pos     int
	message string
}

func (e *badGlob) Error() string {
	return fmt.Sprintf("called `Result::unwrap()` on an `Err` value: PatternError { pos: %d, msg: %q }", e.pos, e.message)
}

func parseFilter(on string) (*filter, error) {
	f := &filter{}
	on = strings.TrimSpace(on)
	if on == "" {
		return f, nil // it warns, but before the log is there
	}
	for rule := range strings.SplitSeq(on, ",") {
		rule = strings.TrimSpace(rule)
		if rule == "" {
			return nil, errors.New("Filter rule cannot be empty") //nolint:staticcheck // Colmena's words
		}
		to := &f.names
		if tag, ok := strings.CutPrefix(rule, "@"); ok {
			rule, to = tag, &f.tags
		}
		pattern, err := glob(rule)
		if err != nil {
			return nil, err
		}
		*to = append(*to, pattern)
	}
	return f, nil
}

func (f *filter) matches(name string, tags []string) bool {
	for _, rule := range f.names {
		if rule.MatchString(name) {
			return true
		}
	}
	for _, rule := range f.tags {
		for _, tag := range tags {
			if rule.MatchString(tag) {
				return true
			}
		}
	}
	return false
}

// glob reads a pattern by the rules of the Rust crate "glob", which is not
// path.Match: "**" must be a whole component of a path, "[!a]" negates, there
// is no escape with a backslash, and "*" matches a slash.
func glob(pattern string) (*regexp.Regexp, error) {
	chars := []rune(pattern)
	var out strings.Builder
	out.WriteString(`(?s)\A`)
	for i := 0; i < len(chars); {
		switch chars[i] {
		case '?':
			out.WriteString(".")
			i++
		case '*':
			start := i
			for i < len(chars) && chars[i] == '*' {
				i++
			}
			switch count := i - start; {
			case count > 2:
				return nil, &badGlob{start + 2, "wildcards are either regular `*` or recursive `**`"}
			case count == 2 && start > 0 && chars[start-1] != '/':
				return nil, &badGlob{start - 1, "recursive wildcards must form a single path component"}
			case count == 2 && i < len(chars) && chars[i] != '/':
				return nil, &badGlob{i, "recursive wildcards must form a single path component"}
			case count == 2 && i < len(chars):
				out.WriteString("(?:.*/)?") // "**/" may be nothing
				i++
			default:
				out.WriteString(".*")
			}
		case '[':
			open := i + 1
			negated := open < len(chars) && chars[open] == '!'
			if negated {
				open++
			}
			end := open + 1 // a "]" that stands first is itself
			for end < len(chars) && chars[end] != ']' {
				end++
			}
			if end >= len(chars) {
				return nil, &badGlob{i, "invalid range pattern"}
			}
			out.WriteString(class(chars[open:end], negated))
			i = end + 1
		default:
			out.WriteString(regexp.QuoteMeta(string(chars[i])))
			i++
		}
	}
	return regexp.MustCompile(out.String() + `\z`), nil
}

func class(chars []rune, negated bool) string {
	var alternatives []string
	for i := 0; i < len(chars); {
		if i+2 < len(chars) && chars[i+1] == '-' {
			if chars[i] <= chars[i+2] { // another range is empty
				alternatives = append(alternatives, fmt.Sprintf(`\x{%x}-\x{%x}`, chars[i], chars[i+2]))
			}
			i += 3
			continue
		}
		alternatives = append(alternatives, fmt.Sprintf(`\x{%x}`, chars[i]))
		i++
	}
	switch {
	case len(alternatives) == 0 && negated:
		return "."
	case len(alternatives) == 0:
		return `[^\x{0}-\x{10FFFF}]`
	case negated:
		return "[^" + strings.Join(alternatives, "") + "]"
	}
	return "[" + strings.Join(alternatives, "") + "]"
}
