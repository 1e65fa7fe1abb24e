package stack

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"edge-actions/internal/action"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
)

// stackPlace stands for the stack's name in backend_config, without which
// several stacks would share one state.
const stackPlace = "{stack}"

// Voice is where a stack says what it does: of several at once, each has its
// own.
type Voice struct {
	Report *verdict.Report
	Logf   func(format string, args ...any)
	// Fence opens the place for foreign text.
	Fence func(prefix string) io.WriteCloser
}

// tool is the OpenTofu that was found.
type tool struct{ path, version string }

// findTool finds OpenTofu, once for all stacks of a run.
func (c *Config) findTool(ctx context.Context, a *action.Action, env []string) error {
	if c.tool != nil {
		return nil
	}
	path, version, err := tofu.Find(ctx, c.tofuPath, c.tofuVersion, env)
	if err != nil {
		return err
	}
	c.tool = &tool{path, version}
	for _, secret := range tofu.Secrets(env) {
		a.Mask(secret) // a backend's errors can show it
	}
	if ignored := tofu.Ignored(a.Environ()); len(ignored) > 0 {
		a.Logf("not handed on to OpenTofu from the runner's environment: %s", strings.Join(ignored, ", "))
	}
	return nil
}

// FindTool finds OpenTofu before any stack is opened, so that At hands it on.
func (c *Config) FindTool(ctx context.Context, a *action.Action) error {
	sweepRehearsals(ctx, a)
	return c.findTool(ctx, a, tofu.Environ(a.Environ(), c.passEnv, nil))
}

// Dir is the input path: the root module, or the directory under which the
// stacks are.
func (c *Config) Dir() string { return c.dir }

// Name is the stack's name, of the input stack or made of where it is.
func (c *Config) Name() string { return c.name }

// At is the configuration for one stack of several, in its own directory.
func (c *Config) At(dir, name string) *Config {
	one := *c
	one.dir, one.name = dir, name
	return &one
}

// NameFor is the name of the stack in dir among several: its id if it has one,
// else what a run of it alone is called, so that its archives go on.
func (c *Config) NameFor(a *action.Action, dir, id string) string {
	workspace := ""
	if c.workspace != "default" {
		workspace = "." + c.workspace
	}
	switch {
	case id != "" && c.prefix != "":
		return c.prefix + "." + id + workspace
	case id != "":
		return id + workspace
	case c.prefix != "":
		rel, err := filepath.Rel(c.dir, dir)
		if err != nil {
			rel = dir
		}
		return strings.Trim(c.prefix+"."+notSlug.ReplaceAllString(rel, "-"), "-.") + workspace
	}
	return defaultName(a, dir, c.workspace)
}

// CheckSeveral records what does not go together with several stacks.
func (c *Config) CheckSeveral(in *action.Inputs) {
	for _, accept := range c.accept {
		if accept != "new" {
			in.Wrong("accept_state", "at most new, together with several stacks", fmt.Sprintf("%q", accept), "accept it in a run of that stack alone")
		}
	}
	for _, line := range c.backendSettings {
		key, _, _ := strings.Cut(line, " ")
		if (key == "path" || key == "workspace_dir" || key == "key" || key == "prefix") && !strings.Contains(line, stackPlace) {
			in.Wrong("backend_config", fmt.Sprintf("a %s with %s in it: several stacks must not share a state", key, stackPlace), "one for all", fmt.Sprintf("put %s where the stack's name is to stand", stackPlace))
		}
	}
}

// Pending reports whether an apply of the stack that a killed run began waits
// to be reported.
func (c *Config) Pending() (bool, error) {
	records, err := uncollected(filepath.Join(tfstate.StackDir(c.runnerDir, c.name), "applies"))
	return len(records) > 0, err
}

// UseToolOf takes over the OpenTofu that another stack's configuration has
// found.
func (c *Config) UseToolOf(o *Config) { c.tool = o.tool }
