package tfplan

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func driftJSON(resources ...string) string {
	return `{"format_version":"1.2","terraform_version":"1.12.6","resource_drift":[` + strings.Join(resources, ",") + `]}`
}

func readDrift(t *testing.T, in string) *Drift {
	t.Helper()
	d, err := ReadDrift(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The attributes that differ, and the ways in which a value could come out
// although it is sensitive.
func TestDriftedAttributes(t *testing.T) {
	for name, c := range map[string]struct {
		before, after, maskB, maskA string
		want                        []Attribute
	}{
		"nothing":            {`{"a":1}`, `{"a":1}`, `{}`, `{}`, nil},
		"a number":           {`{"a":1234567890123456789}`, `{"a":1234567890123456788}`, `{}`, `{}`, []Attribute{{"a", "1234567890123456789", "1234567890123456788"}}},
		"text":               {`{"a":"<x>"}`, `{"a":null}`, `{}`, `{}`, []Attribute{{"a", `"<x>"`, "null"}}},
		"deep":               {`{"a":[{"b":{"c":1}}]}`, `{"a":[{"b":{"c":2}}]}`, `{}`, `{}`, []Attribute{{"a[0].b.c", "1", "2"}}},
		"null is not absent": {`{"a":null}`, `{}`, `{}`, `{}`, []Attribute{{"a", "null", "(none)"}}},
		"another kind":       {`{"a":[1]}`, `{"a":{"b":1}}`, `{}`, `{}`, []Attribute{{"a", "[1]", `{"b":1}`}}},
		"an odd name":        {`{"a":{"x.y":1}}`, `{"a":{"x.y":2}}`, `{}`, `{}`, []Attribute{{`a["x.y"]`, "1", "2"}}},
		"an empty name":      {`{"":1}`, `{"":2}`, `{}`, `{}`, []Attribute{{`[""]`, "1", "2"}}},

		"sensitive before":              {`{"a":"s3cr3t"}`, `{"a":"s3cr3u"}`, `{"a":true}`, `{}`, []Attribute{{"a", Sensitive, Sensitive}}},
		"sensitive after":               {`{"a":"s3cr3t"}`, `{"a":"s3cr3u"}`, `{}`, `{"a":true}`, []Attribute{{"a", Sensitive, Sensitive}}},
		"all of it":                     {`{"a":"s3cr3t"}`, `{"a":"s3cr3u"}`, `true`, `{}`, []Attribute{{"", Sensitive, Sensitive}}},
		"within a list":                 {`{"a":["x","s3cr3t"]}`, `{"a":["y","s3cr3u"]}`, `{"a":[false,true]}`, `{}`, []Attribute{{"a[0]", `"x"`, `"y"`}, {"a[1]", Sensitive, Sensitive}}},
		"a whole list":                  {`{"a":["s3cr3t"]}`, `{"a":["s3cr3u","s3cr3v"]}`, `{"a":true}`, `{"a":true}`, []Attribute{{"a", Sensitive, Sensitive}}},
		"in an object that is replaced": {`{"a":{"k":"s3cr3t","n":1}}`, `{"a":null}`, `{"a":{"k":true}}`, `{}`, []Attribute{{"a", `{"k":"(sensitive)","n":1}`, "null"}}},
		"in an item that is new":        {`{"a":[]}`, `{"a":[{"k":"s3cr3t"}]}`, `{"a":[]}`, `{"a":[{"k":true}]}`, []Attribute{{"a[0]", "(none)", `{"k":"(sensitive)"}`}}},
		"a key that is new":             {`{"a":{}}`, `{"a":{"k":"s3cr3t"}}`, `{}`, `{"a":{"k":true}}`, []Attribute{{"a.k", "(none)", Sensitive}}},

		"a forgotten mark":            {`{"chap_secret":"s3cr3t"}`, `{"chap_secret":"s3cr3u"}`, `{}`, `{}`, []Attribute{{"chap_secret", Withheld, Withheld}}},
		"a forgotten mark, deep":      {`{"a":[{"userPassword":"s3cr3t"}]}`, `{"a":null}`, `{}`, `{}`, []Attribute{{"a", `[{"userPassword":"(withheld)"}]`, "null"}}},
		"a forgotten mark on a list":  {`{"api-tokens":["s3cr3t"]}`, `{"api-tokens":["s3cr3u"]}`, `{}`, `{}`, []Attribute{{"api-tokens", Withheld, Withheld}}},
		"a key by its looks":          {`{"a":"-----BEGIN OPENSSH PRIVATE KEY-----s3cr3t"}`, `{"a":""}`, `{}`, `{}`, []Attribute{{"a", Withheld, `""`}}},
		"a word in the middle is not": {`{"token_ttl":1}`, `{"token_ttl":2}`, `{}`, `{}`, []Attribute{{"token_ttl", "1", "2"}}},
	} {
		d := readDrift(t, driftJSON(change("a.b", "a", `["update"]`, fmt.Sprintf(`,"before":%s,"after":%s,"before_sensitive":%s,"after_sensitive":%s`, c.before, c.after, c.maskB, c.maskA))))
		if diff := cmp.Diff(c.want, d.Resources[0].Attributes); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		path := filepath.Join(t.TempDir(), "drift.json")
		if err := d.Write(path); err != nil {
			t.Fatal(err)
		}
		document, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for place, text := range map[string]string{"text": d.Text(), "markdown": d.Markdown(), "document": string(document)} {
			if strings.Contains(text, "s3cr3") {
				t.Errorf("%s: the %s shows a secret:\n%s", name, place, text)
			}
		}
	}
}

func TestReadDrift(t *testing.T) {
	d := readDrift(t, driftJSON(
		change("a.changed", "a", `["update"]`, `,"before":{"x":1},"after":{"x":2}`),
		change("a.gone", "a", `["delete"]`, `,"before":{"x":1},"after":null`),
		`{"address":"a.new","previous_address":"a.old","mode":"managed","type":"a","change":{"actions":["no-op"]}}`,
		`{"address":"a.to","previous_address":"a.from","mode":"managed","type":"a","change":{"actions":["delete"]}}`,
	))
	if got := d.Headline(); got != "Drift: 1 changed outside, 2 deleted outside." {
		t.Error(got)
	}
	var order []string
	for _, r := range d.Resources {
		order = append(order, r.Address)
	}
	if diff := cmp.Diff([]string{"a.gone", "a.to", "a.changed"}, order); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"  deleted outside: a.gone", "  deleted outside, moved from a.from: a.to", "x: 1 -> 2", "which is no drift: a.new"} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("%q is missing:\n%s", want, d.Text())
		}
	}
	d.Allow([]string{"a.from", "a.chan*"})
	drifted, allowed := d.Split()
	if len(drifted) != 1 || drifted[0].Address != "a.gone" || len(allowed) != 2 {
		t.Errorf("%+v, %+v", drifted, allowed)
	}
	if got := readDrift(t, driftJSON()).Headline(); got != "No drift." {
		t.Error(got)
	}
	for name, in := range map[string]string{
		"another action": driftJSON(change("a.b", "a", `["create"]`, "")),
		"a replacement":  driftJSON(change("a.b", "a", `["delete","create"]`, "")),
		"no address":     driftJSON(change("", "a", `["update"]`, "")),
		"errored":        `{"format_version":"1.2","errored":true}`,
		"another format": `{"format_version":"2.0"}`,
		"cut short":      driftJSON()[:30],
		"two":            driftJSON() + driftJSON(),
	} {
		if _, err := ReadDrift(strings.NewReader(in)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// A drift of everything is cut at whole resources, and what is gone is not
// what is cut.
func TestDriftIsBounded(t *testing.T) {
	var all []string
	wide := map[string]string{}
	for i := range 100 {
		wide[fmt.Sprintf("k%04d", i)] = strings.Repeat("y", 300)
	}
	tags, err := json.Marshal(wide)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 5000)
	for i := range 600 {
		all = append(all, change(fmt.Sprintf("a.n[%d]", i), "a", `["update"]`, fmt.Sprintf(`,"before":{"long":%q,"tags":{}},"after":{"long":"","tags":%s}`, long, tags)))
	}
	all = append(all, change("a.z", "a", `["delete"]`, `,"before":{}`))
	d := readDrift(t, driftJSON(all...))
	path := filepath.Join(t.TempDir(), "drift.json")
	if err := d.Write(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 4*maxDriftBytes || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	var got Drift
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &got)
	}
	if err != nil || got.LeftOut == 0 || len(got.Resources)+got.LeftOut != 601 || got.Resources[0].Address != "a.z" {
		t.Errorf("%d and %d left out, %v", len(got.Resources), got.LeftOut, err)
	}
	if r := got.Resources[1]; len(r.Attributes) != maxAttributes || r.MoreAttributes != 101-maxAttributes || len(r.Attributes[0].Before) > 300 {
		t.Errorf("%d attributes, %d more, %d bytes", len(r.Attributes), r.MoreAttributes, len(r.Attributes[0].Before))
	}
	if text := d.Text(); strings.Count(text, "  changed outside: ") != maxRows-1 || !strings.Contains(text, "401 more are not shown") {
		t.Errorf("%s", text[len(text)-300:])
	}
	if text := d.Markdown(); len(text) > MaxMarkdown || !strings.Contains(text, "Not shown one by one: ") || !strings.Contains(text, "a.z: deleted outside") {
		t.Errorf("%d bytes", len(text))
	}
}

