package main

import (
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/scripts/index/catalog"

	"github.com/google/go-cmp/cmp"
)

// before is what the last release had, of which each test changes something.
const before = `version: 1.0.0
actions:
    - name: hello
      inputs:
        - name: who
          required: true
        - name: at
          default: now
        - name: loud
      outputs:
        - name: report
        - name: verdict
    - name: other
`

const log = "# Changelog\n\n## [Unreleased]\n\n%s\n## [1.0.0] - 2026-01-31\n\n### Removed\n\n- `hello: input at`, long ago\n"

func TestWhatBreaksAWorkflowIsInTheChangeLog(t *testing.T) {
	tests := map[string]struct{ old, new, name, heading string }{
		"input gone":            {"        - name: at\n          default: now\n", "", "hello: input at", "Removed"},
		"input renamed":         {"name: loud", "name: volume", "hello: input loud", "Removed"},
		"another default":       {"default: now", "default: later", "hello: input at", "Changed"},
		"no default any more":   {"          default: now\n", "", "hello: input at", "Changed"},
		"a first default":       {"name: loud", "name: loud\n          default: \"true\"", "hello: input loud", "Changed"},
		"required now":          {"name: loud", "name: loud\n          required: true", "hello: input loud", "Changed"},
		"not required any more": {"          required: true\n", "", "hello: input who", "Changed"},
		"required and new":      {"name: loud", "name: loud\n        - name: more\n          required: true", "hello: input more", "Added"},
		"output gone":           {"        - name: verdict\n", "", "hello: output verdict", "Removed"},
		"action gone":           {"    - name: other\n", "", "other: action", "Removed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if strings.Count(before, test.old) != 1 {
				t.Fatalf("%q is not once in the release", test.old)
			}
			now := parse(t, strings.Replace(before, test.old, test.new, 1))
			for _, silent := range []string{
				"",
				"### " + test.heading + "\n\n- Something about " + test.name + "\n",  // without backticks
				"### " + test.heading + "\n\n- `" + test.name + "_too` is another\n", // another's name
				"### Fixed\n\n- `" + test.name + "`\n",                               // another heading
			} {
				err := hold(t, silent, now)
				if err == nil || !strings.Contains(err.Error(), test.name+": ") || !strings.Contains(err.Error(), "### "+test.heading) {
					t.Errorf("with the log %q: %v", silent, err)
				}
			}
			if err := hold(t, "### "+test.heading+"\n\n- `"+test.name+"`, and why\n", now); err != nil {
				t.Errorf("although it is said: %v", err)
			}
		})
	}
}

func TestWhatBreaksNobodyNeedsNoLine(t *testing.T) {
	for name, test := range map[string]struct{ old, new string }{
		"nothing":           {"name: hello", "name: hello"},
		"an optional input": {"name: loud", "name: loud\n        - name: more\n          default: \"3\""},
		"an output":         {"name: report", "name: report\n        - name: more"},
		"an action":         {"name: other", "name: other\n    - name: new\n      inputs:\n        - name: must\n          required: true"},
		"other words":       {"name: loud", "name: loud\n          description: Louder."},
		"another order":     {"        - name: report\n        - name: verdict", "        - name: verdict\n        - name: report"},
	} {
		if strings.Count(before, test.old) != 1 {
			t.Fatalf("%q is not once in the release", test.old)
		}
		if err := hold(t, "", parse(t, strings.Replace(before, test.old, test.new, 1))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAChangeLogSaysNothingWrong(t *testing.T) {
	for _, name := range []string{"hello: input at", "hello: output report", "other: action"} {
		err := hold(t, "### Removed\n\n- `"+name+"`\n", parse(t, before))
		if err == nil || !strings.Contains(err.Error(), "is gone, and it is there") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChangeLogsForm(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":                {"", "found none"},
		"no unreleased":        {"## [1.0.0] - 2026-01-31\n", "as the first part"},
		"unreleased last":      {"## [1.0.0] - 2026-01-31\n## [Unreleased]\n", "as the first part"},
		"unreleased unlinked":  {"## Unreleased\n", "as the first part"},
		"no day":               {"## [Unreleased]\n## [1.0.0]\n", "line 2: wanted a part with its version"},
		"a heading nobody has": {"## [Unreleased]\n### Breaking\n- x\n", "line 2: wanted one of the headings"},
		"a line of no heading": {"## [Unreleased]\n- x\n", "wanted a heading"},
	} {
		if _, err := parseChangelog(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	c, err := parseChangelog("## [Unreleased]\n## [1.1.0-rc.1] - 2026-02-01\n### Fixed\n- x\n## [1.0.0] - 2026-01-31\n")
	if err != nil || c.latest != "1.1.0-rc.1" || len(c.unreleased) != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestReleasedFollowsTheChangeLog(t *testing.T) {
	root := tree(t, good, readme)
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	if err := release(root, "1.0.0"); err == nil || !strings.Contains(err.Error(), "## [1.0.0] - YYYY-MM-DD") {
		t.Errorf("released without a part of the change log: %v", err)
	}
	write(t, filepath.Join(root, "CHANGELOG.md"), "# Changelog\n\n## [Unreleased]\n\n## [1.0.0] - 2026-01-31\n")
	if err := run(root, true); err == nil || !strings.Contains(err.Error(), "go run ./scripts/index -release 1.0.0") {
		t.Errorf("a version of the change log that is not kept: %v", err)
	}
	if err := release(root, "v1.0.0"); err != nil {
		t.Fatal(err)
	}
	if err := run(root, true); err != nil {
		t.Errorf("right after the release: %v", err)
	}
	got, err := catalog.Read(filepath.Join(root, releasedPath))
	want := &catalog.Catalog{Version: "1.0.0", Actions: []catalog.Action{{Name: "hello",
		Inputs:  []catalog.Input{{Name: "who_is_it", Required: true}, {Name: "at", Default: "now"}},
		Outputs: []catalog.Output{{Name: "report"}},
	}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	write(t, filepath.Join(root, "actions/hello/action.yml"), strings.Replace(good, "default: now", "default: later", 1))
	if err := run(root, false); err == nil || !strings.Contains(err.Error(), "hello: input at: its default is \"later\", and was \"now\" since version 1.0.0") {
		t.Errorf("another default after the release: %v", err)
	}
}

func TestWithoutAReleaseNothingIsRight(t *testing.T) {
	root := tree(t, good, readme)
	write(t, filepath.Join(root, releasedPath), "version: 0.0.0\n")
	if err := run(root, false); err == nil || !strings.Contains(err.Error(), "wanted a list of actions, found none") {
		t.Errorf("an empty release: %v", err)
	}
}

func parse(t *testing.T, text string) *catalog.Catalog {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index.yaml")
	write(t, path, text)
	c, err := catalog.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func hold(t *testing.T, unreleased string, now *catalog.Catalog) error {
	t.Helper()
	c, err := parseChangelog(strings.Replace(log, "%s", unreleased, 1))
	if err != nil {
		t.Fatal(err)
	}
	return c.hold(parse(t, before), now)
}
