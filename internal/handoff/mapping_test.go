package handoff

import (
	"strings"
	"testing"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestMappingErr(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"not YAML":               {"nodes: [", "wanted one YAML document"},
		"two documents":          {"nodes: {from: a}\n---\nnodes: {from: b}", "wanted one YAML document"},
		"a comment alone":        {"# nothing", "wanted one YAML document"},
		"a list":                 {"- nodes", "wanted the mapping to be an object"},
		"null":                   {"~", "wanted the mapping to be an object"},
		"neither":                {"{}", "wanted nodes or node, found neither"},
		"an unknown key":         {"nods: {from: a}", `found "nods" in line 1`},
		"both":                   {"nodes: {from: a}\nnode: {name: b}", "wanted one of nodes and node, found both in line 2"},
		"nothing in nodes":       {"nodes: {}", "wanted from, fields or both in nodes"},
		"null in nodes":          {"nodes:", "found nothing in line 1"},
		"from a number":          {"nodes: {from: 7}", `wanted a path of names and list indices with dots between them in nodes.from, found "7"`},
		"from a bad path":        {"nodes: {from: a..b}", `found "a..b"`},
		"from an expression":     {"nodes: {from: '${{ secrets.X }}'}", `found "${{ secrets.X }}"`},
		"from the item":          {"nodes: {from: .}", `found "."`},
		"from a list":            {"nodes: {from: [a]}", "found a list"},
		"no field":               {"nodes: {fields: {}}", "wanted at least one field in nodes.fields"},
		"an unknown field":       {"nodes:\n  fields:\n    pubic_ip: x", `found "pubic_ip" in line 3`},
		"a field twice":          {"nodes: {fields: {name: a, name: b}}", `found "name" twice`},
		"a source twice":         {"nodes: {fields: {name: {item: a, item: b}}}", `found "item" twice`},
		"an alias":               {"nodes: {from: &a b, fields: {name: *a}}", "found an alias"},
		"a merge key":            {"nodes: {fields: {<<: {name: a}}}", `found "<<"`},
		"no source":              {"nodes: {fields: {name: {}}}", "wanted exactly one of item, each, output, value in nodes.fields.name, found 0"},
		"two sources":            {"nodes: {fields: {name: {item: a, value: b}}}", "found 2"},
		"an unknown source":      {"nodes: {fields: {name: {from: a}}}", `found "from"`},
		"each for one node":      {"node: {name: {each: a}}", `wanted only output, value in node.name, found "each"`},
		"the item for one node":  {"node: {name: .}", `found "."`},
		"an empty path":          {"node: {name: ''}", `found ""`},
		"a null path":            {"node: {name: ~}", "found nothing"},
		"a path with a line":     {`node: {name: "a\n::add-path::/evil"}`, `found "a\n::add-path::/evil"`},
		"nothing in node":        {"node: {}", "wanted at least one field in node"},
		"fields of text":         {"node: {name: {output: a, fields: {x: y}}}", `found "fields"`},
		"an unknown attachment":  {"node: {volume_attachments: {output: a, fields: {chap_secret: x}}}", `found "chap_secret"`},
		"a bad attachment path":  {"node: {volume_attachments: {output: a, fields: {device: ''}}}", `node.volume_attachments.fields.device, found ""`},
		"a null constant":        {"node: {name: {value: ~}}", "to be text (in quotes if it looks like something else)"},
		"a fractional constant":  {"node: {name: {value: 1.5}}", `found "1.5" in line 1`},
		"a date as a constant":   {"node: {tags: {value: {since: 2026-11-23}}}", `found "2026-11-23" in line 1`},
		"a key twice in a value": {"node: {tags: {value: {a: b, a: c}}}", `wanted plain keys in node.tags.value, each once, found "a"`},
		"an alias in a value":    {"node: {name: &x {value: a}, tags: {value: *x}}", "found an alias"},
	} {
		_, err := ParseMapping(tt.text, "edge_nodes")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: wanted an error with %q, got %v", name, tt.want, err)
			continue
		}
		for _, c := range verdict.ChecksOf(err) {
			if c.ID != "input-mapping" || !strings.Contains(c.Hint, "mapping") || strings.Contains(c.Got, "\n") {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
}

func TestMappingListsEverything(t *testing.T) {
	_, err := ParseMapping("nodes:\n  form: a\n  fields:\n    name: a b\n    pubic_ip: c\n    region: {value: 1.5}\n    tags: {item: a, each: b}\n", "edge nodes")
	var got []string
	for _, c := range verdict.ChecksOf(err) {
		got = append(got, c.ID+": "+c.Got)
	}
	want := []string{
		`input-output: "edge nodes"`, `input-mapping: "form" in line 2`, `input-mapping: "pubic_ip" in line 5`, `input-mapping: "a b" in line 4`,
		`input-mapping: "1.5" in line 6`, `input-mapping: 2 in line 7`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestOutputName(t *testing.T) {
	for _, bad := range []string{"", "edge nodes", "1st", "a.b", "-x", "a\nb", "${{ x }}"} {
		if _, err := ParseMapping("", bad); !verdict.Has(err, "input-output") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// The conventional name is where a mapping looks that names no other.
	m, err := ParseMapping("nodes: {fields: {name: display_name, instance_id: id, private_ip: ip}}", "machines")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := Build([]byte(`{"machines": {"sensitive": false, "value": [{"display_name": "edge-1", "id": "i-1", "ip": "10.0.0.1", "more": {}}]}}`), m, about)
	if err != nil || doc.Nodes[0].Name != "edge-1" {
		t.Errorf("%+v, %v", doc, err)
	}
}

// A constant is judged in every build, not only in the first.
func TestMappingIsNotUsedUp(t *testing.T) {
	m, err := ParseMapping("node: {name: {value: edge-1}, instance_id: {value: i-1}, private_ip: {value: 10.0.0.1}, tags: {value: {note: AGE-SECRET-KEY-1HUNTER2}}}", "edge_nodes")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Build([]byte("{}"), m, about); !verdict.Has(err, "secret") || strings.Contains(err.Error(), "HUNTER2") {
			t.Errorf("got %v", err)
		}
	}
}
