package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"edge-actions/scripts/index/catalog"

	"go.yaml.in/yaml/v4"
)

const header = "# Every action, its inputs and outputs. Generated from actions/*/action.yml:\n# go run ./scripts/index\n"

// run brings the index and the READMEs below root up to date, or with check
// says what is not; and holds the change log against the actions.
func run(root string, check bool) error {
	index, wanted, order, err := collect(root)
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range order {
		old, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		switch {
		case bytes.Equal(old, []byte(wanted[path])):
		case check:
			errs = append(errs, fmt.Errorf("%s is out of date; run: go run ./scripts/index\n%s", path, diff(string(old), wanted[path])))
		default:
			if err := os.WriteFile(path, []byte(wanted[path]), 0o644); err != nil {
				return err
			}
		}
	}
	return errors.Join(append(errs, versioned(root, index))...)
}

// collect reads every action below root, and returns the files that follow
// from them, in order.
func collect(root string) (index *catalog.Catalog, wanted map[string]string, order []string, err error) {
	dirs, err := filepath.Glob(filepath.Join(root, "actions", "*"))
	if err != nil {
		return nil, nil, nil, err
	}
	index, wanted = &catalog.Catalog{}, map[string]string{}
	var errs []error
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			continue
		}
		a, err := load(dir)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		index.Actions = append(index.Actions, a)
		readme := filepath.Join(dir, "README.md")
		text, err := tables(readme, a)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		wanted[readme] = text
		order = append(order, readme)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, nil, err // an index of half the actions would be wrong
	}
	data, err := yaml.Marshal(index)
	if err != nil {
		return nil, nil, nil, err
	}
	path := filepath.Join(root, "action-index.yaml")
	wanted[path] = header + string(data)
	return index, wanted, append(order, path), nil
}

// tables returns the README with its tables made anew.
func tables(path string, a catalog.Action) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var in, out strings.Builder
	in.WriteString("| input | default | what it is |\n|---|---|---|\n")
	for _, i := range a.Inputs {
		def := ""
		switch {
		case i.Required:
			def = "**required**"
		case i.Default != "":
			def = "`" + cell(i.Default) + "`"
		}
		fmt.Fprintf(&in, "| `%s` | %s | %s |\n", i.Name, def, cell(i.Description))
	}
	out.WriteString("| output | what it is |\n|---|---|\n")
	for _, o := range a.Outputs {
		fmt.Fprintf(&out, "| `%s` | %s |\n", o.Name, cell(o.Description))
	}
	text, err := between(string(data), "inputs", in.String())
	if err == nil {
		text, err = between(text, "outputs", out.String())
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

// between puts content between the markers of that name.
func between(text, name, content string) (string, error) {
	open, end := "<!-- "+name+" -->", "<!-- /"+name+" -->"
	if strings.Count(text, open) != 1 || strings.Count(text, end) != 1 || strings.Index(text, open) > strings.Index(text, end) {
		return "", fmt.Errorf("want %s and %s, once, in that order", open, end)
	}
	before, rest, _ := strings.Cut(text, open)
	_, after, _ := strings.Cut(rest, end)
	return before + open + "\n" + content + end + after, nil
}

func cell(s string) string {
	return strings.NewReplacer("\n", " ", "|", "\\|", "<", "&lt;").Replace(s)
}

// diff shows the lines from the first to the last that differ.
func diff(old, new string) string {
	a, b := strings.Split(old, "\n"), strings.Split(new, "\n")
	start := 0
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b, start = a[1:], b[1:], start+1
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var out strings.Builder
	fmt.Fprintf(&out, "@@ line %d @@\n", start+1)
	for _, part := range []struct {
		mark  string
		lines []string
	}{{"-", a}, {"+", b}} {
		for i, line := range part.lines {
			if i == 20 {
				fmt.Fprintf(&out, "%s … and %d lines more\n", part.mark, len(part.lines)-i)
				break
			}
			out.WriteString(part.mark + line + "\n")
		}
	}
	return out.String()
}
