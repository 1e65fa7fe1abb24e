package stacks

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"edge-actions/internal/verdict"
)

var stackName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// Allowed sorts the lines of an input by stack: the same address is in many
// stacks, and what may go in one must not go in all. A line is the name or the
// path of a stack, a blank, and the address. Of a single stack it is the
// address alone.
func (r *Run) Allowed(input string, lines []string) (map[string][]string, error) {
	if r.Single {
		return map[string][]string{r.Stacks[0].Name: lines}, nil
	}
	out := map[string][]string{}
	var errs []error
	for _, line := range lines {
		who, address, ok := strings.Cut(line, " ")
		name := ""
		for _, one := range r.Stacks {
			if who == one.Name || who == one.Path {
				name = one.Name
			}
		}
		if address = strings.TrimSpace(address); !ok || name == "" || address == "" {
			errs = append(errs, verdict.Refuse("input-"+input, "lines of a stack of this run, a blank and an address", fmt.Sprintf("%q", line), "put the stack's name or path before the address"))
			continue
		}
		out[name] = append(out[name], address)
	}
	return out, errors.Join(errs...)
}
