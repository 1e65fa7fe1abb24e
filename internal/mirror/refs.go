package mirror

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxRefs bounds what git may say of a repository's refs: some 500,000 of them.
const maxRefs = 64 << 20

// Ref is what a ref points to: an object, and the commit behind it where that
// is an annotated tag.
type Ref struct{ ID, Commit string }

// Refs are the refs of a repository by their full names.
type Refs map[string]Ref

// Patterns say which refs count: full names, in which "*" stands for anything.
type Patterns []string

var patternForm = regexp.MustCompile(`^refs/[^\s~^:?\[\\\x00-\x1f\x7f]+$`)

// ParsePatterns reads patterns, or returns the first that is none.
func ParsePatterns(list []string) (p Patterns, wrong string) {
	for _, s := range list {
		if !patternForm.MatchString(s) || strings.Contains(s, "..") {
			return nil, s
		}
	}
	return list, ""
}

func (p Patterns) match(ref string) bool {
	return slices.ContainsFunc(p, func(pattern string) bool { return glob(pattern, ref) })
}

// glob matches "*" with anything, slashes too.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	rest, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

// narrow are the flags with which git need not be told of all refs: a forge has
// one for each pull request.
func (p Patterns) narrow() []string {
	var out []string
	for _, pattern := range p {
		switch {
		case strings.HasPrefix(pattern, "refs/heads/"):
			out = append(out, "--heads")
		case strings.HasPrefix(pattern, "refs/tags/"):
			out = append(out, "--tags")
		default:
			return nil
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var objectForm = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// Refs asks a repository for its refs.
func (g *Git) Refs(ctx context.Context, at Place, p Patterns) (Refs, error) {
	args := append([]string{"ls-remote", "--quiet"}, p.narrow()...)
	out, err := g.remote(ctx, at, nil, maxRefs, append(args, "--", at.URL)...)
	if err != nil {
		return nil, err
	}
	return parseRefs(string(out), p)
}

// parseRefs reads what git ls-remote prints: an id, a tab, a name, and after an
// annotated tag the same name with ^{} and what it is of.
func parseRefs(text string, p Patterns) (Refs, error) {
	refs := Refs{}
	for line := range strings.Lines(text) {
		id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok || !objectForm.MatchString(id) || name == "" {
			return nil, fmt.Errorf("a line that is none of git ls-remote: %.100q", line)
		}
		name, peeled := strings.CutSuffix(name, "^{}")
		if !p.match(name) {
			continue
		}
		if !patternForm.MatchString(name) {
			return nil, fmt.Errorf("a ref with an impossible name: %.100q", name)
		}
		r := refs[name]
		if r.Commit = id; !peeled {
			r.ID = id
		}
		refs[name] = r
	}
	for name, r := range refs {
		if r.ID == "" {
			return nil, fmt.Errorf("a ref %.100q without an id", name)
		}
	}
	return refs, nil
}
