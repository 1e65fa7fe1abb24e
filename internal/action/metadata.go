package action

import (
	"fmt"

	"go.yaml.in/yaml/v4"
)

// Metadata is what an action.yml declares, as far as the binary needs it. The
// file is embedded in the binary, so that names and defaults stand in one
// place and can't drift apart.
type Metadata struct {
	Name    string            `yaml:"name"`
	Inputs  map[string]Input  `yaml:"inputs"`
	Outputs map[string]Output `yaml:"outputs"`
}

// Input is one declared input.
type Input struct {
	Description string `yaml:"description"`
	Required    bool   `yaml:"required"`
	Default     string `yaml:"default"`
}

// Output is one declared output.
type Output struct {
	Description string `yaml:"description"`
	Value       string `yaml:"value"`
}

// ParseMetadata reads an action.yml.
func ParseMetadata(data []byte) (*Metadata, error) {
	var m Metadata
	if err := yaml.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("reading action.yml: %w", err)
	}
	if m.Name == "" {
		return nil, fmt.Errorf("reading action.yml: it has no name")
	}
	return &m, nil
}
