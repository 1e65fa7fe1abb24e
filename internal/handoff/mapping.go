package handoff

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"edge-actions/internal/verdict"

	"go.yaml.in/yaml/v4"
)

// Mapping says where in a stack's outputs the facts of the nodes are.
type Mapping struct {
	// from is the path of the list or map of nodes; nil for a single node
	// whose facts are outputs of their own.
	from []string
	// fields says where each field comes from; nil means that the objects have
	// the fields of the document already.
	fields map[string]source
}

// source is where the value of one field is.
type source struct {
	kind sourceKind
	path []string
	// value is a constant, as JSON would decode it.
	value any
	// fields renames the fields of volume attachments; nil leaves them.
	fields map[string][]string
}

type sourceKind string

const (
	fromItem   sourceKind = "item"   // in the node's own object
	fromEach   sourceKind = "each"   // in another list or map, at the node's place
	fromOutput sourceKind = "output" // the same for every node
	constant   sourceKind = "value"
)

var (
	pathStep   = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	outputName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
)

// ParseMapping reads a mapping in YAML. Empty text is the conventional form: a
// list or a map of objects with the fields of the document, in the output of
// the given name. That name is also where a mapping of nodes looks unless it
// has "from". Every problem is a refusal named "input-mapping" or
// "input-output", joined.
//
//	nodes:                      # a list or a map of objects with other fields
//	  from: instances           # an output, or a path in one: stack.instances
//	  fields:
//	    name: display_name      # a path in the object, or "." for all of it
//	    instance_id: {each: ids}        # another list, at the same place
//	    subnet_id: {output: subnet_id}  # one output for all of them
//	    region: {value: eu-frankfurt-1} # a constant
//
//	node:                       # a single node, made of outputs
//	  name: {value: edge-1}
//	  instance_id: instance_id  # short for {output: instance_id}
//	  private_ip: instance_private_ip
//	  volume_attachments: {output: disks, fields: {attachment_type: type, device: path}}
func ParseMapping(text, output string) (*Mapping, error) {
	p := &mappingParser{}
	if !outputName.MatchString(output) {
		p.errs = append(p.errs, verdict.Refuse("input-output", "the name of an output", quote(output), "name it as the stack declares it, for example edge_nodes"))
	}
	m := &Mapping{from: []string{output}}
	if strings.TrimSpace(text) != "" {
		p.document(text, m)
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return m, nil
}

type mappingParser struct{ errs []error }

func (p *mappingParser) wrong(n *yaml.Node, wanted, got string) {
	if n != nil && n.Line > 0 {
		got += fmt.Sprintf(" in line %d", n.Line)
	}
	p.errs = append(p.errs, verdict.Refuse("input-mapping", wanted, got, "correct the input mapping; the README of emit-handoff shows both forms"))
}

func (p *mappingParser) document(text string, m *Mapping) {
	var doc yaml.Node
	if err := yaml.Load([]byte(text), &doc); err != nil {
		p.wrong(nil, "one YAML document", quote(err.Error()))
		return
	}
	if len(doc.Content) != 1 {
		p.wrong(nil, "nodes or node", "nothing")
		return
	}
	top := p.object(doc.Content[0], "the mapping", []string{"nodes", "node"})
	nodes, node := top["nodes"], top["node"]
	switch {
	case nodes != nil && node != nil:
		p.wrong(node, "one of nodes and node", "both")
	case nodes != nil:
		parts := p.object(nodes, "nodes", []string{"from", "fields"})
		if from := parts["from"]; from != nil {
			m.from = p.path(from, "nodes.from", false)
		}
		if parts["fields"] != nil {
			m.fields = p.fields(parts["fields"], "nodes.fields", fromItem)
		} else if parts["from"] == nil {
			p.wrong(nodes, "from, fields or both in nodes", "neither")
		}
	case node != nil:
		m.from = nil
		m.fields = p.fields(node, "node", fromOutput)
	default:
		p.wrong(doc.Content[0], "nodes or node", "neither")
	}
}

// fields reads the sources of a node's fields. plain is what a bare string
// stands for.
func (p *mappingParser) fields(n *yaml.Node, at string, plain sourceKind) map[string]source {
	out := map[string]source{}
	parts := p.object(n, at, nodeFields)
	if len(parts) == 0 {
		p.wrong(n, "at least one field in "+at, "none")
	}
	for _, name := range nodeFields {
		if parts[name] == nil {
			continue
		}
		if s, ok := p.source(parts[name], at+"."+name, name, plain); ok {
			out[name] = s
		}
	}
	return out
}

func (p *mappingParser) source(n *yaml.Node, at, field string, plain sourceKind) (source, bool) {
	if n.Kind != yaml.MappingNode {
		path := p.path(n, at, plain == fromItem)
		return source{kind: plain, path: path}, path != nil
	}
	kinds := []string{string(fromOutput), string(constant)}
	if plain == fromItem {
		kinds = []string{string(fromItem), string(fromEach), string(fromOutput), string(constant)}
	}
	known := kinds
	if field == "volume_attachments" {
		known = append(slices.Clone(kinds), "fields")
	}
	parts := p.object(n, at, known)
	var s source
	found := 0
	for _, k := range kinds {
		part := parts[k]
		if part == nil {
			continue
		}
		found++
		s.kind = sourceKind(k)
		if s.kind == constant {
			s.value = p.constant(part, at+".value")
			continue
		}
		if s.path = p.path(part, at+"."+k, s.kind == fromItem); s.path == nil {
			return s, false
		}
	}
	if found != 1 {
		p.wrong(n, "exactly one of "+strings.Join(kinds, ", ")+" in "+at, strconv.Itoa(found))
		return s, false
	}
	if parts["fields"] != nil {
		s.fields = map[string][]string{}
		renames := p.object(parts["fields"], at+".fields", attachmentFields)
		for _, name := range attachmentFields {
			if renames[name] != nil {
				s.fields[name] = p.path(renames[name], at+".fields."+name, true)
			}
		}
	}
	return s, true
}

// path reads a dotted path, such as "instances" or "vnics.0.private_ip". The
// path "." is the whole item.
func (p *mappingParser) path(n *yaml.Node, at string, inItem bool) []string {
	wanted := "a path of names and list indices with dots between them in " + at
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		p.wrong(n, wanted, nodeKind(n))
		return nil
	}
	if inItem && n.Value == "." {
		return []string{}
	}
	steps := strings.Split(n.Value, ".")
	for i, s := range steps {
		if !pathStep.MatchString(s) || i == 0 && !inItem && !outputName.MatchString(s) {
			p.wrong(n, wanted, quote(n.Value))
			return nil
		}
	}
	return steps
}

