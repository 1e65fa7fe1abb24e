package workflows

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/scripts/index/catalog"

	"github.com/google/go-cmp/cmp"
)

// index is a suite of two actions.
func index() *catalog.Catalog {
	return &catalog.Catalog{Actions: []catalog.Action{
		{Name: "hello", Inputs: []catalog.Input{{Name: "who", Required: true}, {Name: "at", Default: "now"}}, Outputs: []catalog.Output{{Name: "said"}}},
		{Name: "bye"},
	}}
}

const right = `name: right
on:
  schedule:
    - cron: "3 4 * * *"
  workflow_dispatch:
    inputs:
      who: {default: all}
concurrency:
  group: right
  cancel-in-progress: false
jobs:
  one:
    runs-on: self-hosted
    timeout-minutes: 30
    outputs:
      said: ${{ steps.greet.outputs.said }}
    steps:
      - uses: actions/checkout@v4
      - id: greet
        uses: ./actions/hello
        timeout-minutes: 10
        with:
          who: ${{ inputs.who }}
      - if: steps.greet.outputs.said != ''
        uses: owner/suite/actions/bye@v1
        timeout-minutes: 19
        env:
          TEXT: ${{ steps.greet.outputs.said }}
      - run: true # ${{ steps.other.outputs.whatever }}
`

func TestRules(t *testing.T) {
	tests := map[string]struct{ old, new, want string }{
		"no group":                 {"concurrency:\n  group: right\n  cancel-in-progress: false\n", "", `:9: job "one": wanted a concurrency group`},
		"an empty group":           {"group: right", "group: ''", "wanted a concurrency group"},
		"a cancelled run":          {"cancel-in-progress: false", "cancel-in-progress: true", "wanted cancel-in-progress: false"},
		"perhaps cancelled":        {"cancel-in-progress: false", "cancel-in-progress: ${{ vars.X }}", "wanted cancel-in-progress: false"},
		"cancelled by the job":     {"    timeout-minutes: 30\n", "    timeout-minutes: 30\n    concurrency: {group: x, cancel-in-progress: true}\n", "wanted cancel-in-progress: false"},
		"no timeout of the job":    {"    timeout-minutes: 30\n", "", `:12: job "one": wanted timeout-minutes, found none`},
		"no timeout of a step":     {"        timeout-minutes: 10\n", "", `:19: step "greet": wanted timeout-minutes, found none`},
		"a timeout nobody knows":   {"timeout-minutes: 10", "timeout-minutes: ${{ vars.T }}", "as a whole number"},
		"a timeout of nothing":     {"timeout-minutes: 10", "timeout-minutes: 0", "as a whole number"},
		"a step as long":           {"timeout-minutes: 10", "timeout-minutes: 30", "found 49 minutes"},
		"all of them as long":      {"timeout-minutes: 19", "timeout-minutes: 20", "found 30 minutes"},
		"a run step as long":       {"- run: true", "- timeout-minutes: 30\n        run: true", "found 59 minutes"},
		"an input it has not":      {"          who: ", "          whom: x\n          who: ", `found "whom"`},
		"a required one left out":  {"          who: ${{ inputs.who }}", "          at: now", `wanted the input "who"`},
		"a required one empty":     {"who: ${{ inputs.who }}", "who: ' '", `wanted the input "who"`},
		"an action that is none":   {"uses: ./actions/hello", "uses: ./actions/hallo", `no action of this suite is called "hallo"`},
		"one from elsewhere":       {"owner/suite/actions/bye@v1", "https://forge.example/owner/suite/actions/by@v1", `no action of this suite is called "by"`},
		"an output of a step":      {"TEXT: ${{ steps.greet.outputs.said }}", "TEXT: ${{ steps.greet.outputs.sad }}", `found "sad"`},
		"an output of a job":       {"      said: ${{ steps.greet.outputs.said }}", "      said: ${{ steps.greet.outputs.sad }}", `job "one": wanted outputs of hello`},
		"an output in a condition": {"if: steps.greet.outputs.said != ''", "if: steps.greet.outputs.sad != ''", `found "sad"`},
		"an output in a script":    {"- run: true", "- run: echo ${{ steps.greet.outputs.sad }}", `found "sad"`},
		"a workflow it calls":      {"  one:\n", "  two:\n    uses: ./.forgejo/workflows/x.yml\n  one:\n", "found a call of"},
	}
	w, err := Parse("right.yml", []byte(right))
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Problems(index()); len(got) > 0 {
		t.Fatalf("the right one is refused: %q", got)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if strings.Count(right, test.old) != 1 {
				t.Fatalf("%q is not once in the right one", test.old)
			}
			w, err := Parse("wrong.yml", []byte(strings.Replace(right, test.old, test.new, 1)))
			if err != nil {
				t.Fatal(err)
			}
			got := w.Problems(index())
			if !strings.Contains(strings.Join(got, "\n"), test.want) || !strings.HasPrefix(got[0], "wrong.yml:") {
				t.Errorf("%q, want one with %q", got, test.want)
			}
		})
	}
}

