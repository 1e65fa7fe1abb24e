// Package tofu drives the OpenTofu command line as an unattended caller must:
// in an environment that was chosen, since TF_CLI_ARGS_plan=-destroy in a
// runner's environment silently makes another plan; without input, colour or
// terminal; with one stable data directory a stack. It refuses a tool whose
// version is not the one asked for.
package tofu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
	"edge-actions/internal/versions"
)

const install = "install OpenTofu (https://opentofu.org/docs/intro/install), or set tofu_path"

// CLI is OpenTofu for one root module.
type CLI struct {
	Path    string // of the binary
	Version string
	Dir     string // the root module
	// DataDir is TF_DATA_DIR: kept from run to run, so that init has nothing to
	// do when nothing changed.
	DataDir string
	// Plugins, if set, is the directory from which init takes providers, instead
	// of a registry.
	Plugins string
	Env     []string
	// Log takes what the tool says to people. It is foreign text.
	Log     io.Writer
	Timeout time.Duration // of each command
}

// Find finds the tool by name or path and holds it to the constraint.
// terraform answers the same question, so it works by name. env is what the
// tool will later run in: a warning about its CLI configuration goes to stdout,
// in front of every JSON document (measured with 1.12), so it is found here.
func Find(ctx context.Context, name string, want versions.Constraint, env []string) (path, version string, err error) {
	path, err = exec.LookPath(name)
	if err != nil {
		return "", "", verdict.CannotTell("tool-missing", fmt.Sprintf("%s on PATH", name), errors.New("none"), install)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", "", err
	}
	out, err := command.Output(ctx, command.Cmd{
		Path: path, Args: []string{"version", "-json"}, Timeout: time.Minute, Grace: time.Second, Env: env,
	}, 1<<20)
	if err != nil {
		return "", "", verdict.CannotTell("tool-version", name+" to tell its version", err, install)
	}
	var v struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal(out, &v); err != nil || v.Version == "" {
		return "", "", verdict.CannotTell("tool-version", name+" to print JSON and nothing else", fmt.Errorf("%.300q", out),
			"correct its CLI configuration (TF_CLI_CONFIG_FILE, ~/.tofurc), or "+install)
	}
	return path, v.Version, want.Check(name, v.Version, install)
}

// Allowed are the variables that OpenTofu, its providers and its backends may
// see. Everything else in the runner's environment stays there; TF_CLI_ARGS,
// TF_WORKSPACE and TF_LOG are left out on purpose, and so is GITHUB_OUTPUT,
// into which the setup-opentofu wrapper writes state and secrets.
var Allowed = append([]string{
	"TF_VAR_*", "TF_ENCRYPTION", "TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR", "TF_TOKEN_*", "TOFU_CLI_PATH",
	"OCI_*", "AWS_*", "ARM_*", "GOOGLE_*", "PG*", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME",
}, command.Base...)

// Environ makes the environment for a CLI. pass names further variables that
// the operator wants handed on; set values win.
func Environ(from, pass []string, set map[string]string) []string {
	all := map[string]string{"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
	for k, v := range set {
		all[k] = v
	}
	return command.Environ(from, append(slices.Clone(pass), Allowed...), all)
}

// Ignored returns the variables of the environment that would have changed
// what OpenTofu does, had they been handed on: worth a line in the log.
func Ignored(environ []string) []string {
	var out []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "TF_CLI_ARGS") || strings.HasPrefix(name, "TF_LOG") || name == "TF_WORKSPACE" || name == "TF_DATA_DIR" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (c *CLI) cmd(args ...string) command.Cmd {
	env := append(slices.Clone(c.Env), "TF_DATA_DIR="+c.DataDir)
	// A minute to stop gracefully: one INT lets OpenTofu save the state.
	return command.Cmd{Path: c.Path, Args: args, Dir: c.Dir, Env: env, Timeout: c.Timeout, Grace: time.Minute}
}

// run runs a subcommand with all of its words going to the log.
func (c *CLI) run(ctx context.Context, args ...string) error {
	cmd := c.cmd(args...)
	cmd.Stdout, cmd.Stderr = c.Log, c.Log
	return c.hidden(command.Run(ctx, cmd))
}

// Fmt returns an error unless all files are formatted.
func (c *CLI) Fmt(ctx context.Context) error {
	return c.run(ctx, "fmt", "-check", "-recursive", "-diff", "-no-color")
}

// Validate returns an error unless the configuration is valid.
func (c *CLI) Validate(ctx context.Context) error { return c.run(ctx, "validate", "-no-color") }

// SelectWorkspace selects the workspace, and makes it only when told to: a
// mistyped name must not become a new, empty state.
func (c *CLI) SelectWorkspace(ctx context.Context, name string, create bool) error {
	if c.Workspace() == name {
		return nil
	}
	verb := []string{"workspace", "select", "-no-color", name}
	if create {
		verb = []string{"workspace", "select", "-no-color", "-or-create=true", name}
	}
	if err := c.run(ctx, verb...); err != nil {
		return verdict.CannotTell("workspace", fmt.Sprintf("the workspace %q", name), err, "correct the input workspace; accept_state: new makes it if this stack is new")
	}
	return nil
}

// Workspace returns the workspace that is selected in the data directory.
func (c *CLI) Workspace() string {
	data, err := os.ReadFile(filepath.Join(c.DataDir, "environment"))
	if name := strings.TrimSpace(string(data)); err == nil && name != "" {
		return name
	}
	return "default"
}

// PlanOptions are the arguments of a plan, in OpenTofu's own names.
type PlanOptions struct {
	Out                      string // path of the plan file
	VarFiles                 []string
	Targets, Excludes        []string
	Replace                  []string
	Parallelism              int
	LockTimeout              time.Duration
	Destroy, RefreshDisabled bool
	// RefreshOnly plans no change of the world: what it finds is drift.
	RefreshOnly bool
}

// Diagnostic is an error or a warning of OpenTofu. Its texts are foreign.
type Diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	Address  string `json:"address"`
}

