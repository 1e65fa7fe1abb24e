package tailnet

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	now   = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	month = 30 * 24 * time.Hour
)

func documents(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "status", "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	return paths
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func document(t testing.TB, name string) *Status {
	t.Helper()
	s, err := ParseStatus(read(t, filepath.Join("testdata", "status", name+".json")))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each document in testdata/status has beside it the report that it makes.
func TestCheckGolden(t *testing.T) {
	for _, path := range documents(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			r := verdict.Report{Action: "tailnet", Started: now, Checks: document(t, name).Check(now, month)}
			r.Finish(now)
			got := r.Text()
			golden := strings.TrimSuffix(path, ".json") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, golden)), got); diff != "" {
				t.Errorf("-%s +got (go test -update writes it anew):\n%s", golden, diff)
			}
		})
	}
}

func TestParseStatusReadsWhatIsThere(t *testing.T) {
	got := document(t, "running")
	var peers []string
	for _, p := range got.Peers {
		peers = append(peers, p.Name())
	}
	want := []string{"control.tail0123.ts.example", "edge-9.tail9999.ts.example", "localhost-1.tail0123.ts.example", "localhost.tail0123.ts.example", "mac-mini.tail0123.ts.example"}
	if diff := cmp.Diff(want, peers); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got.Version != "1.102.5-t0123456789-gabcdef012" || got.Suffix != "tail0123.ts.example" || got.Self.Name() != "edge-1.tail0123.ts.example" || got.Health != nil {
		t.Errorf("%+v, self %+v", got, got.Self)
	}
	for name, want := range map[string]struct {
		online, expired, keys bool
	}{"mac-mini": {online: true}, "control": {online: true, keys: true}, "localhost-1": {expired: true}} {
		p, err := got.Peer(name)
		if err != nil || p.Online != want.online || p.Expired != want.expired || (len(p.HostKeys()) == 1) != want.keys {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// The document that a mutation leaves is refused, and it is never a status in
// which what is missing is well.
func TestParseStatusRefuses(t *testing.T) {
	whole := read(t, filepath.Join("testdata", "status", "running.json"))
	mutate := func(change func(doc, self map[string]any)) string {
		var doc map[string]any
		if err := json.Unmarshal(whole, &doc); err != nil {
			t.Fatal(err)
		}
		change(doc, doc["Self"].(map[string]any))
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, tc := range map[string]struct{ document, says string }{
		"nothing":            {"", "found nothing"},
		"white space":        {" \n\t", "found nothing"},
		"null":               {"null", "without BackendState"},
		"an empty object":    {"{}", "without BackendState"},
		"a list":             {"[]", "array"},
		"words":              {"Logged out.\n::error::x", `"Logged out.\n::error::x", which is no such document`},
		"truncated":          {string(whole[:len(whole)/2]), "unexpected end of JSON input"},
		"two documents":      {string(whole) + string(whole), "after top-level value"},
		"huge":               {`{"BackendState":"Running"}` + strings.Repeat(" ", maxStatus), "more than 33554432 bytes"},
		"no state":           {mutate(func(d, _ map[string]any) { delete(d, "BackendState") }), "without BackendState"},
		"state a number":     {mutate(func(d, _ map[string]any) { d["BackendState"] = 6 }), "BackendState"},
		"no health":          {mutate(func(d, _ map[string]any) { delete(d, "Health") }), "without Health"},
		"health a text":      {mutate(func(d, _ map[string]any) { d["Health"] = "fine\n::error::" }), `with the Health "\"fine\\n::error::\""`},
		"health of numbers":  {mutate(func(d, _ map[string]any) { d["Health"] = []any{1} }), "with the Health"},
		"no self":            {mutate(func(d, _ map[string]any) { delete(d, "Self") }), "without Self.Online"},
		"self null":          {mutate(func(d, _ map[string]any) { d["Self"] = nil }), "without Self.Online"},
		"no Self.Online":     {mutate(func(_, s map[string]any) { delete(s, "Online") }), "without Self.Online"},
		"Self.Online a text": {mutate(func(_, s map[string]any) { s["Online"] = "true" }), "Online"},
		"an expiry in words": {mutate(func(_, s map[string]any) { s["KeyExpiry"] = "never" }), "never"},
		"no address":         {mutate(func(_, s map[string]any) { s["TailscaleIPs"] = []any{"100.64.0.1/32"} }), "100.64.0.1/32"},
		"a peer that is null": {mutate(func(d, _ map[string]any) { d["Peer"] = map[string]any{"nodekey:\n01": nil} }),
			`nothing for the peer "nodekey:\n01"`},
		"peers as a list": {mutate(func(d, _ map[string]any) { d["Peer"] = []any{} }), "Peer"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseStatus([]byte(tc.document))
			checks := verdict.ChecksOf(err)
			if s != nil || len(checks) != 1 || checks[0].ID != NoStatus || checks[0].Verdict != verdict.Unproven {
				t.Fatalf("%+v, %v", s, err)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("it does not say %q: %v", tc.says, err)
			}
			fit(t, checks)
		})
	}
}

// What comes from elsewhere is quoted, and short.
func fit(t *testing.T, checks []verdict.Check) {
	t.Helper()
	for _, c := range checks {
		if c.Verdict != verdict.Proven && c.Hint == "" {
			t.Errorf("it does not say what to do: %+v", c)
		}
		text := c.Wanted + c.Got + c.Hint
		if strings.ContainsAny(text, "\n\r\x00\x1b\u202e") || len(text) > 8<<10 {
			t.Errorf("not fit for a log: %.500q", text)
		}
	}
}
