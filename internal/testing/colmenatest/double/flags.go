package double

import (
	"fmt"
	"slices"
	"strings"
)

// flag is one option of a command line; a long one starts with "--".
type flag struct {
	name   string
	values int
	set    func(values []string) error
}

// parse reads options and positional arguments as clap and argparse do: an
// option may stand anywhere, "--name=value" and "-nvalue" are the same as with
// a space, "--" ends the options.
func parse(args []string, known func(name string) *flag, positional func(string) error) error {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			for _, rest := range args {
				if err := positional(rest); err != nil {
					return err
				}
			}
			return nil
		case len(arg) < 2 || arg[0] != '-':
			if err := positional(arg); err != nil {
				return err
			}
			continue
		}
		name, value, given := strings.Cut(arg, "=")
		if !strings.HasPrefix(arg, "--") {
			name, value, given = arg[:2], strings.TrimPrefix(arg[2:], "="), len(arg) > 2
		}
		f := known(name)
		if f == nil {
			return fmt.Errorf("unexpected argument '%s' found", name)
		}
		var values []string
		switch {
		case given && f.values == 0 && !strings.HasPrefix(arg, "--"):
			args = append([]string{"-" + value}, args...) // -vk is -v -k
		case given && f.values == 0:
			return fmt.Errorf("unexpected value '%s' for '%s' found; no more were expected", value, name)
		case given:
			values = []string{value}
		}
		for len(values) < f.values {
			if len(args) == 0 || len(args[0]) > 1 && args[0][0] == '-' {
				return fmt.Errorf("%d values required for '%s' but %d were provided", f.values, name, len(values))
			}
			values, args = append(values, args[0]), args[1:]
		}
		if err := f.set(values); err != nil {
			return err
		}
	}
	return nil
}

func toggle(name string, to *bool) flag {
	return flag{name: name, set: func([]string) error { *to = true; return nil }}
}

func text(name string, to *string) flag {
	return flag{name: name, values: 1, set: func(v []string) error { *to = v[0]; return nil }}
}

// choice is a text that must be one of a few.
func choice(name string, to *string, of ...string) flag {
	return flag{name: name, values: 1, set: func(v []string) error {
		if !slices.Contains(of, v[0]) {
			return fmt.Errorf("invalid value '%s' for '%s'\n  [possible values: %s]", v[0], name, strings.Join(of, ", "))
		}
		*to = v[0]
		return nil
	}}
}

func lookup(flags []flag, name string) *flag {
	for i := range flags {
		if flags[i].name == name {
			return &flags[i]
		}
	}
	return nil
}
