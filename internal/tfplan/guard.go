package tfplan

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"edge-actions/internal/verdict"
)

// Guard says what a plan must not do.
type Guard struct {
	// Types are protected resource types ("oci_core_volume"), Addresses
	// protected addresses, whole modules ("module.db") among them. "*" stands
	// for any run of characters but ".".
	Types, Addresses []string
	// Allow lists the exact addresses that may go although they are protected.
	Allow []string
	// MaxDestroy is how many instances a plan may delete or replace.
	MaxDestroy int
}

// Check returns every way in which the plan breaks the guard, or nil. An
// instance is lost to the operator when it is deleted or replaced, and also
// when it is forgotten: it goes on costing and no plan will show it again.
func (g Guard) Check(p *Plan) error {
	var errs []error
	var destroyed []string
	for _, c := range p.Changes {
		if c.Mode == "data" {
			continue
		}
		switch c.Action {
		case Delete, Replace:
			destroyed = append(destroyed, c.Address)
		case Forget, ForgetReplace:
		default:
			continue
		}
		if rule := g.protects(c); rule != "" && !slices.Contains(g.Allow, c.Address) {
			errs = append(errs, verdict.Refuse("protected", fmt.Sprintf("%s to be left alone (protected by %s)", show(c.Address), rule),
				c.describe(), fmt.Sprintf("if it is meant, add the line %s to allow_destroy for this one run", show(c.Address))))
		}
	}
	if len(destroyed) > g.MaxDestroy {
		errs = append(errs, verdict.Refuse("protected", fmt.Sprintf("at most %d deletions in one plan (max_destroy)", g.MaxDestroy),
			fmt.Sprintf("%d: %s", len(destroyed), list(destroyed, 5)), "if they are meant, raise max_destroy for this one run"))
	}
	return errors.Join(errs...)
}

func (g Guard) protects(c Change) string {
	for _, t := range g.Types {
		if ok, _ := path.Match(t, c.Type); ok {
			return "type " + t
		}
	}
	for _, a := range g.Addresses {
		if matchAddress(a, c.Address) || c.Previous != "" && matchAddress(a, c.Previous) {
			return "address " + a
		}
	}
	return ""
}

// matchAddress matches an address or anything under it: "module.db" protects
// "module.db.oci_core_volume.data[0]", "oci_x.y" protects "oci_x.y[3]".
func matchAddress(pattern, address string) bool {
	if pattern == address {
		return true
	}
	if strings.Contains(pattern, "*") {
		parts, within := strings.Split(pattern, "."), strings.Split(address, ".")
		if len(within) < len(parts) {
			return false
		}
		for i, part := range parts {
			if ok, _ := path.Match(escapeBrackets(part), within[i]); !ok {
				return false
			}
		}
		return true
	}
	rest, ok := strings.CutPrefix(address, pattern)
	return ok && (rest[0] == '.' || rest[0] == '[')
}

// escapeBrackets keeps path.Match from taking an index for a character class.
func escapeBrackets(s string) string { return strings.NewReplacer("[", `\[`, "]", `\]`).Replace(s) }

var typePattern = regexp.MustCompile(`^[A-Za-z0-9_*-]+$`)

// BadTypes returns those of the patterns that no resource type can match.
func BadTypes(patterns []string) (bad []string) {
	for _, p := range patterns {
		if !typePattern.MatchString(p) {
			bad = append(bad, p)
		}
	}
	return bad
}

// BadAddresses returns those of the patterns that no address can match. Blanks
// are only found within the quotes of an index.
func BadAddresses(patterns []string) (bad []string) {
	for _, p := range patterns {
		_, err := path.Match(escapeBrackets(p), "")
		if outside, _, _ := strings.Cut(p, `["`); err != nil || strings.ContainsAny(outside, " \t\"'") {
			bad = append(bad, p)
		}
	}
	return bad
}

func (c Change) describe() string {
	s := string(c.Action)
	if c.Reason != "" {
		s += ", " + strings.ReplaceAll(c.Reason, "_", " ")
	}
	if len(c.Forcing) > 0 {
		s += ", forced by " + list(c.Forcing, 5)
	}
	return s
}

func list(items []string, most int) string {
	if len(items) <= most {
		return strings.Join(mapShow(items), ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(mapShow(items[:most]), ", "), len(items)-most)
}
