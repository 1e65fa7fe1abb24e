package sopsx

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/getsops/sops/v3"
	"go.yaml.in/yaml/v3" // sops' own parser: a scalar must be of the same type, or the MAC is another
	"gopkg.in/ini.v1"    // sops' own as well
)

// The readers below make the trees that sops' own make, without the comments.
// sops' own can't be had without its publishing to S3 and GCS, which is 15 MB
// of every binary; besides, they follow aliases without bound, recurse as deep
// as the file wants, and take a file that is cut off or goes on after its end.

// maxDepth is how deep a file may be.
const maxDepth = 100

var errDepth = fmt.Errorf("values more than %d deep", maxDepth)

func parse(data []byte, format Format) (sops.TreeBranch, error) {
	switch format {
	case YAML:
		return parseYAML(data)
	case JSON, Binary:
		return parseJSON(data)
	case Dotenv:
		return parseDotenv(data)
	case INI:
		return parseINI(data)
	}
	return nil, fmt.Errorf("the unknown format %q", string(format))
}

func parseYAML(data []byte) (sops.TreeBranch, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, errors.New("no YAML" + nearLine(err))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		// The names of a second document would be those of the first.
		return nil, errors.New("more than one YAML document, or no YAML after the first")
	}
	v, err := yamlValue(doc.Content[0], 0)
	if err != nil {
		return nil, err
	}
	branch, ok := v.(sops.TreeBranch)
	if !ok {
		return nil, errors.New("YAML that is no mapping")
	}
	return branch, nil
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d{1,8}):`)

// nearLine is all that is shown of an error of the parser's: the rest of it
// may quote the file.
func nearLine(err error) string {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		return " (line " + m[1] + ")"
	}
	return ""
}

func yamlValue(node *yaml.Node, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	switch node.Kind {
	case yaml.MappingNode:
		b := newBranch()
		for i := 0; i+1 < len(node.Content); i += 2 {
			var key any
			if node.Content[i].Kind == yaml.ScalarNode {
				key, _ = yamlValue(node.Content[i], depth+1)
			}
			name, ok := key.(string)
			if !ok {
				return nil, fmt.Errorf("a key that is no text (line %d)", node.Content[i].Line)
			}
			v, err := yamlValue(node.Content[i+1], depth+1)
			if err == nil {
				err = b.add(name, v)
			}
			if err != nil {
				return nil, err
			}
		}
		return b.branch, nil
	case yaml.SequenceNode:
		list := make([]any, 0, len(node.Content))
		for _, item := range node.Content {
			v, err := yamlValue(item, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.ScalarNode:
		var v any
		if node.Decode(&v) != nil {
			return nil, fmt.Errorf("a value that is not what its tag says (line %d)", node.Line)
		}
		return v, nil
	}
	return nil, fmt.Errorf("an alias (line %d), of which sops writes none", node.Line)
}

// branch is a TreeBranch in which each name is there once.
type branch struct {
	branch sops.TreeBranch
	names  map[string]bool
}

func newBranch() *branch {
	return &branch{sops.TreeBranch{}, map[string]bool{}}
}

func (b *branch) add(name string, v any) error {
	if b.names[name] {
		return fmt.Errorf("the key %.200q twice", name)
	}
	b.names[name] = true
	b.branch = append(b.branch, sops.TreeItem{Key: name, Value: v})
	return nil
}

func parseJSON(data []byte) (sops.TreeBranch, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // a float would lose digits of an integer
	bad := func(err error) error {
		if errors.Is(err, errNotJSON) {
			return fmt.Errorf("no JSON object (at byte %d)", dec.InputOffset())
		}
		return err
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, bad(errNotJSON)
	}
	branch, err := jsonObject(dec, 0)
	if err != nil {
		return nil, bad(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more after its JSON object")
	}
	return branch, nil
}

var errNotJSON = errors.New("not JSON")

func jsonObject(dec *json.Decoder, depth int) (sops.TreeBranch, error) {
	b := newBranch()
	for dec.More() {
		key, err := dec.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return nil, errNotJSON
		}
		v, err := jsonValue(dec, depth+1)
		if err == nil {
			err = b.add(name, v)
		}
		if err != nil {
			return nil, err
		}
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('}') {
		return nil, errNotJSON
	}
	return b.branch, nil
}

func jsonValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	t, err := dec.Token()
	if err != nil {
		return nil, errNotJSON
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return jsonObject(dec, depth)
		}
		if t != '[' {
			return nil, errNotJSON
		}
		list := []any{}
		for dec.More() {
			v, err := jsonValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		if t, err := dec.Token(); err != nil || t != json.Delim(']') {
			return nil, errNotJSON
		}
		return list, nil
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return int(n), nil
		}
		f, err := t.Float64()
		if err != nil {
			return nil, errors.New("a number that no float holds")
		}
		return f, nil
	}
	return t, nil
}

func parseDotenv(data []byte) (sops.TreeBranch, error) {
	b := newBranch()
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("neither NAME=VALUE nor a comment (line %d)", i+1)
		}
		if err := b.add(name, strings.ReplaceAll(value, `\n`, "\n")); err != nil {
			return nil, err
		}
	}
	return b.branch, nil
}

func parseINI(data []byte) (sops.TreeBranch, error) {
	file, err := ini.LoadSources(ini.LoadOptions{AllowNonUniqueSections: true}, data)
	if err != nil {
		return nil, errors.New("no INI") // its words quote the line
	}
	top := newBranch()
	for _, section := range file.Sections() {
		b := newBranch()
		for _, key := range section.Keys() {
			if err := b.add(key.Name(), key.Value()); err != nil {
				return nil, err
			}
		}
		if err := top.add(section.Name(), b.branch); err != nil {
			return nil, err
		}
	}
	return top.branch, nil
}
