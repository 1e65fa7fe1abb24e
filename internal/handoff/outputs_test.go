package handoff

import (
	"encoding/json"
	"strings"
	"testing"

	"edge-actions/internal/verdict"
)

func TestOutputsJSON(t *testing.T) {
	good := string(outputsOf(t, nodes(1)))
	for name, data := range map[string]string{
		"nothing":               "",
		"white space":           " \n",
		"null":                  "null",
		"a list":                "[]",
		"text":                  "edge-1",
		"cut off":               good[:len(good)-2],
		"two values":            good + "{}",
		"text after it":         good + "\n::debug::exitcode: 0\n",
		"the wrapper's line":    "[command]/opt/tofu output -json\n" + good,
		"invalid UTF-8":         strings.Replace(good, "edge-0000", "edge-\xff", 1),
		"a byte order mark":     "\ufeff" + good,
		"a key twice":           strings.Replace(good, `"name":`, `"name":"edge-9","name":`, 1),
		"an output twice":       strings.TrimSuffix(good, "}") + `,"edge_nodes":{}}`,
		"a key twice, escaped":  strings.Replace(good, `"name":`, `"n\u0061me":"\\\":","name":`, 1),
		"an output of no shape": `{"edge_nodes": 7}`,
		"an unclear output":     `{"edge_nodes": {"value": []}}`,
		"an unclear mark":       strings.Replace(good, `"sensitive":false`, `"sensitive":"false"`, 1),
		"no value":              `{"edge_nodes": {"sensitive": false}}`,
		"too deep":              strings.Repeat("[", 20_000),
	} {
		_, err := Build([]byte(data), conventional(t), about)
		if c := verdict.ChecksOf(err); len(c) != 1 || c[0].ID != "outputs-json" || c[0].Hint == "" {
			t.Errorf("%s: wanted one refusal named outputs-json, got %v", name, err)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: a message of %d bytes", name, len(err.Error()))
		}
	}
	for name, data := range map[string]string{
		"as it is":          good,
		"with white space":  "\n " + good + "\r\n\t ",
		"colons in strings": strings.Replace(good, `"role":"edge"`, `"a:b":"c:\\","d\":":"\":"`, 1),
	} {
		if _, err := Build([]byte(data), conventional(t), about); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A hostile name or key stays inside quotes wherever it is shown.
func TestHostileKeys(t *testing.T) {
	for _, key := range []string{"x\n::add-path::/evil", "x\r\n::set-output name=a::b", "${{ secrets.X }}", "\x1b[2J", strings.Repeat("k", 70<<10), "\u202e", "a.b[0]", ""} {
		for name, v := range map[string]any{
			"an unknown field":    []any{map[string]any{"name": "edge-1", "instance_id": "i-1", "private_ip": "10.0.0.1", key: "x"}},
			"a key of a map":      map[string]any{key: map[string]any{"instance_id": "i-1", "private_ip": "10.0.0.1"}},
			"keys of no node":     map[string]any{key: "x"},
			"a secret in a place": []any{map[string]any{key: map[string]any{key: map[string]any{"password": "hunter2"}}}},
		} {
			_, err := Build(outputsOf(t, v), conventional(t), about)
			if err == nil {
				t.Errorf("%s %.40q: accepted", name, key)
				continue
			}
			for _, c := range verdict.ChecksOf(err) {
				if text := c.Wanted + c.Got + c.Hint; strings.ContainsAny(text, "\n\r\x1b\u202e") || len(text) > 2000 || strings.Contains(text, "hunter2") {
					t.Errorf("%s %.40q: not fit for a log: %.300q", name, key, text)
				}
			}
		}
	}
	_, err := Build(mustJSON(t, map[string]any{"x\n::add-path::/evil": 1}), conventional(t), about)
	if c := verdict.ChecksOf(err); len(c) != 1 || strings.Contains(c[0].Got, "\n") {
		t.Errorf("the name of an output: %v", err)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
