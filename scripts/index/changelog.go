package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"edge-actions/scripts/index/catalog"
)

// nothing is the version in released.yaml before there is a first release.
const nothing = "0.0.0"

// changelog is CHANGELOG.md, as far as it is held against the actions.
type changelog struct {
	// unreleased are the lines below the headings of the part Unreleased.
	unreleased map[catalog.Kind][]string
	// latest is the newest version that has a part, or nothing.
	latest string
}

var (
	part    = regexp.MustCompile(`^## `)
	version = regexp.MustCompile(`^## \[([0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?)\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	// named is how a line names what it is about.
	named = regexp.MustCompile("`([a-z0-9-]+: (?:action|(?:input|output) [a-z0-9_]+))`")
	kinds = []catalog.Kind{catalog.Added, catalog.Changed, "Deprecated", catalog.Removed, "Fixed", "Security"}
)

const unreleasedHeading = "## [Unreleased]"

// parseChangelog reads the form that keepachangelog.com gives, and refuses any
// other: a line below a heading that nobody looks at would say nothing.
func parseChangelog(text string) (*changelog, error) {
	c := &changelog{unreleased: map[catalog.Kind][]string{}, latest: nothing}
	var kind catalog.Kind
	parts, inside := 0, false
	for i, line := range strings.Split(text, "\n") {
		wrong := func(wanted string) error {
			return fmt.Errorf("CHANGELOG.md, line %d: wanted %s, found %q", i+1, wanted, line)
		}
		switch {
		case part.MatchString(line):
			parts++
			inside, kind = line == unreleasedHeading, ""
			m := version.FindStringSubmatch(line)
			switch {
			case parts == 1 && !inside:
				return nil, wrong(unreleasedHeading + " as the first part")
			case parts > 1 && m == nil:
				return nil, wrong("a part with its version and its day, as in ## [1.2.3] - 2026-01-31")
			case parts == 2:
				c.latest = m[1]
			}
		case strings.HasPrefix(line, "### "):
			kind = catalog.Kind(strings.TrimPrefix(line, "### "))
			if !slices.Contains(kinds, kind) {
				return nil, wrong(fmt.Sprintf("one of the headings %s", join(kinds)))
			}
		case inside && strings.TrimSpace(line) != "":
			if kind == "" {
				return nil, wrong("a heading (### Changed) before the first line of " + unreleasedHeading)
			}
			c.unreleased[kind] = append(c.unreleased[kind], line)
		}
	}
	if parts == 0 {
		return nil, fmt.Errorf("CHANGELOG.md: wanted the part %q, found none", unreleasedHeading)
	}
	return c, nil
}

// says reports whether a line below the heading names it in backticks.
func (c *changelog) says(kind catalog.Kind, name string) bool {
	return slices.ContainsFunc(c.unreleased[kind], func(line string) bool { return strings.Contains(line, "`"+name+"`") })
}

// hold holds the change log against what is different since the release that
// released is of.
func (c *changelog) hold(released, now *catalog.Catalog) error {
	var errs []error
	if released.Version != c.latest {
		errs = append(errs, fmt.Errorf("%s is of version %q, and the newest in CHANGELOG.md is %q; run: go run ./scripts/index -release %s", releasedPath, released.Version, c.latest, c.latest))
	}
	for _, change := range catalog.Changes(released, now) {
		if !c.says(change.Kind, change.Name) {
			errs = append(errs, fmt.Errorf("%s: %s since version %s, and CHANGELOG.md does not say so: wanted a line below \"### %s\" of %s that names `%s`, or the old state back",
				change.Name, change.What, released.Version, change.Kind, unreleasedHeading, change.Name))
		}
	}
	for _, name := range c.names(catalog.Removed) {
		if there(now, name) {
			errs = append(errs, fmt.Errorf("CHANGELOG.md says below \"### Removed\" that `%s` is gone, and it is there", name))
		}
	}
	return errors.Join(errs...)
}

// names are the things that the lines below a heading name.
func (c *changelog) names(kind catalog.Kind) (out []string) {
	for _, line := range c.unreleased[kind] {
		for _, m := range named.FindAllStringSubmatch(line, -1) {
			out = append(out, m[1])
		}
	}
	return out
}

// there reports whether a catalog has what a change log calls by this name.
func there(c *catalog.Catalog, name string) bool {
	action, what, _ := strings.Cut(name, ": ")
	a, ok := c.Action(action)
	if !ok || what == "action" {
		return ok
	}
	kind, name, _ := strings.Cut(what, " ")
	if kind == "input" {
		_, ok = a.Input(name)
	} else {
		_, ok = a.Output(name)
	}
	return ok
}

func join(kinds []catalog.Kind) string {
	var out []string
	for _, k := range kinds {
		out = append(out, string(k))
	}
	return strings.Join(out, ", ")
}
