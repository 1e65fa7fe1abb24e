package assert

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/files"
	"edge-actions/internal/verdict"

	"go.yaml.in/yaml/v4"
)

const (
	// maxAssertionsFile is far more than a person writes.
	maxAssertionsFile = 1 << 20
	// Timeout ends one assertion: git fsck of a forge takes minutes.
	Timeout = 2 * time.Hour
)

// Parse reads a document of assertions and refuses what it does not
// know. Every problem is a refusal named "input-assertions", joined.
//
//	assertions:
//	  - name: forgejo-database
//	    sqlite:
//	      path: /var/lib/forgejo/data/forgejo.db
//	      tables: {repository: 3, user: 1}
func Parse(data []byte) ([]Assertion, error) {
	var doc struct {
		Assertions []Assertion `yaml:"assertions"`
	}
	if len(data) > maxAssertionsFile {
		return nil, wrongAssertion("", fmt.Sprintf("at most %d bytes", maxAssertionsFile), fmt.Sprintf("%d", len(data)))
	}
	if err := yaml.Load(data, &doc, yaml.WithKnownFields()); err != nil {
		return nil, wrongAssertion("", "one YAML document with a list named assertions, and known fields only", fmt.Sprintf("%.600q", err.Error()))
	}
	if len(doc.Assertions) == 0 {
		return nil, wrongAssertion("", "at least one assertion", "none")
	}
	errs := blanks(data)
	names := map[string]bool{}
	for i := range doc.Assertions {
		a := &doc.Assertions[i]
		if names[a.Name] && a.Name != "" {
			errs = append(errs, wrongAssertion(a.Name, "a name of its own for each assertion", "one that is there twice"))
		}
		names[a.Name] = true
		if err := a.Validate(); err != nil {
			if a.Name == "" {
				err = fmt.Errorf("the %d. assertion: %w", i+1, err)
			}
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return doc.Assertions, nil
}

// Read reads the input "assertions", a file in the checkout, and
// returns it as it is, nil if it is not given. What is wrong with it is recorded
// in in.
func Read(in *action.Inputs) []byte {
	const name = "assertions"
	file := in.WorkspaceFile(name)
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		in.Wrong(name, "a file that can be read", files.WithoutPath(err).Error(), "correct the file or the input "+name)
		return nil
	}
	_, err = Parse(data)
	for _, c := range verdict.ChecksOf(err) {
		in.Wrong(name, c.Wanted, c.Got, c.Hint)
	}
	return data
}

// All returns what judges the assertions of a document in a restored tree;
// nil without a document.
func All(data []byte, environ []string, logf func(format string, args ...any)) func(ctx context.Context, restored, work string) []verdict.Check {
	if len(data) == 0 {
		return nil
	}
	return func(ctx context.Context, restored, work string) []verdict.Check {
		list, err := Parse(data)
		if err != nil {
			return verdict.ChecksOf(err)
		}
		var checks []verdict.Check
		for i := range list {
			logf("assertion %s", list[i].Name)
			checks = append(checks, list[i].Assert(ctx, restored, Tools{Env: environ, Timeout: Timeout, TempDir: work})...)
		}
		return checks
	}
}

// blanks are the fields that are there without a value. A field that was left
// out asks nothing; one that a template left empty was meant to ask something.
func blanks(data []byte) (errs []error) {
	var doc yaml.Node
	if err := yaml.Load(data, &doc); err != nil {
		return []error{wrongAssertion("", "one YAML document", fmt.Sprintf("%.600q", err.Error()))}
	}
	var walk func(n *yaml.Node, field string)
	walk = func(n *yaml.Node, field string) {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		switch {
		case n.Tag == "!!null", n.Kind == yaml.ScalarNode && n.Value == "" && field != "equals" && field != "argv", field != "" && field != "assertions" && n.Kind != yaml.ScalarNode && len(n.Content) == 0:
			errs = append(errs, wrongAssertion("", fmt.Sprintf("a value for each field that is there; leave %.100q out if it asks nothing", field), fmt.Sprintf("nothing in line %d", n.Line)))
		case n.Kind == yaml.MappingNode:
			for i := 1; i < len(n.Content); i += 2 {
				walk(n.Content[i], n.Content[i-1].Value)
			}
		default:
			for _, inner := range n.Content {
				walk(inner, field)
			}
		}
	}
	walk(&doc, "")
	return errs
}

func wrongAssertion(name, wanted, got string) error {
	if name != "" {
		wanted = fmt.Sprintf("in %.100q: %s", name, wanted)
	}
	return verdict.Refuse("input-assertions", wanted, got, "correct the file of assertions; the README of restic-restore-check shows each kind")
}

var assertionName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// problems collects what is wrong with one assertion.
type problems struct {
	name string
	errs []error
}

func (p *problems) wrong(wanted, got string) {
	p.errs = append(p.errs, wrongAssertion(p.name, wanted, got))
}

// path wants an absolute path as the snapshot has it.
func (p *problems) path(field, value string, required bool) {
	switch {
	case value == "" && !required:
	case value == "":
		p.wrong(field+", an absolute path as the snapshot has it", "nothing")
	case !path.IsAbs(value) || path.Clean(value) != value || value == "/" || strings.ContainsRune(value, 0):
		p.wrong(field+", an absolute path as the snapshot has it, in its shortest form", fmt.Sprintf("%.300q", value))
	}
}

// floor wants a number that is not negative.
func (p *problems) floor(field string, n int64) {
	if n < 0 {
		p.wrong(field+", a number that is not negative", fmt.Sprint(n))
	}
}

// Validate returns everything that is wrong with the assertion, joined.
func (a *Assertion) Validate() error {
	p := &problems{name: a.Name}
	if !assertionName.MatchString(a.Name) {
		p.wrong("a name of lower-case letters, digits, '.', '_' and '-', at most 64, a letter or digit first", fmt.Sprintf("%.100q", a.Name))
	}
	kinds := 0
	for _, k := range []struct {
		set      bool
		validate func(*problems)
	}{
		{a.SQLite != nil, a.SQLite.validate}, {a.Forgejo != nil, a.Forgejo.validate}, {a.RustDesk != nil, a.RustDesk.validate},
		{a.K3s != nil, a.K3s.validate}, {a.File != nil, a.File.validate}, {a.Command != nil, a.Command.validate},
	} {
		if k.set {
			kinds++
			k.validate(p)
		}
	}
	if kinds != 1 {
		p.wrong("exactly one of sqlite, forgejo, rustdesk, k3s, file, command", fmt.Sprintf("%d of them", kinds))
	}
	return errors.Join(p.errs...)
}