func (d Diagnostic) String() string {
	s := d.Severity + ": " + d.Summary
	if d.Address != "" {
		s += " (" + d.Address + ")"
	}
	if d.Detail != "" {
		s += ": " + strings.Join(strings.Fields(d.Detail), " ")
	}
	return s
}

// Event is one line of OpenTofu's -json stream, as far as it is of use here.
type Event struct {
	Message    string      `json:"@message"`
	Type       string      `json:"type"`
	Diagnostic *Diagnostic `json:"diagnostic"`
}

// Plan makes a plan file. changed is what OpenTofu's exit code says. Of the
// human output only diagnostics are kept: the rest shows values, and private
// ones among them.
func (c *CLI) Plan(ctx context.Context, o PlanOptions) (changed bool, warnings []Diagnostic, err error) {
	args := []string{"plan", "-json", "-input=false", "-no-color", "-detailed-exitcode", "-out=" + o.Out,
		fmt.Sprintf("-lock-timeout=%s", o.LockTimeout)}
	if o.Parallelism > 0 {
		args = append(args, fmt.Sprintf("-parallelism=%d", o.Parallelism))
	}
	for flag, values := range map[string][]string{"var-file": o.VarFiles, "target": o.Targets, "exclude": o.Excludes, "replace": o.Replace} {
		for _, v := range values {
			args = append(args, "-"+flag+"="+v)
		}
	}
	if o.Destroy {
		args = append(args, "-destroy")
	}
	if o.RefreshDisabled {
		args = append(args, "-refresh=false")
	}
	if o.RefreshOnly {
		args = append(args, "-refresh-only")
	}
	var errs []Diagnostic
	cmd := c.cmd(args...)
	cmd.Stdout = &Events{Handle: func(e Event) {
		switch {
		case e.Diagnostic == nil:
		case e.Diagnostic.Severity == "error":
			errs = append(errs, c.Hide(*e.Diagnostic))
		default:
			warnings = append(warnings, c.Hide(*e.Diagnostic))
		}
	}}
	err = c.hidden(command.Run(ctx, cmd))
	switch command.Code(err) {
	case 2: // success with changes, by -detailed-exitcode
		return true, warnings, nil
	case 1:
		return false, warnings, planError(errs, err)
	}
	return false, warnings, err
}

// planError turns OpenTofu's own diagnostics into one refusal.
func planError(diagnostics []Diagnostic, err error) error {
	id, hint := "plan-failed", "correct the configuration or the credentials, and run again"
	texts := make([]string, 0, len(diagnostics))
	for _, d := range diagnostics {
		texts = append(texts, d.String())
		if d.Summary == LockSummary {
			id, hint = "state-locked", LockHint
		}
	}
	if len(texts) == 0 {
		texts = []string{err.Error()}
	}
	said := fmt.Sprintf("%q", strings.Join(texts, "; "))
	if LockLost(diagnostics) {
		return verdict.CannotTell(LockLostID, "the lock on the state to be given back after the plan", errors.New(said), LockLostHint)
	}
	return verdict.Refuse(id, "a plan", said, hint)
}

// Events is a writer that reads OpenTofu's -json stream line by line. Lines
// that are not JSON and lines over 1 MiB are passed over.
type Events struct {
	Handle func(Event)
	line   []byte
	long   bool
}

func (e *Events) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		e.add(p[:i])
		var ev Event
		if !e.long && json.Unmarshal(e.line, &ev) == nil {
			e.Handle(ev)
		}
		e.line, e.long, p = e.line[:0], false, p[i+1:]
	}
	e.add(p)
	return n, nil
}

func (e *Events) add(p []byte) {
	if len(e.line)+len(p) > 1<<20 {
		e.long = true
		return
	}
	e.line = append(e.line, p...)
}

// ShowPlan streams the JSON form of a plan file to w. It holds secrets in
// clear, beside the masks that mark them.
func (c *CLI) ShowPlan(ctx context.Context, planFile string, w io.Writer) error {
	cmd := c.cmd("show", "-json", planFile)
	cmd.Stdout = w
	return c.hidden(command.Run(ctx, cmd))
}

// StateList writes the addresses of all resources in the state to w.
func (c *CLI) StateList(ctx context.Context, w io.Writer) error {
	cmd := c.cmd("state", "list", "-no-color")
	cmd.Stdout = w
	return c.hidden(command.Run(ctx, cmd))
}

// StatePull streams the state to w, in clear even if it is kept encrypted.
func (c *CLI) StatePull(ctx context.Context, w io.Writer) error {
	cmd := c.cmd("state", "pull", "-no-color")
	cmd.Stdout = w
	return c.hidden(command.Run(ctx, cmd))
}

// Outputs returns `tofu output -json`, sensitive values in clear.
func (c *CLI) Outputs(ctx context.Context) ([]byte, error) {
	out, err := command.Output(ctx, c.cmd("output", "-json", "-no-color"), 64<<20)
	return out, c.hidden(err)
}
