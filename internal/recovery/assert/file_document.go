package assert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// valueStep is one of .name, ."any name" and [3].
var valueStep = regexp.MustCompile(`^(?:\.([A-Za-z0-9_-]+)|\.("(?:[^"\\]|\\.)*")|\[([0-9]{1,9})\])`)

func parseValuePath(text string) ([]any, error) {
	var steps []any
	for rest := text; rest != ""; {
		m := valueStep.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("%.100q, where %.40q begins no step", text, rest)
		}
		rest = rest[len(m[0]):]
		switch {
		case m[1] != "":
			steps = append(steps, m[1])
		case m[2] != "":
			name, err := strconv.Unquote(m[2])
			if err != nil {
				return nil, fmt.Errorf("%.100q, where %.40q is not quoted well", text, m[2])
			}
			steps = append(steps, name)
		default:
			n, _ := strconv.Atoi(m[3])
			steps = append(steps, n)
		}
	}
	if len(steps) == 0 {
		return nil, errors.New("nothing")
	}
	return steps, nil
}

func lookUp(value any, steps []any) (any, bool) {
	for _, step := range steps {
		switch s := step.(type) {
		case int:
			list, is := value.([]any)
			if !is || s >= len(list) {
				return nil, false
			}
			value = list[s]
		case string:
			object, is := value.(map[string]any)
			if !is {
				return nil, false
			}
			if value, is = object[s]; !is {
				return nil, false
			}
		}
	}
	return value, true
}

func decodeJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out any
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one document")
	}
	return out, uniqueKeys(json.NewDecoder(bytes.NewReader(data)))
}

var errKeyTwice = errors.New("one key twice in one object")

// uniqueKeys reads one value. Of two keys of one name some programs take the
// first and some the last, so what such a document says is not known. It has
// been decoded before, so it is valid and not too deep.
func uniqueKeys(d *json.Decoder) error {
	open, err := d.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('{') && open != json.Delim('[') {
		return nil
	}
	seen := map[any]bool{}
	for d.More() {
		if open == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return err
			}
			if seen[key] {
				return errKeyTwice
			}
			seen[key] = true
		}
		if err := uniqueKeys(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func decodeYAML(data []byte) (any, error) {
	var out any
	if err := yaml.Load(data, &out); err != nil {
		return nil, err
	}
	return withStringKeys(out)
}

// withStringKeys writes keys that are numbers or booleans as strings, so that a
// path can name them.
func withStringKeys(value any) (_ any, err error) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if v[key], err = withStringKeys(inner); err != nil {
				return nil, err
			}
		}
	case map[any]any:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			name := fmt.Sprint(key)
			if _, there := out[name]; there { // 80 and "80"
				return nil, errKeyTwice
			}
			if out[name], err = withStringKeys(inner); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		for i, inner := range v {
			if v[i], err = withStringKeys(inner); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}
