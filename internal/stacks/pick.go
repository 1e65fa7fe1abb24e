package stacks

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"edge-actions/internal/verdict"

	"github.com/bmatcuk/doublestar/v4"
)

// declared is the pattern for everything with a stack block.
const declared = "terramate"

// Pick makes stacks of what the patterns choose, and returns their paths. A
// pattern is a glob of directories relative to the project, `tag:` with a
// filter of tags, or `terramate` for all that have a stack block; with `!`
// before it, it takes away. A pattern that chooses nothing is refused.
func (p *Project) Pick(patterns []string) ([]string, error) {
	var errs []error
	chosen := map[*Member]bool{}
	positive := false
	for _, pattern := range patterns {
		text, not := strings.CutPrefix(pattern, "!")
		match, err := p.matcher(text)
		if err != nil {
			errs = append(errs, refusePattern(pattern, err.Error()))
			continue
		}
		positive = positive || !not
		found := 0
		for _, m := range p.Members {
			if match(m) {
				chosen[m] = !not
				found++
			}
		}
		if found == 0 {
			errs = append(errs, refusePattern(pattern, fmt.Sprintf("none; there are %d directories with OpenTofu's files or a stack block", len(p.Members))))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var out []string
	for _, m := range p.Members {
		if chosen[m] {
			m.picked = true
			out = append(out, m.Path)
		}
	}
	if len(out) == 0 {
		found := "all of them taken away by the patterns with !"
		if !positive {
			found = "only patterns with !"
		}
		return nil, verdict.Refuse("input-stacks", "at least one stack", found, "correct the input stacks")
	}
	return out, nil
}

func (p *Project) matcher(pattern string) (func(*Member) bool, error) {
	if pattern == declared {
		return func(m *Member) bool { return m.Declared }, nil
	}
	if filter, ok := strings.CutPrefix(pattern, tagPrefix); ok {
		if _, err := (&Block{}).matches(filter); err != nil {
			return nil, err
		}
		return func(m *Member) bool {
			ok, err := m.matches(filter)
			return ok && err == nil
		}, nil
	}
	glob := path.Clean(strings.TrimSuffix(pattern, "/"))
	if pattern == "" || path.IsAbs(pattern) || glob == ".." || strings.HasPrefix(glob, "../") || !doublestar.ValidatePattern(glob) {
		return nil, errors.New("no glob of directories below the input path")
	}
	return func(m *Member) bool {
		ok, err := doublestar.Match(glob, m.Path)
		return ok && err == nil
	}, nil
}

func refusePattern(pattern, found string) error {
	return verdict.Refuse("input-stacks", fmt.Sprintf("stacks for the line %q", pattern), found, "correct the line; a path is relative to the input path")
}