// object returns the members of a mapping node: known ones, each there once.
func (p *mappingParser) object(n *yaml.Node, at string, known []string) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		p.wrong(n, at+" to be an object with some of "+strings.Join(known, ", "), nodeKind(n))
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || !slices.Contains(known, key.Value):
			p.wrong(key, "only "+strings.Join(known, ", ")+" in "+at, quote(key.Value))
		case out[key.Value] != nil:
			p.wrong(key, "each key once in "+at, quote(key.Value)+" twice")
		default:
			out[key.Value] = value
		}
	}
	return out
}

// constant turns a YAML value into what JSON would have decoded to.
func (p *mappingParser) constant(n *yaml.Node, at string) any {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, twice := out[key]; twice || n.Content[i].Kind != yaml.ScalarNode {
				p.wrong(n.Content[i], "plain keys in "+at+", each once", quote(key))
			}
			out[key] = p.constant(n.Content[i+1], at)
		}
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			out = append(out, p.constant(c, at))
		}
		return out
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!str":
			return n.Value
		case "!!int":
			return json.Number(n.Value)
		case "!!bool":
			return n.Value == "true"
		}
	}
	p.wrong(n, at+" to be text (in quotes if it looks like something else), a whole number, true, false, a list or an object", nodeKind(n))
	return nil
}

func nodeKind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return quote(n.Value)
}
