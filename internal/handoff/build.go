package handoff

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

// Build makes the handoff of the nodes that mapping finds in tofuOutputs, the
// bytes of `tofu output -json`. Its error joins one refusal for every problem
// there is: "context", "input-state_lineage", "input-state_serial",
// "outputs-json", "output-missing", "output-sensitive", "secret", "no-nodes",
// "too-many-nodes", "unknown-field", "missing-value", "malformed-value" and
// "duplicate". No refusal shows the value of a secret.
func Build(tofuOutputs []byte, mapping *Mapping, c Context) (*Document, error) {
	c.Created = c.Created.UTC().Truncate(time.Second)
	b := &builder{used: map[string]any{}, keys: map[string]bool{}, uneven: map[string]bool{}}
	b.context(c)
	var err error
	if b.outputs, err = parseOutputs(tofuOutputs); err != nil {
		return nil, errors.Join(append(b.errs, err)...)
	}
	var nodes []Node
	var places []string
	for _, raw := range b.find(mapping) {
		nodes = append(nodes, b.node(raw))
		places = append(places, raw.at)
	}
	b.duplicates(nodes, places)
	if err := b.err(); err != nil {
		return nil, err
	}
	sortNodes(nodes)
	return &Document{Schema: SchemaName, Context: c, Nodes: nodes}, nil
}

type builder struct {
	outputs outputs
	used    map[string]any  // outputs and constants that were looked at, cleared of secrets
	keys    map[string]bool // that were looked at: whether they name a secret
	uneven  map[string]bool // lists that aren't about the same nodes, said already
	errs    []error
}

func (b *builder) err() error {
	if len(b.errs) == 0 {
		return nil
	}
	return errors.Join(b.errs...)
}

func (b *builder) refuse(id, wanted, got, hint string) {
	b.errs = append(b.errs, verdict.Refuse(id, wanted, got, hint))
}

// rawNode is what is known of a node before it is judged: the values by the
// document's fields, and the place of each in the outputs.
type rawNode struct {
	at     string // of the node itself
	key    string // in a map of nodes, its key
	values map[string]any
	places map[string]string // of a field, where it isn't at + "." + field
}

func (r *rawNode) place(field string) string {
	if p, ok := r.places[field]; ok {
		return p
	}
	return r.at + "." + field
}

// find collects the nodes that the mapping names.
func (b *builder) find(m *Mapping) []*rawNode {
	if m.from == nil {
		raw := &rawNode{at: "node"}
		b.take(raw, m, item{at: raw.at})
		return []*rawNode{raw}
	}
	from := strings.Join(m.from, ".")
	v, ok := b.use(m.from[0])
	if !ok {
		return nil
	}
	v, ok = lookup(v, m.from[1:])
	if !ok {
		b.refuse("missing-value", "nodes at "+from, "nothing", "correct from in the input mapping")
		return nil
	}
	var items []item
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			items = append(items, item{at: from + "[" + strconv.Itoa(i) + "]", index: i, count: len(v), value: e})
		}
	case map[string]any:
		if len(v) > 0 && !holdsObject(v) && m.fields == nil {
			b.refuse("malformed-value", "a list or a map of nodes in "+from, kind(v), "for a single node write a list of one: [{ name = …, … }]")
			return nil
		}
		for i, k := range slices.Sorted(maps.Keys(v)) {
			items = append(items, item{at: from + step(k), index: i, count: len(v), key: k, isKey: true, value: v[k]})
		}
	default:
		if (v != redacted{}) {
			b.refuse("malformed-value", "a list or a map of nodes in "+from, kind(v), "for a single node write a list of one, or use node in the input mapping")
		}
		return nil
	}
	if len(items) == 0 {
		b.refuse("no-nodes", "at least one node in "+from, "none", "apply the stack that makes the nodes; an empty handoff would let every later stage pass over nothing")
	}
	if len(items) > MaxNodes {
		b.refuse("too-many-nodes", fmt.Sprintf("at most %d nodes in %s", MaxNodes, from), strconv.Itoa(len(items)), "hand over fewer nodes at a time: one output and one step for each group")
		return nil
	}
	var raws []*rawNode
	for _, it := range items {
		if (it.value == redacted{}) {
			continue
		}
		raw := &rawNode{at: it.at, key: it.key}
		if m.fields != nil {
			b.take(raw, m, it)
		} else if raw.values, ok = it.value.(map[string]any); !ok {
			b.refuse("malformed-value", "a node as an object in "+it.at, kind(it.value),
				"write each node as an object with some of "+strings.Join(nodeFields, ", ")+"; for a single node write a list of one")
			continue
		} else {
			b.known(raw.values, nodeFields, it.at)
		}
		raws = append(raws, raw)
	}
	return raws
}

// holdsObject reports whether a member of a map may be a node: a map without
// one is a single node, or something else altogether.
func holdsObject(m map[string]any) bool {
	for _, v := range m {
		switch v.(type) {
		case map[string]any, redacted:
			return true
		}
	}
	return false
}

// known refuses the fields that the document doesn't have: a typing error in
// a field that may be left out would lose its value without a word.
func (b *builder) known(values map[string]any, fields []string, at string) {
	var strange []string
	for key, v := range values {
		if (v != redacted{}) && !slices.Contains(fields, key) {
			strange = append(strange, key)
		}
	}
	slices.Sort(strange)
	for _, key := range strange {
		b.refuse("unknown-field", "only known fields in "+at, quote(key), "the fields are "+strings.Join(fields, ", ")+"; rename it, put it under tags, or leave it out")
	}
}

// duplicates refuses a fact that two nodes claim, or an address that one node
// has twice. places says where each node was found.
func (b *builder) duplicates(nodes []Node, places []string) {
	type claim struct{ what, value string }
	owners := map[claim]string{}
	for i := range nodes {
		n := &nodes[i]
		claims := []claim{{"name", n.Name}, {"instance_id", n.InstanceID}, {"address", n.PrivateIP}, {"address", n.PublicIP}}
		if _, taken := owners[claim{"name", n.Name}]; !taken || n.Hostname != n.Name {
			claims = append(claims, claim{"hostname", n.Hostname}) // else it is the same problem twice
		}
		for _, c := range claims {
			first, taken := owners[c]
			switch {
			case c.value == "": // not known, or refused already
			case taken:
				b.refuse("duplicate", fmt.Sprintf("the %s %q once", c.what, c.value), "it in "+first+" and in "+places[i], "correct the output or the mapping")
			default:
				owners[c] = places[i]
			}
		}
	}
}
