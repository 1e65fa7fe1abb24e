package handoff

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/handoff/schema"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

var update = flag.Bool("update", false, "write the golden files anew")

// about is a context in which nothing is wrong.
var about = Context{
	Repository: "example/infra", Commit: strings.Repeat("0123456789", 4), RunID: "4711", RunAttempt: "1",
	StateLineage: "5d8f7e62-1d1c-0f5b-9a3e-2b7c8d9e0f1a", StateSerial: 42,
	Created: time.Date(2026, 11, 23, 13, 31, 53, 0, time.UTC),
}

// Each directory in testdata/ok is a stack's outputs, with or without a
// mapping, and the handoff they make.
func TestBuildOK(t *testing.T) {
	for _, dir := range cases(t, "ok") {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			doc, err := buildCase(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			got, err := doc.Encode()
			if err != nil {
				t.Fatal(err)
			}
			matrix, err := doc.Matrix()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join(dir, "handoff.json"), string(got))
			golden(t, filepath.Join(dir, "matrix.json"), matrix+"\n")

			back, err := parse(got)
			if err != nil {
				t.Fatalf("its own document is refused: %v", err)
			}
			if diff := cmp.Diff(doc, back); diff != "" {
				t.Errorf("the document changed on the way (-built +parsed):\n%s", diff)
			}
			again, err := buildCase(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			if second, _ := again.Encode(); !bytes.Equal(got, second) {
				t.Error("the same outputs made other bytes")
			}
		})
	}
}

// Each directory in testdata/err is outputs that must be refused, and every
// refusal they must get. The word hunter2 stands for a secret in all of them.
func TestBuildErr(t *testing.T) {
	for _, dir := range cases(t, "err") {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			doc, err := buildCase(t, dir)
			if err == nil {
				t.Fatalf("accepted: %+v", doc)
			}
			var b strings.Builder
			for _, c := range verdict.ChecksOf(err) {
				fmt.Fprintf(&b, "%s\n  wanted %s\n  found  %s\n  do     %s\n", c.ID, c.Wanted, c.Got, c.Hint)
				if c.Hint == "" {
					t.Errorf("%s says nothing about what to do", c.ID)
				}
			}
			if strings.Contains(strings.ToLower(b.String()), "hunter2") {
				t.Errorf("a secret is shown:\n%s", b.String())
			}
			golden(t, filepath.Join(dir, "refusals.txt"), b.String())
		})
	}
}

func cases(t *testing.T, kind string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join("testdata", kind, "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases in testdata/%s: %v", kind, err)
	}
	return dirs
}

