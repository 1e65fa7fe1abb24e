package action

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
	"edge-actions/internal/versions"
)

// Inputs reads the inputs of one run and collects what is wrong with them, so
// that the operator mends all of it at once. Each getter returns its zero
// value for a wrong input; look at Err before using any of them.
type Inputs struct {
	a    *Action
	errs []error
}

// Inputs starts the reading of the inputs.
func (a *Action) Inputs() *Inputs { return &Inputs{a: a} }

// Err returns every problem found so far, or nil.
func (in *Inputs) Err() error { return errors.Join(in.errs...) }

// Wrong records a problem that the caller found with an input.
func (in *Inputs) Wrong(name, wanted, found, hint string) {
	in.errs = append(in.errs, verdict.Refuse("input-"+name, wanted, found, hint))
}

// Read returns the names of the inputs that were read, for the test that
// holds them against action.yml.
func (a *Action) Read() map[string]bool { return a.read }

// Text returns an input as it was given, without the white space around it.
// An input that is not given has the default of action.yml.
func (in *Inputs) Text(name string) string {
	meta, ok := in.a.Meta.Inputs[name]
	if !ok {
		panic(fmt.Sprintf("input %q is not declared in action.yml", name))
	}
	first := !in.a.read[name]
	in.a.read[name] = true
	value := in.a.gha.GetInput(name)
	if value == "" {
		value = strings.TrimSpace(meta.Default)
	}
	if value == "" && meta.Required && first {
		in.Wrong(name, "a value: "+firstSentence(meta.Description), "nothing", "set the input "+name)
	}
	if i := strings.IndexFunc(value, func(r rune) bool { return r == '\r' || r == 0 }); i >= 0 {
		in.Wrong(name, "text without carriage returns or NUL bytes", fmt.Sprintf("one at byte %d", i), "save the workflow with Unix line ends")
		return ""
	}
	return value
}

// Bool returns an input that is "true" or "false".
func (in *Inputs) Bool(name string) bool {
	return in.OneOf(name, "true", "false") == "true"
}

// OneOf returns an input that is one of the given words.
func (in *Inputs) OneOf(name string, words ...string) string {
	v := in.Text(name)
	if v == "" || slices.Contains(words, v) {
		return v
	}
	in.Wrong(name, "one of "+strings.Join(words, ", "), fmt.Sprintf("%q", v), "correct the input "+name)
	return ""
}

