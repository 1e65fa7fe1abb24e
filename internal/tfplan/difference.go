package tfplan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	// Sensitive stands for a value that the provider or the configuration has
	// marked.
	Sensitive = "(sensitive)"
	// Withheld stands for a value that nobody has marked, under a name that
	// secrets have: a provider forgets some, as chap_secret of an attachment.
	Withheld = "(withheld)"
	// none stands for what is not there at all.
	none = "(none)"

	maxValue = 200 // bytes of a value that are shown
)

// attributes returns what differs between before and after, at most so much of
// it, and how much more there is; sensitive values are words.
func (c *jsonChange) attributes(most int) (found []Attribute, more int, err error) {
	var v [4]any
	for i, raw := range []json.RawMessage{c.Change.Before, c.Change.After, c.Change.BeforeSensitive, c.Change.AfterSensitive} {
		if len(raw) == 0 {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber() // an id of 19 digits is no float
		if err := dec.Decode(&v[i]); err != nil {
			return nil, 0, err
		}
	}
	d := differ{most: most}
	d.walk("", v[0], v[1], v[2], v[3])
	return d.found, d.more, nil
}

// differ collects differences. A mask is true where all is sensitive, or has
// the shape of the value as far as something in it is; either side's counts
// for both, because a value that was sensitive is not less so now.
type differ struct {
	found      []Attribute
	most, more int
}

// missing is the side of a pair that is not there, which null is not.
type missing struct{}

func (d *differ) walk(path string, before, after, maskB, maskA any) {
	b, isMapB := before.(map[string]any)
	a, isMapA := after.(map[string]any)
	if isMapB && isMapA && maskB != true && maskA != true && !secretName(path) {
		keys := map[string]bool{}
		for _, m := range []map[string]any{b, a} {
			for key := range m {
				keys[key] = true
			}
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			d.walk(join(path, key), get(b, key), get(a, key), maskAt(maskB, key), maskAt(maskA, key))
		}
		return
	}
	bl, isListB := before.([]any)
	al, isListA := after.([]any)
	if isListB && isListA && maskB != true && maskA != true && !secretName(path) {
		for i := range max(len(bl), len(al)) {
			d.walk(fmt.Sprintf("%s[%d]", path, i), item(bl, i), item(al, i), maskItem(maskB, i), maskItem(maskA, i))
		}
		return
	}
	if equal(before, after) {
		return
	}
	if len(d.found) == d.most {
		d.more++
		return
	}
	d.found = append(d.found, Attribute{Path: path, Before: show(render(path, before, maskB, maskA)), After: show(render(path, after, maskB, maskA))})
}

func get(m map[string]any, key string) any {
	if v, ok := m[key]; ok {
		return v
	}
	return missing{}
}

func item(l []any, i int) any {
	if i < len(l) {
		return l[i]
	}
	return missing{}
}

func maskAt(mask any, key string) any {
	if m, ok := mask.(map[string]any); ok {
		return m[key]
	}
	return mask
}

func maskItem(mask any, i int) any {
	if l, ok := mask.([]any); ok {
		if i < len(l) {
			return l[i]
		}
		return nil
	}
	return mask
}

func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y) && (a == missing{}) == (b == missing{})
}

// render is a value in one short line, without what a mask covers.
func render(path string, v, maskB, maskA any) string {
	if v == (missing{}) {
		return none
	}
	if v == nil {
		return "null"
	}
	v = redact(path, v, maskB, maskA)
	if word, ok := v.(hidden); ok {
		return string(word)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return none
	}
	s := strings.TrimSpace(b.String())
	if len(s) > maxValue {
		s = strings.ToValidUTF8(s[:maxValue], "") + "…"
	}
	return s
}

// hidden is a value that is not shown.
type hidden string

func redact(path string, v, maskB, maskA any) any {
	if v == nil {
		return nil
	}
	if maskB == true || maskA == true {
		return hidden(Sensitive)
	}
	if secretName(path) {
		return hidden(Withheld)
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			out[key] = redact(join(path, key), inner, maskAt(maskB, key), maskAt(maskA, key))
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = redact(path+"[]", inner, maskItem(maskB, i), maskItem(maskA, i))
		}
		return out
	case string:
		if strings.Contains(v, "PRIVATE KEY-----") || strings.Contains(v, "AGE-SECRET-KEY-") {
			return hidden(Withheld)
		}
	}
	return v
}

// secretEnds are how the names of secrets end, without case and separators.
var secretEnds = []string{
	"secret", "secrets", "password", "passwords", "passwd", "passphrase", "token", "tokens", "privatekey", "privatekeypem",
	"privatekeyopenssh", "secretkey", "accesskey", "apikey", "authkey", "credential", "credentials", "kubeconfig",
}

// secretName reports whether the last name of a path is one that secrets have.
func secretName(path string) bool {
	path = strings.TrimRight(path, "[]0123456789")
	path = strings.NewReplacer("_", "", "-", "", `"`, "").Replace(strings.ToLower(path))
	return slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(path, end) })
}

// join adds a name to a path; one that could be mistaken for a path is quoted.
func join(path, name string) string {
	if name == "" || strings.ContainsAny(name, ".[]\"") {
		return path + "[" + strconv.Quote(name) + "]"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}
