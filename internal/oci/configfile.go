package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// readProfile returns the keys of one profile, in lower case. A key or a
// profile that is there twice is refused: which of them is meant, nobody knows.
func readProfile(path, name string) (map[string]string, error) {
	data, err := os.ReadFile(home(path))
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, fmt.Errorf("the file can't be read: %w", err)
	}
	var profile map[string]string
	var names []string
	in := false
	for i, line := range strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if header, ok := strings.CutPrefix(line, "["); ok {
			header, _, _ = strings.Cut(header, "]")
			names = append(names, fmt.Sprintf("%q", cut(header, 40)))
			if in = header == name; in && profile != nil {
				return nil, fmt.Errorf("the profile is there twice, in line %d again", i+1)
			}
			if in {
				profile = map[string]string{}
			}
			continue
		}
		if !in {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if !ok {
			return nil, fmt.Errorf("line %d is no key=value", i+1)
		}
		if _, ok := profile[key]; ok {
			return nil, fmt.Errorf("line %d gives %q again", i+1, cut(key, 40))
		}
		profile[key] = strings.TrimSpace(value)
	}
	if profile == nil {
		return nil, fmt.Errorf("no such profile among %s", strings.Join(names, ", "))
	}
	return profile, nil
}

// home puts the home directory in place of a leading ~.
func home(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if dir, err := os.UserHomeDir(); err == nil {
			return filepath.Join(dir, rest)
		}
	}
	return path
}
