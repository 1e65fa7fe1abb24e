package handoff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"edge-actions/internal/verdict"
)

// redacted stands where a secret was found. The secret itself is dropped
// there and then, so that no later message can show it.
type redacted struct{}

// outputs are the outputs of a stack, by name.
type outputs map[string]any

// parseOutputs reads what `tofu output -json` prints. encoding/json would
// replace invalid text and keep the last of two equal keys without a word;
// both are errors here.
func parseOutputs(data []byte) (outputs, error) {
	const hint = "pass what `tofu output -json` prints, unchanged; with opentofu/setup-opentofu set tofu_wrapper to false, because the wrapper adds lines of its own"
	refuse := func(got string) error {
		return verdict.Refuse("outputs-json", "the JSON of tofu output -json", got, hint)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, refuse("nothing")
	}
	if !utf8.Valid(data) {
		return nil, refuse("invalid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return nil, refuse(quote(err.Error()))
	}
	if dec.InputOffset() != int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return nil, refuse("text after the JSON value")
	}
	if m == nil {
		return nil, refuse("null")
	}
	if members(m) != colons(data) {
		return nil, refuse("the same key twice in one object")
	}
	return m, nil
}

// colons counts the members that the objects of valid JSON are written with:
// each has one colon, outside strings.
func colons(data []byte) int {
	n, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			inString = !inString
		case c == '\\':
			i++ // only strings have these, and what follows can't end one
		case c == ':' && !inString:
			n++
		}
	}
	return n
}

// members counts the members that the objects in v were left with.
func members(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		n = len(v)
		for _, e := range v {
			n += members(e)
		}
	case []any:
		for _, e := range v {
			n += members(e)
		}
	}
	return n
}

// use returns the value of an output, cleared of secrets, or false after a
// refusal. An output is judged once, however often it is used.
func (b *builder) use(name string) (any, bool) {
	if v, ok := b.used[name]; ok {
		return v, v != redacted{}
	}
	v, ok := b.judge(name)
	if !ok {
		v = redacted{}
	}
	b.used[name] = v
	return v, ok
}

func (b *builder) judge(name string) (any, bool) {
	raw, ok := b.outputs[name]
	if !ok {
		b.refuse("output-missing", "the output "+name, "outputs "+names(b.outputs),
			"declare it in the stack and apply, or name another one in the input output or mapping")
		return nil, false
	}
	meta, isObject := raw.(map[string]any)
	sensitive, isBool := meta["sensitive"].(bool)
	value, hasValue := meta["value"]
	if !isObject || !isBool || !hasValue {
		b.refuse("outputs-json", "output "+name+" as tofu output -json writes it, with sensitive and value", kind(raw),
			"pass what `tofu output -json` prints, unchanged")
		return nil, false
	}
	if sensitive {
		b.refuse("output-sensitive", "output "+name+" without secrets", "an output marked as sensitive",
			"hand over an output of facts only: a handoff is read by another repository")
		return nil, false
	}
	return b.scan(where{name: name}, value), true
}

// where is a place in a value. Almost none of them is ever named, so it is
// written out only then.
type where struct {
	in   *where
	name string // of the output, at the top
	key  string
	item int // in a list, counted from 1
}

func (w *where) String() string {
	switch {
	case w.in == nil:
		return w.name
	case w.item > 0:
		return w.in.String() + "[" + strconv.Itoa(w.item-1) + "]"
	}
	return w.in.String() + step(w.key)
}

// scan replaces every secret in v and refuses each by its place. The provider
// doesn't mark all of them: chap_secret of oci_core_volume_attachment is one.
func (b *builder) scan(at where, v any) any {
	const hint = "take it out of the output: a handoff is read by another repository"
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			place := where{in: &at, key: key}
			// A whole resource has the attribute even where nothing is set.
			if b.secretKey(key) && !unknown(v[key]) {
				b.refuse("secret", "no secret in the outputs", "a value under the key "+place.String(), hint)
				v[key] = redacted{}
				continue
			}
			v[key] = b.scan(place, v[key])
		}
	case []any:
		for i := range v {
			v[i] = b.scan(where{in: &at, item: i + 1}, v[i])
		}
	case string:
		for _, mark := range secretMarks {
			if strings.Contains(v, mark) {
				b.refuse("secret", "no secret in the outputs", "text with "+strconv.Quote(mark)+" in "+at.String(), hint)
				return redacted{}
			}
		}
	}
	return v
}

// secretKey remembers its answers: a thousand nodes have the same few keys.
func (b *builder) secretKey(key string) bool {
	secret, known := b.keys[key]
	if !known {
		secret = secretKey(key)
		b.keys[key] = secret
	}
	return secret
}

// secretEnds are how the names of secrets end, in lower case and without
// separators: "chap_secret", "userPassword", "tailscale-auth-key".
var secretEnds = []string{
	"secret", "secrets", "password", "passwords", "passwd", "passphrase", "token", "tokens",
	"privatekey", "privatekeypem", "privatekeyopenssh", "secretkey", "accesskey", "apikey", "authkey",
	"credential", "credentials", "kubeconfig",
}

// secretMarks are in the text of secrets and in no fact about a machine.
var secretMarks = []string{"PRIVATE KEY-----", "AGE-SECRET-KEY-", "tskey-"}

func secretKey(key string) bool {
	key = strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-. ", r) {
			return -1
		}
		return r
	}, strings.ToLower(key))
	return slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(key, end) })
}

// step renders a key as a part of a place: .name, or ["any text"].
func step(key string) string {
	if len(key) <= 120 && pathStep.MatchString(key) {
		return "." + key
	}
	return "[" + quote(key) + "]"
}

// kind names the kind of a value without showing it.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	case map[string]any:
		return "an object with the keys " + names(v)
	}
	return "a secret"
}

// names lists keys, which are foreign text, but not without end.
func names(m map[string]any) string {
	if len(m) == 0 {
		return "(none)"
	}
	const most = 20
	keys := slices.Sorted(maps.Keys(m))
	out := make([]string, 0, most+1)
	for _, k := range keys[:min(len(keys), most)] {
		out = append(out, quote(k))
	}
	if rest := len(keys) - most; rest > 0 {
		out = append(out, fmt.Sprintf("and %d more", rest))
	}
	return strings.Join(out, ", ")
}

// quote renders foreign text for a message: quoted, and cut where it is long.
func quote(s string) string { return cut(s, 120) }

func cut(s string, most int) string {
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%s… (%d bytes)", strconv.Quote(s[:most]), len(s))
}
