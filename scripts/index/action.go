package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"edge-actions/scripts/index/catalog"

	"go.yaml.in/yaml/v4"
)

// file is an action.yml as it is written.
type file struct {
	Name        string          `yaml:"name"`
	Description string          `yaml:"description"`
	Inputs      ordered[input]  `yaml:"inputs"`
	Outputs     ordered[output] `yaml:"outputs"`
	Runs        struct {
		Using string `yaml:"using"`
		Steps []struct {
			ID    string            `yaml:"id"`
			Uses  string            `yaml:"uses"`
			Run   string            `yaml:"run"`
			Shell string            `yaml:"shell"`
			Env   map[string]string `yaml:"env"`
		} `yaml:"steps"`
	} `yaml:"runs"`
}

type input struct {
	Description string `yaml:"description"`
	Required    bool   `yaml:"required"`
	Default     string `yaml:"default"`
}

type output struct {
	Description string `yaml:"description"`
	Value       string `yaml:"value"`
}

// ordered is a map that keeps the order of the file.
type ordered[T any] []entry[T]

type entry[T any] struct {
	name  string
	value T
}

func (o *ordered[T]) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: not a mapping", node.Line)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		e := entry[T]{name: node.Content[i].Value}
		if slices.ContainsFunc(*o, func(other entry[T]) bool { return other.name == e.name }) {
			return fmt.Errorf("line %d: %q is there twice", node.Content[i].Line, e.name)
		}
		if err := node.Content[i+1].Decode(&e.value); err != nil {
			return err
		}
		*o = append(*o, e)
	}
	return nil
}

// nodeActions may be a node shim around the launcher: the one form with a
// post phase.
var nodeActions = map[string]bool{"nixos-bootstrap": true}

var snake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// load reads the action in dir and returns every rule that it breaks.
func load(dir string) (catalog.Action, error) {
	data, err := os.ReadFile(filepath.Join(dir, "action.yml"))
	if err != nil {
		return catalog.Action{}, err
	}
	var f file
	if err := yaml.Unmarshal(data, &f); err != nil {
		return catalog.Action{}, fmt.Errorf("%s/action.yml: %w", dir, err)
	}
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s/action.yml: %s", dir, fmt.Sprintf(format, args...)))
	}
	folder := filepath.Base(dir)
	if f.Name != folder {
		wrong("name is %q, want the folder's, %q: the launcher builds by that name", f.Name, folder)
	}
	if f.Description == "" {
		wrong("no description")
	}
	a := catalog.Action{Name: f.Name, Description: oneLine(f.Description), Uses: "actions/" + folder}
	node := strings.HasPrefix(f.Runs.Using, "node")
	for _, in := range f.Inputs {
		if !snake.MatchString(in.name) {
			wrong("input %q is not snake_case: dash drops variables with a hyphen in their name", in.name)
		}
		if in.value.Description == "" {
			wrong("input %q has no description", in.name)
		}
		if in.value.Required && in.value.Default != "" {
			wrong("input %q is required and has a default", in.name)
		}
		a.Inputs = append(a.Inputs, catalog.Input{Name: in.name, Description: oneLine(in.value.Description), Required: in.value.Required, Default: strings.TrimSpace(in.value.Default)})
	}
	for _, out := range f.Outputs {
		if !snake.MatchString(out.name) {
			wrong("output %q is not snake_case", out.name)
		}
		if out.value.Description == "" {
			wrong("output %q has no description", out.name)
		}
		if want := "${{ steps.run.outputs." + out.name + " }}"; !node && out.value.Value != want {
			wrong("output %q has the value %q, want %q", out.name, out.value.Value, want)
		}
		a.Outputs = append(a.Outputs, catalog.Output{Name: out.name, Description: oneLine(out.value.Description)})
	}
	switch {
	case f.Runs.Using == "composite":
		for _, problem := range f.runProblems(folder) {
			wrong("%s", problem)
		}
	case node && nodeActions[folder]:
		a.Using = f.Runs.Using
	default:
		wrong("runs.using is %q, want composite: the one form that works on every runner without docker", f.Runs.Using)
	}
	return a, errors.Join(errs...)
}

// runProblems holds the steps of a composite action to one: the launcher,
// with every input mapped by hand.
func (f *file) runProblems(folder string) (out []string) {
	if len(f.Runs.Steps) != 1 || f.Runs.Steps[0].ID != "run" {
		return []string{"want one step, with the id run"}
	}
	step := f.Runs.Steps[0]
	if want := `exec "${GITHUB_ACTION_PATH}/../../scripts/action" ` + folder; strings.TrimSpace(step.Run) != want {
		out = append(out, fmt.Sprintf("the step runs %q, want %q", step.Run, want))
	}
	if step.Shell != "bash" {
		out = append(out, fmt.Sprintf("the step's shell is %q, want bash", step.Shell))
	}
	mapped := map[string]bool{}
	for _, in := range f.Inputs {
		name := "INPUT_" + strings.ToUpper(in.name)
		mapped[name] = true
		if want := "${{ inputs." + in.name + " }}"; step.Env[name] != want {
			out = append(out, fmt.Sprintf("env %s is %q, want %q: GitHub maps no inputs in a composite action, and Forgejo lets others leak in", name, step.Env[name], want))
		}
	}
	for name := range step.Env {
		if strings.HasPrefix(name, "INPUT_") && !mapped[name] {
			out = append(out, fmt.Sprintf("env %s maps no input", name))
		}
	}
	return out
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