func TestAGroupOfTheJobIsOne(t *testing.T) {
	text := strings.Replace(right, "concurrency:\n  group: right\n  cancel-in-progress: false\n", "", 1)
	text = strings.Replace(text, "    timeout-minutes: 30\n", "    timeout-minutes: 30\n    concurrency: right\n", 1)
	w, err := Parse("right.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Problems(index()); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

func TestWhatIsNoWorkflow(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":  "",
		"no jobs":  "name: x\non: push\n",
		"no steps": "on: push\njobs:\n  one:\n    runs-on: x\n",
		"a list":   "jobs: [a, b]\n",
		"not yaml": "jobs: {",
		"text":     "jobs:\n  one:\n    steps: do it\n",
	} {
		if w, err := Parse("x.yml", []byte(text)); err == nil || !strings.Contains(err.Error(), "x.yml") {
			t.Errorf("%s: %+v, %v", name, w, err)
		}
	}
}

func TestWhichActionAStepUses(t *testing.T) {
	for uses, want := range map[string]string{
		"./actions/tofu-apply":                                 "tofu-apply",
		"owner/edge-actions/actions/tofu-apply@v1":             "tofu-apply",
		"https://forge.example/o/r/actions/tofu-apply@0123abc": "tofu-apply",
		"./vendor/edge/actions/tofu-apply":                     "tofu-apply",
		"actions/checkout@v4":                                  "",
		"./actions/tofu-apply/deeper":                          "",
		"docker://alpine":                                      "",
		"":                                                     "",
	} {
		if got, ok := (Step{Uses: uses}).Action(); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", uses, got, ok)
		}
	}
}

func TestDefaultsAndFind(t *testing.T) {
	w, err := Parse("right.yml", []byte(right))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"who": "all"}, w.Defaults); diff != "" {
		t.Error(diff)
	}
	if got, err := Find(filepath.Join(t.TempDir(), "none")); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
}

// TestEveryWorkflowOfTheRepository holds this repository's own workflows and
// all examples to the rules.
func TestEveryWorkflowOfTheRepository(t *testing.T) {
	root := filepath.Join("..", "..")
	c, err := catalog.Read(filepath.Join(root, "action-index.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var examples []string
	err = filepath.WalkDir(filepath.Join(root, "examples"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && e.Name() == "workflows" {
			examples = append(examples, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	own, err := Find(filepath.Join(root, ".forgejo", "workflows"))
	if err != nil {
		t.Fatal(err)
	}
	copied, err := Find(examples...)
	if err != nil {
		t.Fatal(err)
	}
	// Found is not empty: a rule that looks at no file holds for all.
	if len(own) == 0 || len(copied) < 5 {
		t.Fatalf("only %d workflows of its own and %d examples were found", len(own), len(copied))
	}
	for _, path := range append(own, copied...) {
		w, err := Read(path)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, problem := range w.Problems(c) {
			t.Error(problem)
		}
	}
}
