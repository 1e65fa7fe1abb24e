// Package workflows reads workflow files as far as it matters to the actions
// of this suite: which of them a step uses, what it gives them, and how long
// anything may take. It refuses to take a file that it could not read for one
// that has nothing to say.
package workflows

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v4"
)

// Workflow is one file.
type Workflow struct {
	Path        string
	Concurrency Concurrency
	Env         map[string]string
	// Defaults are those of the inputs of workflow_dispatch.
	Defaults map[string]string
	Jobs     []Job
}

// Concurrency is that of a workflow or of a job.
type Concurrency struct {
	Group  string
	Cancel string // cancel-in-progress, as it is written
}

// Job is one job, in the order of the file.
type Job struct {
	ID          string
	Line        int
	Timeout     string // timeout-minutes, as it is written; "" if it is not
	Calls       string // the workflow that it calls instead of having steps
	Concurrency Concurrency
	Env         map[string]string
	Outputs     map[string]string
	Steps       []Step
}

// Step is one step.
type Step struct {
	ID, Name, Uses, Run, If string
	Line                    int
	Timeout                 string
	With                    map[string]string
	Env                     map[string]string
}

// reference is a use of an action of a suite: a checkout's, a repository's or
// a forge's. "actions/checkout@v4" is a repository of an owner "actions".
var reference = regexp.MustCompile(`^(.+/)actions/([A-Za-z0-9._-]+)(@.*)?$`)

// Action returns the name of the action that the step uses, if the place is
// one where a suite keeps its actions.
func (s Step) Action() (string, bool) {
	if m := reference.FindStringSubmatch(s.Uses); m != nil {
		return m[2], true
	}
	return "", false
}

// Title is what a person calls the step.
func (s Step) Title() string {
	for _, name := range []string{s.ID, s.Name, s.Uses} {
		if name != "" {
			return name
		}
	}
	return fmt.Sprintf("of line %d", s.Line)
}

// Find returns the workflow files of the directories, in order. A directory
// that is not there has none.
func Find(dirs ...string) (out []string, err error) {
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yml" || ext == ".yaml") {
				out = append(out, filepath.Join(dir, e.Name()))
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// Read reads one file.
func Read(path string) (*Workflow, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads a workflow. path is what it is called in errors.
func Parse(path string, data []byte) (*Workflow, error) {
	var f struct {
		On          yaml.Node         `yaml:"on"`
		Concurrency concurrency       `yaml:"concurrency"`
		Env         map[string]string `yaml:"env"`
		Jobs        yaml.Node         `yaml:"jobs"`
	}
	if err := yaml.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("reading the workflow %s: %w", path, err)
	}
	w := &Workflow{Path: path, Concurrency: Concurrency(f.Concurrency), Env: f.Env, Defaults: defaults(&f.On)}
	if f.Jobs.Kind != yaml.MappingNode || len(f.Jobs.Content) == 0 {
		return nil, fmt.Errorf("reading the workflow %s: wanted a mapping of jobs, found none", path)
	}
	for i := 0; i+1 < len(f.Jobs.Content); i += 2 {
		job, err := parseJob(f.Jobs.Content[i], f.Jobs.Content[i+1])
		if err != nil {
			return nil, fmt.Errorf("reading the workflow %s: %w", path, err)
		}
		w.Jobs = append(w.Jobs, job)
	}
	return w, nil
}

func parseJob(name, node *yaml.Node) (Job, error) {
	var j struct {
		Timeout     string            `yaml:"timeout-minutes"`
		Uses        string            `yaml:"uses"`
		Concurrency concurrency       `yaml:"concurrency"`
		Env         map[string]string `yaml:"env"`
		Outputs     map[string]string `yaml:"outputs"`
		Steps       []yaml.Node       `yaml:"steps"`
	}
	if err := node.Decode(&j); err != nil {
		return Job{}, err
	}
	out := Job{ID: name.Value, Line: name.Line, Timeout: j.Timeout, Calls: j.Uses, Concurrency: Concurrency(j.Concurrency), Env: j.Env, Outputs: j.Outputs}
	for _, n := range j.Steps {
		var s struct {
			ID      string            `yaml:"id"`
			Name    string            `yaml:"name"`
			Uses    string            `yaml:"uses"`
			Run     string            `yaml:"run"`
			If      string            `yaml:"if"`
			Timeout string            `yaml:"timeout-minutes"`
			With    map[string]string `yaml:"with"`
			Env     map[string]string `yaml:"env"`
		}
		if err := n.Decode(&s); err != nil {
			return Job{}, err
		}
		out.Steps = append(out.Steps, Step{ID: s.ID, Name: s.Name, Uses: s.Uses, Run: s.Run, If: s.If, Line: n.Line, Timeout: s.Timeout, With: s.With, Env: s.Env})
	}
	if len(out.Steps) == 0 && out.Calls == "" {
		return Job{}, fmt.Errorf("line %d: wanted steps in the job %q, found none", name.Line, name.Value)
	}
	return out, nil
}

// concurrency is a group's name, or a mapping with one.
type concurrency Concurrency

func (c *concurrency) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		c.Group = node.Value
		return nil
	}
	var m struct {
		Group  string `yaml:"group"`
		Cancel string `yaml:"cancel-in-progress"`
	}
	if err := node.Decode(&m); err != nil {
		return err
	}
	c.Group, c.Cancel = m.Group, m.Cancel
	return nil
}

// defaults are those of the inputs of workflow_dispatch; what starts a workflow
// may be a word, a list or a mapping, and only the last can have them.
func defaults(on *yaml.Node) map[string]string {
	var m struct {
		Dispatch struct {
			Inputs map[string]struct {
				Default string `yaml:"default"`
			} `yaml:"inputs"`
		} `yaml:"workflow_dispatch"`
	}
	out := map[string]string{}
	if on.Kind != yaml.MappingNode || on.Decode(&m) != nil {
		return out
	}
	for name, in := range m.Dispatch.Inputs {
		out[name] = in.Default
	}
	return out
}
