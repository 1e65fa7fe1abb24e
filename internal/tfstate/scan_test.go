package tfstate

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const smallState = `{
  "version": 4,
  "terraform_version": "1.12.6",
  "serial": 7,
  "lineage": "8a1c7a5e-0c5f-4b0e-9a39-5d1c3d1d6f52",
  "outputs": {"resources": {"value": [{"a": 1}, {"b": [{}]}], "type": "string"}},
  "resources": [
    {"mode": "managed", "type": "a", "name": "x \" { [ \\", "instances": [{"attributes": {"instances": [{}, {}]}}, {}]},
    {"mode": "data", "type": "b", "name": "y", "instances": []}
  ],
  "check_results": null
}
`

func TestScan(t *testing.T) {
	whole := Meta{Version: 4, Serial: 7, Lineage: "8a1c7a5e-0c5f-4b0e-9a39-5d1c3d1d6f52", TerraformVersion: "1.12.6", Resources: 2, Instances: 2}
	encrypted := `{"serial":3,"lineage":"l-1","meta":{"key_provider.pbkdf2.a":"eyJzYWx0In0="},"encrypted_data":"` + strings.Repeat("QUJD", 1000) + `","encryption_version":"v0"}`
	for name, c := range map[string]struct {
		in   string
		want Meta
		err  string
	}{
		"whole":               {in: smallState, want: whole},
		"compact":             {in: compact(t, smallState), want: whole},
		"encrypted":           {in: encrypted, want: Meta{Serial: 3, Lineage: "l-1", Resources: -1, Instances: -1, Encrypted: true}},
		"no resources yet":    {in: `{"version":4,"serial":0,"lineage":"l","resources":[]}`, want: Meta{Version: 4, Lineage: "l"}},
		"a backend's nothing": {in: `{"version":4,"terraform_version":"1.12.6","serial":0,"lineage":"","outputs":{},"resources":[],"check_results":null}`, err: "there is no state"},
		"empty":               {in: "", err: "0 bytes"},
		"version alone":       {in: `{"version":4}`, err: "it has no serial"},
		"no lineage":          {in: `{"version":4,"serial":1,"lineage":"","resources":[]}`, err: "it has no lineage"},
		"old version":         {in: `{"version":3,"serial":1,"lineage":"l","resources":[]}`, err: "its version is 3, not 4"},
		"cut in the middle":   {in: smallState[:len(smallState)/2], err: "it is cut short"},
		"cut in a string":     {in: smallState[:strings.Index(smallState, "1.12")+2], err: "it is cut short"},
		"cut at the end":      {in: strings.TrimSuffix(smallState, "}\n"), err: "it is cut short"},
		"two documents":       {in: smallState + smallState, err: "something else than one JSON object"},
		"an array":            {in: `[{"version":4}]`, err: "something else than one JSON object"},
		"two serials":         {in: `{"version":4,"serial":9,"serial":1,"lineage":"l","resources":[]}`, err: "a second serial"},
		"negative serial":     {in: `{"version":4,"serial":-1,"lineage":"l","resources":[]}`, err: "an unreadable serial"},
		"serial as text":      {in: `{"version":4,"serial":"1","lineage":"l","resources":[]}`, err: "it has no serial"},
		"rubbish after":       {in: `{"version":4,"serial":1,"lineage":"l","resources":[]} x`, err: "outside the document"},
		"no resources":        {in: `{"version":4,"serial":1,"lineage":"l"}`, err: "it has no list of resources"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 2, 7, 64, len(c.in) + 1} {
				s := newScanner()
				for in := c.in; in != ""; {
					n := min(size, len(in))
					s.Write([]byte(in[:n]))
					in = in[n:]
				}
				got, err := s.Meta()
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Fatalf("in pieces of %d: wanted an error with %q, got %v", size, c.err, err)
					}
					continue
				}
				if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
					t.Fatalf("in pieces of %d: %v\n%s", size, err, diff)
				}
			}
		})
	}
}

func compact(t testing.TB, s string) string {
	var v map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// FuzzScan holds the scanner against encoding/json: on every document that is
// JSON with unique keys, both find the same.
func FuzzScan(f *testing.F) {
	f.Add(smallState, 3)
	f.Add(`{"version":4,"serial":1,"lineage":"a\u0022b","resources":[{"instances":[{"x":"\\"},{}]}]}`, 5)
	f.Add(`{"resources":{"a":[{"instances":[{}]}]}}`, 1)
	f.Fuzz(func(t *testing.T, in string, size int) {
		s := newScanner()
		for rest := in; rest != ""; {
			n := min(max(size, 1), len(rest))
			s.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		got, err := s.Meta()
		var doc struct {
			Version   int
			Serial    uint64
			Lineage   string
			Resources []struct{ Instances []map[string]any }
		}
		if json.Unmarshal([]byte(in), &doc) != nil || err != nil || got.Encrypted || strings.Contains(in, `\u`) || odd(in) {
			return
		}
		want := fmt.Sprint(doc.Version, doc.Serial, doc.Lineage)
		if have := fmt.Sprint(got.Version, got.Serial, got.Lineage); have != want {
			t.Fatalf("wanted %s, got %s for %q", want, have, in)
		}
	})
}

// odd tells documents in which encoding/json is laxer than OpenTofu: it takes
// keys of any case, and the last of several equal ones.
func odd(in string) bool {
	lower := strings.ToLower(in)
	for _, key := range []string{`"version"`, `"serial"`, `"lineage"`, `"resources"`} {
		if strings.Count(lower, key) != 1 || strings.Count(in, key) != 1 {
			return true
		}
	}
	return strings.Count(lower, `"encrypt`) > 0
}