func TestJoinNeverCutsABlock(t *testing.T) {
	blocks := []Block{{Text: "head\n"}, {Text: strings.Repeat("a", 500) + "\n", Kind: "x"}, {Text: strings.Repeat("b", 3000) + "\n", Kind: "y"}, {Text: "c\n", Kind: "x"}}
	if got, want := Join(blocks, 3000), "head\n"+strings.Repeat("a", 500)+"\n\nNot shown one by one: 1 × y, 1 × x.\n"; got != want {
		t.Errorf("%q", got)
	}
	if got := Join(blocks, 10000); !strings.HasSuffix(got, "c\n") {
		t.Errorf("%q", got)
	}
	var kinds []Block
	for i := range 5000 {
		kinds = append(kinds, Block{Text: strings.Repeat("x", 50) + "\n", Kind: fmt.Sprintf("create a_rather_long_type_%d", i)})
	}
	if got := Join(kinds, 10000); len(got) > 10000 || !strings.Contains(got, " more kinds.") {
		t.Errorf("%d bytes: %s", len(got), got[len(got)-100:])
	}
}

// FuzzReadDrift: whatever a plan says, no line of what is shown can be taken
// for a command or reach a terminal as one.
func FuzzReadDrift(f *testing.F) {
	f.Add(driftJSON(change("a.b\n::set-output name=x::y", "a", `["update"]`, `,"before":{"a\n::b":"marked"},"after":{"a\n::b":"\u001b[2J"},"before_sensitive":{"a\n::b":true}`)))
	f.Add(driftJSON(change("a", "a", `["update"]`, `,"before":{"x":{"k":["marked"]}},"after":{"x":1},"before_sensitive":{"x":{"k":[true]}},"after_sensitive":false`)))
	f.Fuzz(func(t *testing.T, in string) {
		d, err := ReadDrift(strings.NewReader(in))
		if err != nil {
			return
		}
		for _, text := range []string{d.Text(), d.Markdown()} {
			for line := range strings.Lines(text) {
				line = strings.TrimSuffix(line, "\n")
				if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.IndexFunc(line, func(r rune) bool { return unicode.IsControl(r) }) >= 0 {
					t.Errorf("%q", line)
				}
			}
		}
	})
}
