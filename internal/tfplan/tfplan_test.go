package tfplan

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func planJSON(changes string) string {
	return `{"format_version":"1.2","terraform_version":"1.12.6","planned_values":{"root_module":{}},"resource_changes":[` + changes + `],"output_changes":{"o":{"actions":["create"]},"same":{"actions":["no-op"]}}}`
}

func change(address, kind, actions, rest string) string {
	return fmt.Sprintf(`{"address":%q,"mode":"managed","type":%q,"name":"x","change":{"actions":%s%s}}`, address, kind, actions, rest)
}

func TestReadJSON(t *testing.T) {
	in := planJSON(strings.Join([]string{
		change("a.update", "a", `["update"]`, `,"before":{"size":1,"secret":"hunter2","tags":{"a":1}},"after":{"size":2,"secret":"hunter3","tags":{"a":1}},"after_unknown":{"id":true},"after_sensitive":{"secret":true}`),
		change("a.replace", "a", `["create","delete"]`, `,"before":{"x":1},"after":{"x":2},"after_unknown":{},"replace_paths":[["x"],["disk",0,"size"]]`),
		change("a.forget", "a", `["forget"]`, ``),
		change("a.again", "a", `["forget","create"]`, `,"before":{},"after":{},"after_unknown":{}`),
		`{"address":"a.new","previous_address":"a.old","mode":"managed","type":"a","change":{"actions":["no-op"],"importing":{"id":"x"}}}`,
		`{"address":"a.dep","mode":"managed","type":"a","deposed":"abcd","action_reason":"delete_because_no_resource_config","change":{"actions":["delete"]}}`,
		`{"address":"data.d.x","mode":"data","type":"d","change":{"actions":["read"]}}`,
	}, ","))
	got, err := ReadJSON(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	want := &Plan{TofuVersion: "1.12.6", Outputs: map[string]Action{"o": Create}, Changes: []Change{
		{Address: "a.again", Type: "a", Mode: "managed", Action: ForgetReplace},
		{Address: "a.dep", Type: "a", Mode: "managed", Action: Delete, Deposed: true, Reason: "delete_because_no_resource_config"},
		{Address: "a.forget", Type: "a", Mode: "managed", Action: Forget},
		{Address: "a.new", Previous: "a.old", Type: "a", Mode: "managed", Action: NoOp, Imported: true},
		{Address: "a.replace", Type: "a", Mode: "managed", Action: Replace, Attributes: []string{"x"}, Forcing: []string{"disk[0].size", "x"}},
		{Address: "a.update", Type: "a", Mode: "managed", Action: Update, Attributes: []string{"id", "secret", "size"}},
		{Address: "data.d.x", Type: "d", Mode: "data", Action: Read},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Counts{Add: 2, Change: 1, Destroy: 2, Replace: 1, Move: 1, Import: 1, Forget: 2, Outputs: 1}, got.Counts()); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{got.Text(), got.Markdown()} {
		if strings.Contains(text, "hunter") {
			t.Errorf("a value is shown:\n%s", text)
		}
		if strings.Contains(text, "data.d.x") {
			t.Errorf("a read is shown as a change:\n%s", text)
		}
	}
}

func TestReadJSONRefuses(t *testing.T) {
	for name, c := range map[string][2]string{
		"an errored plan":   {`{"format_version":"1.2","errored":true}`, "the plan errored"},
		"another format":    {`{"format_version":"2.0"}`, "wanted format 1.x"},
		"no format":         {`{}`, "wanted format 1.x"},
		"a new action":      {planJSON(change("a.b", "a", `["explode"]`, "")), `unknown actions ["explode"]`},
		"three actions":     {planJSON(change("a.b", "a", `["delete","create","delete"]`, "")), "unknown actions"},
		"no actions":        {planJSON(change("a.b", "a", `[]`, "")), "unknown actions"},
		"no address":        {planJSON(change("", "a", `["create"]`, "")), "without address"},
		"cut short":         {planJSON("")[:40], "unexpected EOF"},
		"two plans":         {planJSON("") + planJSON(""), "something follows"},
		"not JSON":          {"Plan: 1 to add", "invalid character"},
		"nothing":           {"", "EOF"},
		"an unknown output": {`{"format_version":"1.2","output_changes":{"o":{"actions":["boom"]}}}`, `output "o"`},
	} {
		if _, err := ReadJSON(strings.NewReader(c[0])); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: wanted an error with %q, got %v", name, c[1], err)
		}
	}
}

func TestGuard(t *testing.T) {
	plan := func(changes ...Change) *Plan {
		for i := range changes {
			if changes[i].Mode == "" {
				changes[i].Mode = "managed"
			}
		}
		return &Plan{Changes: changes}
	}
	lost := func(address, kind string, a Action) Change { return Change{Address: address, Type: kind, Action: a} }
	volumes := Guard{Types: []string{"oci_core_volume"}, MaxDestroy: 10}
	for name, c := range map[string]struct {
		g    Guard
		p    *Plan
		want int // refusals
	}{
		"deleted":                  {volumes, plan(lost("oci_core_volume.a", "oci_core_volume", Delete)), 1},
		"replaced":                 {volumes, plan(lost("oci_core_volume.a", "oci_core_volume", Replace)), 1},
		"forgotten":                {volumes, plan(lost("oci_core_volume.a", "oci_core_volume", Forget)), 1},
		"forgotten and made again": {volumes, plan(lost("oci_core_volume.a", "oci_core_volume", ForgetReplace)), 1},
		"changed":                  {volumes, plan(lost("oci_core_volume.a", "oci_core_volume", Update)), 0},
		"created":                  {volumes, plan(lost("oci_core_volume.a", "oci_core_volume", Create)), 0},
		"another type":             {volumes, plan(lost("oci_core_volume_attachment.a", "oci_core_volume_attachment", Delete)), 0},
		"a pattern of types":       {Guard{Types: []string{"oci_core_*"}, MaxDestroy: 10}, plan(lost("oci_core_volume_attachment.a", "oci_core_volume_attachment", Delete)), 1},
		"allowed":                  {Guard{Types: []string{"a"}, Allow: []string{"a.b"}, MaxDestroy: 1}, plan(lost("a.b", "a", Delete)), 0},
		"allowed is exact":         {Guard{Types: []string{"a"}, Allow: []string{"a.b"}, MaxDestroy: 1}, plan(lost("a.b[0]", "a", Delete)), 1},
		"all are listed":           {volumes, plan(lost("x.a", "oci_core_volume", Delete), lost("x.b", "oci_core_volume", Delete)), 2},
		"an address":               {Guard{Addresses: []string{"a.b"}, MaxDestroy: 9}, plan(lost("a.b", "a", Delete), lost("a.bc", "a", Delete)), 1},
		"its instances":            {Guard{Addresses: []string{"a.b"}, MaxDestroy: 9}, plan(lost(`a.b["x"]`, "a", Delete)), 1},
		"a module":                 {Guard{Addresses: []string{"module.db"}, MaxDestroy: 9}, plan(lost("module.db.a.b", "a", Delete), lost("module.db2.a.b", "a", Delete), lost("module.db[0].a.b", "a", Delete)), 2},
		"a pattern of addresses":   {Guard{Addresses: []string{"module.*.a.b"}, MaxDestroy: 9}, plan(lost("module.x.a.b", "a", Delete), lost("module.x.a.c", "a", Delete)), 1},
		"an index in a pattern":    {Guard{Addresses: []string{"a.*[0]"}, MaxDestroy: 9}, plan(lost("a.b[0]", "a", Delete), lost("a.b[1]", "a", Delete)), 1},
		"moved away and deleted":   {Guard{Addresses: []string{"a.b"}, MaxDestroy: 9}, plan(Change{Address: "a.c", Previous: "a.b", Type: "a", Action: Replace}), 1},
		"the ceiling":              {Guard{MaxDestroy: 1}, plan(lost("a.a", "a", Delete), lost("a.b", "a", Replace)), 1},
		"under the ceiling":        {Guard{MaxDestroy: 2}, plan(lost("a.a", "a", Delete), lost("a.b", "a", Replace), lost("a.c", "a", Forget)), 0},
		"data sources":             {Guard{Types: []string{"*"}}, plan(Change{Address: "data.a.b", Mode: "data", Type: "a", Action: Delete}), 0},
		"deposed":                  {volumes, plan(Change{Address: "oci_core_volume.a", Type: "oci_core_volume", Action: Delete, Deposed: true}), 1},
	} {
		checks := verdict.ChecksOf(c.g.Check(c.p))
		if len(checks) != c.want {
			t.Errorf("%s: wanted %d refusals, got %+v", name, c.want, checks)
		}
		for _, check := range checks {
			if check.ID != "protected" || check.Hint == "" {
				t.Errorf("%s: %+v", name, check)
			}
		}
	}
}

// manyChanges is a JSON plan with n changes of all kinds.
func manyChanges(n int) string {
	var all []string
	for i := range n {
		kind := []string{`["create"]`, `["update"]`, `["delete","create"]`, `["delete"]`}[min(3, i%100/33)]
		all = append(all, change(fmt.Sprintf("module.m%d.oci_core_instance.n[%d]", i%7, i), "oci_core_instance", kind,
			fmt.Sprintf(`,"before":{"a":%d,"b":"x"},"after":{"a":%d,"b":"x"},"after_unknown":{"id":true},"replace_paths":[["a"]]`, i, i+1)))
	}
	return planJSON(strings.Join(all, ","))
}

// A plan that nobody can read through is still readable: what is lost comes
// first, and what is left out is counted.
func TestTenThousandChangesAreReadable(t *testing.T) {
	p, err := ReadJSON(strings.NewReader(manyChanges(10_000)))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"text": p.Text(), "markdown": p.Markdown()} {
		if len(text) > 64<<10 {
			t.Errorf("%s: %d bytes", name, len(text))
		}
		if strings.Index(text, "delete") > strings.Index(text, "replace ") && strings.Contains(text, "replace ") {
			t.Errorf("%s: what is lost does not come first", name)
		}
		if lines := strings.Count(text, "\n"); lines > maxRows+10 {
			t.Errorf("%s: %d lines", name, lines)
		}
		if !strings.Contains(text, "3300 × create") {
			t.Errorf("%s: what is left out is not counted: %s", name, text[len(text)-300:])
		}
	}
	if !strings.HasPrefix(p.Text(), "Plan: 6600 to add, 3300 to change, 3400 to destroy, 3300 replaced, 1 outputs.\n") {
		t.Errorf("%.200s", p.Text())
	}
}

