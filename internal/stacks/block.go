package stacks

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"edge-actions/internal/verdict"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Block is what Terramate's stack block says, as far as it is of use here.
// After, Before, Wants and WantedBy hold paths, or filters after "tag:".
type Block struct {
	ID, Name                             string
	Tags, After, Before, Wants, WantedBy []string
	Watch                                []string
}

const maxBlockFile = 1 << 20

// readBlock reads the stack block of one file, nil if it has none. name is
// what the file is called in messages.
func readBlock(path, name string) (*Block, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxBlockFile {
		return nil, wrongBlock(name, fmt.Sprintf("a file of at most %d bytes", maxBlockFile), fmt.Sprintf("%d", info.Size()))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file, diagnostics := hclsyntax.ParseConfig(data, name, hcl.InitialPos)
	if diagnostics.HasErrors() {
		return nil, wrongBlock(name, "a file that can be read", diagnosis(diagnostics))
	}
	var found *Block
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type != "stack" {
			continue
		}
		if found != nil {
			return found, wrongBlock(name, "one stack block in a directory", "a second one")
		}
		if found, err = parseBlock(b, name); err != nil {
			return found, err
		}
	}
	return found, nil
}

func parseBlock(b *hclsyntax.Block, name string) (*Block, error) {
	out := &Block{}
	var other string
	one := map[string]*string{"id": &out.ID, "name": &out.Name, "description": &other, "from_bundle_file": &other, "from_bundle_label": &other}
	many := map[string]*[]string{"tags": &out.Tags, "after": &out.After, "before": &out.Before, "wants": &out.Wants, "wanted_by": &out.WantedBy, "watch": &out.Watch}
	if len(b.Body.Blocks) > 0 {
		return out, wrongBlock(name, "attributes in the stack block", "a block in it")
	}
	for key, attr := range b.Body.Attributes {
		// An order that is not understood must not be passed over.
		if one[key] == nil && many[key] == nil {
			return out, wrongBlock(name, "attributes of a stack block that are known", fmt.Sprintf("%q", key))
		}
		v, diagnostics := attr.Expr.Value(nil)
		if diagnostics.HasErrors() || !v.IsWhollyKnown() {
			return out, wrongBlock(name, key+" as literal text: functions and variables are not evaluated here", diagnosis(diagnostics))
		}
		var ok bool
		if to := one[key]; to == nil {
			*many[key], ok = texts(v)
		} else if ok = v.Type() == cty.String && !v.IsNull(); ok {
			*to = v.AsString()
		}
		if !ok {
			return out, wrongBlock(name, key+" of the right kind", v.Type().FriendlyName())
		}
	}
	return out, out.check(name)
}

// texts returns a list of strings; null is an empty one.
func texts(v cty.Value) (out []string, ok bool) {
	if v.IsNull() {
		return nil, true
	}
	if !v.Type().IsTupleType() && !v.Type().IsListType() {
		return nil, false
	}
	for it := v.ElementIterator(); it.Next(); {
		_, item := it.Element()
		if item.Type() != cty.String || item.IsNull() || slices.Contains(out, item.AsString()) {
			return nil, false
		}
		out = append(out, item.AsString())
	}
	return out, true
}

var (
	stackID  = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	stackTag = regexp.MustCompile(`^[0-9a-z]([0-9a-z._/-]*[0-9a-z])?$`)
)

func (b *Block) check(name string) error {
	if b.ID != "" && !stackID.MatchString(b.ID) {
		return wrongBlock(name, "an id of at most 64 letters, digits, '-' and '_'", fmt.Sprintf("%q", b.ID))
	}
	for _, t := range b.Tags {
		if !stackTag.MatchString(t) {
			return wrongBlock(name, "tags of lower-case letters, digits and ._-/ within", fmt.Sprintf("%q", t))
		}
	}
	return nil
}

// matches reports whether the tags satisfy one of the clauses of a filter,
// which are separated by commas; the tags of a clause by colons.
func (b *Block) matches(filter string) (bool, error) {
	found := false
	for _, clause := range strings.Split(filter, ",") {
		all := true
		for _, t := range strings.Split(clause, ":") {
			if !stackTag.MatchString(t) {
				return false, fmt.Errorf("%q is no tag", t)
			}
			all = all && slices.Contains(b.Tags, t)
		}
		found = found || all
	}
	return found, nil
}

func wrongBlock(file, wanted, got string) error {
	return verdict.Refuse("stack-file", fmt.Sprintf("%s in %q", wanted, file), got, "correct the file; Terramate's documentation has the stack block")
}

// diagnosis is the first error, which is foreign text.
func diagnosis(d hcl.Diagnostics) string {
	for _, one := range d {
		if one.Severity == hcl.DiagError {
			line := 0
			if one.Subject != nil {
				line = one.Subject.Start.Line
			}
			return fmt.Sprintf("line %d: %.300q", line, one.Summary+": "+one.Detail)
		}
	}
	return "a value that is not known"
}
