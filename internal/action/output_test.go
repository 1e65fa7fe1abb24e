package action_test

import (
	"strings"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/testing/runnertest"
)

func TestOutputsThatSomeRunnerWouldSpoil(t *testing.T) {
	for name, test := range map[string]struct {
		value string
		ok    bool
	}{
		"empty":                      {"", true},
		"text":                       {"a=b << c", true},
		"lines":                      {"one\n\ntwo\n", true},
		"another delimiter":          {"_GitHubActionsFileCommandDelimeter_\nverdict=proven", true},
		"its own delimiter":          {"one\nedge_d\nverdict=proven", false},
		"empty first line":           {"\none", false},
		"carriage return":            {"one\r\ntwo", false},
		"NUL":                        {"one\x00", false},
		"invalid UTF-8":              {"one\xff", false},
		"an expression":              {"${{ secrets.KEY }}", false},
		"a line below the limit":     {strings.Repeat("x", 60<<10-1), true},
		"a line at the limit":        {strings.Repeat("x", 60<<10), false},
		"the last line at the limit": {"one\n" + strings.Repeat("x", 60<<10), false},
		"at most 1 MiB":              {strings.Repeat(strings.Repeat("x", 1023)+"\n", 1024), true},
		"over 1 MiB":                 {strings.Repeat(strings.Repeat("x", 1023)+"\n", 1024) + "x", false},
	} {
		entry, err := action.FormatOutput("a", test.value, "edge_d")
		if (err == nil) != test.ok {
			t.Errorf("%s: error %v", name, err)
		}
		if err == nil {
			readBack(t, entry, test.value)
		}
	}
}

// readBack holds that the strictest runner reads exactly that value under
// exactly that name, and what comes after it.
func readBack(t *testing.T, entry, value string) {
	t.Helper()
	got, lost, err := runnertest.ParseFile([]byte(entry + "after=1\n"))
	if err != nil || lost {
		t.Fatalf("error %v, lost %v, from %.200q", err, lost, entry)
	}
	if len(got) != 2 || got["a"] != value || got["after"] != "1" {
		t.Fatalf("read %.200q, want %.200q", got, value)
	}
}

func FuzzOutput(f *testing.F) {
	for _, seed := range []string{"", "x", "a\nb", "\n", "a<<b\nc\nb", "edge_d\n", "a\redge_d", "=\n<<", "\xef\xbb\xbf", "${{ x }}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if entry, err := action.FormatOutput("a", value, "edge_d"); err == nil {
			readBack(t, entry, value)
		}
	})
}

func TestUndeclaredNamesAreDefects(t *testing.T) {
	a := newAction(t, nil)
	for name, f := range map[string]func(){
		"output": func() { a.SetOutput("nope", "x") },
		"input":  func() { a.Inputs().Text("nope") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("an undeclared %s is taken", name)
				}
			}()
			f()
		}()
	}
}

func TestCutLines(t *testing.T) {
	if got := action.CutLines("short\n", 10); got != "short\n" {
		t.Errorf("%q", got)
	}
	if got := action.CutLines("one\ntwo\nthree\n", 9); !strings.HasPrefix(got, "one\ntwo\n\n_6 more bytes") {
		t.Errorf("%q", got)
	}
	if got := action.CutLines(strings.Repeat("x", 20), 9); strings.Contains(got, "x") {
		t.Errorf("half a line: %q", got)
	}
}