// SomeOf returns an input that is a list, by commas, blanks or lines, of the
// given words.
func (in *Inputs) SomeOf(name string, words ...string) []string {
	list := strings.FieldsFunc(in.Text(name), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
	for _, v := range list {
		if !slices.Contains(words, v) {
			in.Wrong(name, "a list of some of "+strings.Join(words, ", "), fmt.Sprintf("%q", v), "correct the input "+name)
			return nil
		}
	}
	return list
}

// Int returns an input that is a whole number from min to max.
func (in *Inputs) Int(name string, min, max int) int {
	v := in.Text(name)
	if v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < min || n > max {
		in.Wrong(name, fmt.Sprintf("a whole number from %d to %d", min, max), fmt.Sprintf("%q", v), "correct the input "+name)
		return 0
	}
	return n
}

// Duration returns an input such as "90s" or "5m", from min to max.
func (in *Inputs) Duration(name string, min, max time.Duration) time.Duration {
	v := in.Text(name)
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < min || d > max {
		in.Wrong(name, fmt.Sprintf("a time from %s to %s, with its unit (90s, 5m)", min, max), fmt.Sprintf("%q", v), "correct the input "+name)
		return 0
	}
	return d
}

// Lines returns the lines of an input without empty ones and comments (#).
func (in *Inputs) Lines(name string) []string {
	var out []string
	for line := range strings.Lines(in.Text(name)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// Constraint returns an input that is a version constraint.
func (in *Inputs) Constraint(name string) versions.Constraint {
	v := in.Text(name)
	if v == "" {
		return versions.Constraint{}
	}
	c, err := versions.ParseConstraint(v)
	if err != nil {
		in.Wrong(name, "a version constraint such as \">= 1.10, < 2.0\"", fmt.Sprintf("%q", v), "correct the input "+name)
	}
	return c
}

var slug = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// Slug returns an input that can be a file's name: letters, digits, dots,
// hyphens and underscores, at most 100, no dot or hyphen first.
func (in *Inputs) Slug(name string) string {
	v := in.Text(name)
	if v != "" && !slug.MatchString(v) {
		in.Wrong(name, "letters, digits, '.', '_' and '-', at most 100, a letter or digit first", fmt.Sprintf("%q", v), "correct the input "+name)
		return ""
	}
	return v
}

var digest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// SHA256 returns an input that is a SHA-256 digest in lower-case hex.
func (in *Inputs) SHA256(name string) string {
	v := in.Text(name)
	if v != "" && !digest.MatchString(v) {
		in.Wrong(name, "a SHA-256 digest, 64 lower-case hex digits", fmt.Sprintf("%q", v), "pass the output of the step that made the file")
		return ""
	}
	return v
}

// Workspace is the checkout: GITHUB_WORKSPACE, or the working directory.
func (a *Action) Workspace() string {
	if ws := a.getenv("GITHUB_WORKSPACE"); ws != "" {
		return ws
	}
	wd, _ := os.Getwd()
	return wd
}

// WorkspaceDir returns the absolute path of an existing directory that lies
// in the checkout; a relative path is taken from there.
func (in *Inputs) WorkspaceDir(name string) string {
	return in.workspace(name, "a directory", os.FileInfo.IsDir)
}

// WorkspaceFile is WorkspaceDir for a regular file.
func (in *Inputs) WorkspaceFile(name string) string {
	return in.workspace(name, "a file", func(i os.FileInfo) bool { return i.Mode().IsRegular() })
}

func (in *Inputs) workspace(name, what string, is func(os.FileInfo) bool) string {
	v := in.Text(name)
	if v == "" {
		return ""
	}
	root := in.a.Workspace()
	path := v
	if !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	info, err := os.Stat(path)
	if err != nil || !is(info) || !files.Inside(root, path) {
		in.Wrong(name, what+" in the checkout "+root, fmt.Sprintf("%q", v), "check it out before this step, or correct the input "+name)
		return ""
	}
	return filepath.Clean(path)
}

// RunnerPath returns an absolute path outside everything that the runner
// deletes with the job. The file need not exist.
func (in *Inputs) RunnerPath(name string) string {
	v := in.Text(name)
	if v == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(v, "~/"); ok && in.a.getenv("HOME") != "" {
		v = filepath.Join(in.a.getenv("HOME"), rest)
	}
	if err := in.a.CheckLasting(v); err != nil {
		in.Wrong(name, "an absolute path that outlives the job", fmt.Sprintf("%q, which %v", v, err), "put it elsewhere on the runner, for example under ~/.local/state")
		return ""
	}
	return filepath.Clean(v)
}

// SecretFile returns the path of an existing file of the runner's, outside
// the checkout, that nobody else can read.
func (in *Inputs) SecretFile(name string) string {
	v := in.RunnerPath(name)
	if v == "" {
		return ""
	}
	if err := files.CheckSecret(v); err != nil {
		in.Wrong(name, "a file that only the runner's user can read", fmt.Sprintf("%q, which %v", v, err), "correct the file or the input "+name)
		return ""
	}
	return v
}

// KeyFile is SecretFile for a file that an earlier step of the job may have
// made: it may go with the job, and still not lie in the checkout, where the
// next step's children look around.
func (in *Inputs) KeyFile(name string) string {
	v := in.Text(name)
	if v == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(v, "~/"); ok && in.a.getenv("HOME") != "" {
		v = filepath.Join(in.a.getenv("HOME"), rest)
	}
	err := files.CheckSecret(v)
	switch {
	case !filepath.IsAbs(v):
		err = errors.New("is not absolute")
	case files.Inside(in.a.getenv("GITHUB_WORKSPACE"), v):
		err = errors.New("lies in the checkout")
	}
	if err != nil {
		in.Wrong(name, "a file that only the runner's user can read, outside the checkout", fmt.Sprintf("%q, which %v", v, err), "correct the file or the input "+name)
		return ""
	}
	return filepath.Clean(v)
}

// CheckLasting returns an error unless path is absolute and lies outside the
// directories that a runner deletes or cleans: the workspace (a checkout runs
// git clean -ffdx in it) and RUNNER_TEMP.
func (a *Action) CheckLasting(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("is not absolute")
	}
	for _, name := range []string{"GITHUB_WORKSPACE", "RUNNER_TEMP", "RUNNER_WORKSPACE"} {
		if dir := a.getenv(name); dir != "" && files.Inside(dir, path) {
			return fmt.Errorf("lies in %s (%s), which the runner deletes", name, dir)
		}
	}
	return nil
}

func firstSentence(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if i := strings.Index(s, ". "); i > 0 {
		return s[:i]
	}
	return strings.TrimSuffix(s, ".")
}