func buildCase(t *testing.T, dir string) (*Document, error) {
	t.Helper()
	outputs, err := os.ReadFile(filepath.Join(dir, "outputs.json"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "mapping.yaml"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	m, err := ParseMapping(string(text), "edge_nodes")
	if err != nil {
		t.Fatal(err)
	}
	return Build(outputs, m, about)
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// conventional is the mapping of a stack that has the output edge_nodes.
func conventional(t testing.TB) *Mapping {
	t.Helper()
	m, err := ParseMapping("", "edge_nodes")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// outputsOf wraps a value as the output edge_nodes.
func outputsOf(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{"edge_nodes": map[string]any{"sensitive": false, "type": "dynamic", "value": value}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// nodes returns n nodes without a fault.
func nodes(n int) []map[string]any {
	out := make([]map[string]any, n)
	for i := range out {
		out[i] = map[string]any{
			"name": fmt.Sprintf("edge-%04d", i), "hostname": fmt.Sprintf("edge-%04d.fra.example.net", i),
			"instance_id": fmt.Sprintf("ocid1.instance.oc1.eu-frankfurt-1.antheljtuwhjuwqc%044d", i),
			"private_ip":  fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), "public_ip": fmt.Sprintf("198.51.%d.%d", i/250, i%250+1),
			"region": "eu-frankfurt-1", "availability_domain": "Uocm:EU-FRANKFURT-1-AD-1",
			"subnet_id": "ocid1.subnet.oc1.eu-frankfurt-1.aaaaaaaabbbb",
			"tags":      map[string]any{"role": "edge", "number": fmt.Sprint(i)},
			"volume_attachments": []any{map[string]any{
				"attachment_type": "iscsi", "device": "/dev/oracleoci/oraclevdb", "volume_id": fmt.Sprintf("ocid1.volume.oc1.eu-frankfurt-1.v%d", i),
				"iqn": fmt.Sprintf("iqn.2015-12.com.oracleiaas:%d", i), "ipv4": "169.254.2.2", "port": 3260, "is_read_only": false,
			}},
		}
	}
	return out
}

func TestBuildThousand(t *testing.T) {
	doc, err := Build(outputsOf(t, nodes(1000)), conventional(t), about)
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Nodes) != 1000 || !slices.IsSortedFunc(doc.Nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("got %d nodes, or not in order", len(doc.Nodes))
	}
	matrix, err := doc.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(matrix) {
		if len(line) > 1000 {
			t.Fatalf("a matrix line of %d bytes", len(line))
		}
	}
	var parsed struct {
		Include []map[string]string `json:"include"`
	}
	if err := json.Unmarshal([]byte(matrix), &parsed); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"name": "edge-0999", "hostname": "edge-0999.fra.example.net", "address": "198.51.3.250"}
	if diff := cmp.Diff(want, parsed.Include[999]); diff != "" || len(parsed.Include) != 1000 {
		t.Errorf("%d entries, the last (-want +got):\n%s", len(parsed.Include), diff)
	}
	if diff := cmp.Diff(Node{}, doc.Single()); diff != "" {
		t.Errorf("a single node of many:\n%s", diff)
	}
}

// One pair among a thousand is found, whatever the two share.
func TestDuplicateAmongThousand(t *testing.T) {
	for field, say := range map[string]string{"name": "name", "hostname": "hostname", "instance_id": "instance_id", "private_ip": "address", "public_ip": "address"} {
		t.Run(field, func(t *testing.T) {
			list := nodes(1000)
			list[997][field] = list[3][field]
			_, err := Build(outputsOf(t, list), conventional(t), about)
			checks := verdict.ChecksOf(err)
			if len(checks) != 1 || checks[0].ID != "duplicate" {
				t.Fatalf("wanted one duplicate, got %v", err)
			}
			want := fmt.Sprintf("duplicate: wanted the %s %q once, found it in edge_nodes[3] and in edge_nodes[997]; correct the output or the mapping", say, list[3][field])
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTooMany(t *testing.T) {
	_, err := Build(outputsOf(t, make([]any, MaxNodes+1)), conventional(t), about)
	if !verdict.Has(err, "too-many-nodes") || len(verdict.ChecksOf(err)) != 1 {
		t.Errorf("got %v", err)
	}
	doc := Document{Nodes: make([]Node, MaxNodes)}
	for i := range doc.Nodes {
		doc.Nodes[i].Hostname = strings.Repeat("h", 100)
	}
	if m, err := doc.Matrix(); !verdict.Has(err, "matrix") {
		t.Errorf("a matrix of %d bytes, and %v", len(m), err)
	}
}

func TestContext(t *testing.T) {
	good := outputsOf(t, nodes(1))
	for _, tt := range []struct {
		change func(*Context)
		want   string // "" is accepted
	}{
		{func(c *Context) { c.RunAttempt = "" }, ""},
		{func(c *Context) { c.Commit = strings.Repeat("a", 64) }, ""},
		{func(c *Context) { c.Repository = "" }, "GITHUB_REPOSITORY"},
		{func(c *Context) { c.Repository = "a/b/c" }, "GITHUB_REPOSITORY"},
		{func(c *Context) { c.Repository = "a/b\n::add-path::/evil" }, "GITHUB_REPOSITORY"},
		{func(c *Context) { c.Commit = "main" }, "GITHUB_SHA"},
		{func(c *Context) { c.Commit = strings.Repeat("a", 41) }, "GITHUB_SHA"},
		{func(c *Context) { c.RunID = "0" }, "GITHUB_RUN_ID"},
		{func(c *Context) { c.RunID = "" }, "GITHUB_RUN_ID"},
		{func(c *Context) { c.RunAttempt = "x" }, "GITHUB_RUN_ATTEMPT"},
		{func(c *Context) { c.StateLineage = "" }, "state_lineage"},
		{func(c *Context) { c.StateLineage = "5d8f7e62 or so" }, "state_lineage"},
		{func(c *Context) { c.StateSerial = 0 }, "state_serial"},
		{func(c *Context) { c.StateSerial = -1 }, "state_serial"},
		{func(c *Context) { c.Created = time.Time{} }, "created"},
	} {
		c := about
		tt.change(&c)
		_, err := Build(good, conventional(t), c)
		switch checks := verdict.ChecksOf(err); {
		case tt.want == "" && err != nil:
			t.Errorf("refused: %v", err)
		case tt.want != "" && (len(checks) != 1 || !strings.HasPrefix(checks[0].Wanted, tt.want+":")):
			t.Errorf("wanted one refusal of %s, got %v", tt.want, err)
		}
	}
	// The time is the one thing in which two runs differ.
	c := about
	c.Created = time.Date(2027, 1, 1, 2, 0, 0, 999, time.FixedZone("", 7200))
	doc, err := Build(good, conventional(t), c)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := doc.Encode()
	if !bytes.Contains(data, []byte(`"created": "2027-01-01T00:00:00Z"`)) {
		t.Errorf("created is not in UTC and whole seconds:\n%s", data)
	}
}

// The schema, the Go types and the lists of fields name the same things.
func TestSchemaFits(t *testing.T) {
	var s struct {
		Defs map[string]struct {
			Properties map[string]any
			Required   []string
		} `json:"$defs"`
	}
	if err := json.Unmarshal(schema.JSON, &s); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"node": Node{}, "context": Context{}, "volume_attachment": VolumeAttachment{}} {
		var tags, always []string
		for f := range fieldsOf(reflect.TypeOf(v)) {
			tag, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			tags = append(tags, tag)
			if option == "" {
				always = append(always, tag)
			}
		}
		slices.Sort(tags)
		if diff := cmp.Diff(tags, slices.Sorted(maps.Keys(s.Defs[name].Properties))); diff != "" {
			t.Errorf("%s (-type +schema):\n%s", name, diff)
		}
		if diff := cmp.Diff(always, s.Defs[name].Required); diff != "" {
			t.Errorf("%s, required (-type +schema):\n%s", name, diff)
		}
		fields := map[string][]string{"node": nodeFields, "volume_attachment": attachmentFields}[name]
		if fields != nil {
			if diff := cmp.Diff(slices.Sorted(slices.Values(fields)), tags); diff != "" {
				t.Errorf("%s (-fields +type):\n%s", name, diff)
			}
		}
	}
}

func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	doc, err := Build(outputsOf(t, nodes(2)), conventional(t), about)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := doc.Encode()
	for name, tt := range map[string]struct{ old, new, want string }{
		"another version":    {"handoff/v1", "handoff/v2", "schema"},
		"an unknown field":   {`"region"`, `"regoin"`, "schema"},
		"another case":       {`"region"`, `"Region"`, "schema"},
		"a missing context":  {`"commit"`, `"comit"`, "schema"},
		"a wrong address":    {`"10.0.0.1"`, `"10.0.0.256"`, "schema"},
		"a second document":  {"]\n}\n", "]\n}\n{}", "schema"},
		"no JSON":            {"{", "", "schema"},
		"the same name":      {`"edge-0001"`, `"edge-0000"`, "duplicate"},
		"the same address":   {`"10.0.0.2"`, `"10.0.0.1"`, "duplicate"},
		"a target in parts":  {`"ipv4": "169.254.2.2",`, "", "schema"},
		"a serial as text":   {`: 42`, `: "42"`, "schema"},
		"a fractional time":  {`53Z"`, `53.5Z"`, "schema"},
		"a host key as text": {`"tags"`, `"ssh_host_key": "x", "tags"`, "schema"},
	} {
		bad := bytes.Replace(data, []byte(tt.old), []byte(tt.new), 1)
		if bytes.Equal(bad, data) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := parse(bad); !verdict.Has(err, tt.want) {
			t.Errorf("%s: wanted a refusal named %s, got %v", name, tt.want, err)
		}
	}
}

func BenchmarkBuild1000(b *testing.B) {
	data, m := outputsOf(b, nodes(1000)), conventional(b)
	for b.Loop() {
		doc, err := Build(data, m, about)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := doc.Encode(); err != nil {
			b.Fatal(err)
		}
		if _, err := doc.Matrix(); err != nil {
			b.Fatal(err)
		}
	}
}

// The same with everything that the action does besides reading the outputs.
func BenchmarkEmit1000(b *testing.B) {
	data, m, key, dir := outputsOf(b, nodes(1000)), conventional(b), newSigner(b), b.TempDir()
	for b.Loop() {
		doc, err := Build(data, m, about)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := doc.Matrix(); err != nil {
			b.Fatal(err)
		}
		if _, err := doc.Write(dir, key); err != nil {
			b.Fatal(err)
		}
	}
}

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// parse reads a document as its receiver does.
func parse(data []byte) (*Document, error) {
	if err := schema.Validate(data); err != nil {
		return nil, err
	}
	return Parse(data)
}
