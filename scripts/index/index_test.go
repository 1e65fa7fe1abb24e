package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `name: hello
description: Says
  hello.
inputs:
  who_is_it:
    description: Whom to greet | or not.
    required: true
  at:
    description: When.
    default: now
outputs:
  report:
    description: The report.
    value: ${{ steps.run.outputs.report }}
runs:
  using: composite
  steps:
    - id: run
      shell: bash
      run: exec "${GITHUB_ACTION_PATH}/../../scripts/action" hello
      env:
        INPUT_WHO_IS_IT: ${{ inputs.who_is_it }}
        INPUT_AT: ${{ inputs.at }}
`

const readme = "# hello\n\n<!-- inputs -->\n<!-- /inputs -->\n\nmore\n\n<!-- outputs -->\nold\n<!-- /outputs -->\nend\n"

// tree writes an action named hello and returns the root.
func tree(t *testing.T, yml, readme string) string {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "actions/hello/action.yml"), yml)
	if readme != "" {
		write(t, filepath.Join(root, "actions/hello/README.md"), readme)
	}
	unreleased(t, root)
	return root
}

// unreleased puts a change log and a released.yaml into root that have nothing
// to say about the actions there.
func unreleased(t *testing.T, root string) {
	t.Helper()
	write(t, filepath.Join(root, "CHANGELOG.md"), "# Changelog\n\n## [Unreleased]\n")
	write(t, filepath.Join(root, releasedPath), "version: 0.0.0\nactions:\n    - name: hello\n      inputs:\n        - {name: who_is_it, required: true}\n")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWritesIndexAndTables(t *testing.T) {
	root := tree(t, good, readme)
	if err := run(root, true); err == nil || !strings.Contains(err.Error(), "+| `at` | `now` | When. |") {
		t.Errorf("before writing, -check says: %v", err)
	}
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	want := "# hello\n\n<!-- inputs -->\n| input | default | what it is |\n|---|---|---|\n" +
		"| `who_is_it` | **required** | Whom to greet \\| or not. |\n| `at` | `now` | When. |\n<!-- /inputs -->\n\nmore\n\n" +
		"<!-- outputs -->\n| output | what it is |\n|---|---|\n| `report` | The report. |\n<!-- /outputs -->\nend\n"
	if got := read(t, filepath.Join(root, "actions/hello/README.md")); got != want {
		t.Errorf("README:\n%s\nwant:\n%s", got, want)
	}
	index := read(t, filepath.Join(root, "action-index.yaml"))
	for _, line := range []string{"- name: hello", "description: Says hello.", "uses: actions/hello", "required: true", "default: now"} {
		if !strings.Contains(index, line) {
			t.Errorf("the index has no %q:\n%s", line, index)
		}
	}
	if strings.Index(index, "who_is_it") > strings.Index(index, "name: at") {
		t.Errorf("the inputs are not in the order of the file:\n%s", index)
	}
	if err := run(root, true); err != nil {
		t.Errorf("after writing, -check says: %v", err)
	}
	write(t, filepath.Join(root, "actions/hello/action.yml"), strings.Replace(good, "When.", "Then.", 1))
	err := run(root, true)
	if err == nil || !strings.Contains(err.Error(), "-| `at` | `now` | When. |\n+| `at` | `now` | Then. |") || !strings.Contains(err.Error(), "action-index.yaml") {
		t.Errorf("drift is said as: %v", err)
	}
}

func TestRules(t *testing.T) {
	tests := map[string]struct{ old, new, want string }{
		"name":                {"name: hello", "name: hullo", "want the folder's"},
		"description":         {"description: Says\n  hello.", "branding: {}", "no description"},
		"input's case":        {"  at:\n", "  At-time:\n", `input "At-time" is not snake_case`},
		"input's description": {"    description: When.\n", "", `input "at" has no description`},
		"required default":    {"    default: now", "    default: now\n    required: true", "required and has a default"},
		"output's case":       {"  report:\n", "  reportPath:\n", `output "reportPath" is not snake_case`},
		"output's text":       {"    description: The report.\n", "", `output "report" has no description`},
		"output's value":      {"steps.run.outputs.report", "steps.run.outputs.raport", "want \"${{ steps.run.outputs.report }}\""},
		"unmapped input":      {"        INPUT_AT: ${{ inputs.at }}\n", "", "env INPUT_AT is \"\""},
		"crossed inputs":      {"INPUT_AT: ${{ inputs.at }}", "INPUT_AT: ${{ inputs.who_is_it }}", "env INPUT_AT is"},
		"stale mapping":       {"INPUT_AT: ${{ inputs.at }}", "INPUT_AT: ${{ inputs.at }}\n        INPUT_GONE: x", "env INPUT_GONE maps no input"},
		"docker":              {"using: composite", "using: docker", "want composite"},
		"node elsewhere":      {"using: composite", "using: node20", "want composite"},
		"run line":            {"scripts/action\" hello", "scripts/action\" hello --fast", "the step runs"},
		"no exec":             {"run: exec ", "run: nice ", "the step runs"},
		"shell":               {"shell: bash", "shell: sh", "want bash"},
		"step's id":           {"id: run", "id: go", "want one step"},
		"two steps":           {"  steps:\n", "  steps:\n    - uses: ./x\n", "want one step"},
		"the same twice":      {"  at:\n", "  who_is_it:\n    description: x\n  at:\n", `"who_is_it" is there twice`},
		"not yaml":            {"name: hello", "name: [", "action.yml"},
	}
	if err := run(tree(t, good, readme), false); err != nil {
		t.Fatalf("the good one is refused: %v", err)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if strings.Count(good, test.old) != 1 {
				t.Fatalf("%q is not once in the good one", test.old)
			}
			root := tree(t, strings.Replace(good, test.old, test.new, 1), readme)
			err := run(root, false)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if _, err := os.Stat(filepath.Join(root, "action-index.yaml")); err == nil {
				t.Error("an index was written all the same")
			}
		})
	}
}

func TestReadmeRules(t *testing.T) {
	for name, text := range map[string]string{
		"missing":     "",
		"no markers":  "# hello\n",
		"one marker":  "<!-- inputs -->\n<!-- outputs --><!-- /outputs -->\n",
		"upside down": "<!-- /inputs --><!-- inputs --><!-- outputs --><!-- /outputs -->\n",
		"twice":       readme + readme,
	} {
		if err := run(tree(t, good, text), false); err == nil || !strings.Contains(err.Error(), "README.md") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNodeShim(t *testing.T) {
	root := t.TempDir()
	unreleased(t, root)
	write(t, filepath.Join(root, releasedPath), "version: 0.0.0\nactions:\n    - name: nixos-bootstrap\n")
	yml := "name: nixos-bootstrap\ndescription: Boots.\nruns:\n  using: node20\n  main: main.js\n"
	write(t, filepath.Join(root, "actions/nixos-bootstrap/action.yml"), yml)
	write(t, filepath.Join(root, "actions/nixos-bootstrap/README.md"), readme)
	if err := run(root, false); err != nil {
		t.Error(err)
	}
	if index := read(t, filepath.Join(root, "action-index.yaml")); !strings.Contains(index, "using: node20") {
		t.Errorf("what node it needs is not in the index:\n%s", index)
	}
}

func TestAFolderWithoutActionYml(t *testing.T) {
	root := tree(t, good, readme)
	write(t, filepath.Join(root, "actions/empty/main.go"), "package main\n")
	if err := run(root, false); err == nil || !strings.Contains(err.Error(), "actions/empty/action.yml") {
		t.Errorf("error %v", err)
	}
}