func BenchmarkReadAndRender10000(b *testing.B) {
	in := manyChanges(10_000)
	for b.Loop() {
		p, err := ReadJSON(strings.NewReader(in))
		if err != nil {
			b.Fatal(err)
		}
		if p.Text() == "" || p.Markdown() == "" {
			b.Fatal("nothing")
		}
	}
}

// FuzzReadJSON: whatever a plan says, reading it does not fail, the numbers
// agree with the changes, and no line of what is shown can be taken for a
// command or reach a terminal as one.
func FuzzReadJSON(f *testing.F) {
	f.Add(planJSON(change("a.b\n::set-output name=x::y", "a", `["delete","create"]`, `,"before":{"a\n::b":1},"after":{},"replace_paths":[["a\n::add-path::/x", 1.5, null, {}]]`)))
	f.Add(manyChanges(5))
	f.Add(`{"format_version":"1.0","output_changes":{"\u001b[2J":{"actions":["update"]}}}`)
	f.Fuzz(func(t *testing.T, in string) {
		p, err := ReadJSON(strings.NewReader(in))
		if err != nil {
			return
		}
		n := p.Counts()
		if n.Add+n.Change+n.Destroy+n.Forget > 2*len(p.Changes) || n.Replace > n.Destroy {
			t.Errorf("%+v of %d changes", n, len(p.Changes))
		}
		lost := 0
		for _, c := range p.Changes {
			if c.Mode != "data" && slices.Contains([]Action{Delete, Replace, Forget, ForgetReplace}, c.Action) {
				lost++
			}
		}
		if got := len(verdict.ChecksOf(Guard{Types: []string{"*"}, MaxDestroy: 1 << 30}.Check(p))); got != lost {
			t.Errorf("%d of %d losses refused", got, lost)
		}
		for _, text := range []string{p.Text(), p.Markdown()} {
			for line := range strings.Lines(text) {
				line = strings.TrimSuffix(line, "\n")
				if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.IndexFunc(line, func(r rune) bool { return unicode.IsControl(r) }) >= 0 {
					t.Errorf("%q", line)
				}
			}
		}
	})
}

