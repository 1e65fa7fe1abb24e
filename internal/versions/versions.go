// Package versions holds tools to a version constraint before they are used.
// It refuses a tool whose version it can't read.
package versions

import (
	"fmt"

	"edge-actions/internal/verdict"

	version "github.com/hashicorp/go-version"
)

// Constraint is a set of conditions such as ">= 1.10, < 2.0".
type Constraint struct{ c version.Constraints }

// ParseConstraint reads a constraint in the syntax of
// github.com/hashicorp/go-version, which is OpenTofu's own.
func ParseConstraint(s string) (Constraint, error) {
	c, err := version.NewConstraint(s)
	if err != nil {
		return Constraint{}, fmt.Errorf("wanted a version constraint such as %q, found %q", ">= 1.10, < 2.0", s)
	}
	return Constraint{c}, nil
}

func (c Constraint) String() string { return c.c.String() }

// Check returns a refusal named "tool-version" unless found satisfies c.
func (c Constraint) Check(tool, found, install string) error {
	v, err := version.NewVersion(found)
	if err != nil {
		return verdict.CannotTell("tool-version", fmt.Sprintf("%s %s", tool, c), fmt.Errorf("an unreadable version %q", found), install)
	}
	if !c.c.Check(v) {
		return verdict.Refuse("tool-version", fmt.Sprintf("%s %s", tool, c), found, install)
	}
	return nil
}
