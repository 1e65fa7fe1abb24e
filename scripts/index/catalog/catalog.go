// Package catalog is action-index.yaml for those who read it: every action of
// the suite with its inputs and outputs, and what became different between two
// of them for somebody who uses the actions.
package catalog

import (
	"errors"
	"fmt"
	"os"

	"go.yaml.in/yaml/v4"
)

// Catalog is what action-index.yaml holds.
type Catalog struct {
	// Version is the release that it is of; "" for the actions as they are.
	Version string   `yaml:"version,omitempty"`
	Actions []Action `yaml:"actions"`
}

// Action is one action.yml, as far as it is for readers.
type Action struct {
	Name        string   `yaml:"name"`
	Description string   `yaml:"description,omitempty"`
	Uses        string   `yaml:"uses,omitempty"`
	Using       string   `yaml:"using,omitempty"` // only if it is not composite
	Inputs      []Input  `yaml:"inputs,omitempty"`
	Outputs     []Output `yaml:"outputs,omitempty"`
}

// Input is one input, in the order of the file.
type Input struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description,omitempty"`
	Required    bool   `yaml:"required,omitempty"`
	Default     string `yaml:"default,omitempty"`
}

// Output is one output, in the order of the file.
type Output struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description,omitempty"`
}

// Read reads a catalog. One without an action is refused: everything would be
// right by it.
func Read(path string) (*Catalog, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c Catalog
	if err := yaml.Load(data, &c, yaml.WithKnownFields()); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(c.Actions) == 0 {
		return nil, fmt.Errorf("reading %s: %w", path, errors.New("wanted a list of actions, found none"))
	}
	return &c, nil
}

// Action finds an action by its name.
func (c *Catalog) Action(name string) (Action, bool) {
	for _, a := range c.Actions {
		if a.Name == name {
			return a, true
		}
	}
	return Action{}, false
}

// Input finds an input by its name.
func (a Action) Input(name string) (Input, bool) {
	for _, in := range a.Inputs {
		if in.Name == name {
			return in, true
		}
	}
	return Input{}, false
}

// Output finds an output by its name.
func (a Action) Output(name string) (Output, bool) {
	for _, out := range a.Outputs {
		if out.Name == name {
			return out, true
		}
	}
	return Output{}, false
}

// Bare is the catalog without its words: what a caller depends on.
func (c *Catalog) Bare() *Catalog {
	out := &Catalog{Version: c.Version}
	for _, a := range c.Actions {
		b := Action{Name: a.Name}
		for _, in := range a.Inputs {
			in.Description = ""
			b.Inputs = append(b.Inputs, in)
		}
		for _, o := range a.Outputs {
			o.Description = ""
			b.Outputs = append(b.Outputs, o)
		}
		out.Actions = append(out.Actions, b)
	}
	return out
}