func testReceipt() *Receipt {
	r := &Receipt{Stack: "s", State: StateID{SHA256: "aa", Serial: 3, Lineage: "l"}, Commit: "c", TofuVersion: "1.12.6", Workspace: "default", Backend: "/x", LockFileSHA256: "bb"}
	return r
}

func TestReceiptCheck(t *testing.T) {
	dir := t.TempDir()
	plan := filepath.Join(dir, "plan")
	if err := os.WriteFile(plan, []byte("plan"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := testReceipt()
	r.Plan.SHA256 = fmt.Sprintf("%x", sha256.Sum256([]byte("plan")))
	world := World{PlanPath: plan, State: r.State, Stack: "s", Commit: "c", TofuVersion: "1.12.6", LockFileSHA256: "bb", Workspace: "default", Backend: "/x"}
	if err := r.Check(world); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(w *World){
		"plan":      func(w *World) { w.PlanPath = dir },
		"state":     func(w *World) { w.State.SHA256 = "ab" },
		"serial":    func(w *World) { w.State.Serial++ },
		"lineage":   func(w *World) { w.State.Lineage = "m" },
		"absent":    func(w *World) { w.State = StateID{Absent: true} },
		"stack":     func(w *World) { w.Stack = "t" },
		"commit":    func(w *World) { w.Commit = "" },
		"version":   func(w *World) { w.TofuVersion = "1.12.7" },
		"lock file": func(w *World) { w.LockFileSHA256 = "" },
		"workspace": func(w *World) { w.Workspace = "prod" },
		"backend":   func(w *World) { w.Backend = "/y" },
	} {
		w := world
		spoil(&w)
		if checks := verdict.ChecksOf(r.Check(w)); len(checks) != 1 {
			t.Errorf("%s: %+v", name, checks)
		}
	}
}

func TestReadReceiptRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "receipt.json")
	if err := testReceipt().Write(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := func(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
	if _, err := ReadReceipt(path, sum(data)); err != nil {
		t.Fatal(err)
	}
	other := testReceipt()
	other.Commit = "another"
	if err := other.Write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadReceipt(path, sum(data)); verdict.Reason(err) != "plan-changed" {
		t.Errorf("another receipt: %v", err)
	}
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for name, field := range map[string][2]string{
		"an unknown field": {"extra", "x"},
		"another schema":   {"schema", "edge-actions/receipt/v9"},
	} {
		spoiled := maps.Clone(doc)
		spoiled[field[0]] = field[1]
		bad, _ := json.Marshal(spoiled)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadReceipt(path, sum(bad)); verdict.Reason(err) != "plan-changed" {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ReadReceipt(path, sum(data)); verdict.Reason(err) != "plan-changed" {
			t.Errorf("%s, with the old digest: %v", name, err)
		}
	}
}
