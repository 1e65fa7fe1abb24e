package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/scripts/index/catalog"
	"edge-actions/scripts/workflows"
)

// doctor is one look at this machine.
type doctor struct {
	root      string // of the suite's source
	dir       string // where the workflows' repository is checked out
	environ   []string
	vars      map[string]string
	server    string
	released  bool // this program came from a release and not from Go
	now       time.Time
	workflows []*workflows.Workflow

	uses    []*use
	foreign []finding // what actions of others need
}

func (d *doctor) getenv(name string) string {
	for _, kv := range slices.Backward(d.environ) {
		if value, is := strings.CutPrefix(kv, name+"="); is {
			return value
		}
	}
	return ""
}

// use is one step that uses an action of the suite.
type use struct {
	d      *doctor
	by     string
	action catalog.Action
	a      *action.Action
	given  map[string]value
	env    map[string]string // the workflow's own, as far as it is known
}

// value is what a step gives for an input, as far as it can be known here.
type value struct {
	text string
	ask  []string // what of it nobody has said: vars.NAME
	run  bool     // an earlier step of the run makes it
}

// collect finds the steps that use actions of the suite, and what they give.
func (d *doctor) collect() error {
	index, err := catalog.Read(filepath.Join(d.root, "action-index.yaml"))
	if err != nil {
		return err
	}
	var elsewhere []string
	for _, w := range d.workflows {
		for _, job := range w.Jobs {
			for _, step := range job.Steps {
				by := filepath.Base(w.Path) + ": " + step.Title()
				if strings.HasPrefix(step.Uses, "actions/checkout@") {
					d.foreign = append(d.foreign, need(d.node("", "actions/checkout, which is JavaScript"), by)...)
				}
				name, suite := step.Action()
				if !suite {
					continue
				}
				a, ok := index.Action(name)
				if !ok {
					elsewhere = append(elsewhere, step.Uses)
					continue
				}
				u, err := d.use(w, job, step, a, by)
				if err != nil {
					return err
				}
				d.uses = append(d.uses, u)
			}
		}
	}
	if len(d.uses) == 0 {
		return fmt.Errorf("wanted steps that use actions of this suite (…/actions/NAME), found none in %d workflows, and %d uses of others: %q", len(d.workflows), len(elsewhere), elsewhere)
	}
	return nil
}

func (d *doctor) use(w *workflows.Workflow, job workflows.Job, step workflows.Step, a catalog.Action, by string) (*use, error) {
	u := &use{d: d, by: by, action: a, given: map[string]value{}, env: map[string]string{}}
	for _, env := range []map[string]string{w.Env, job.Env, step.Env} {
		for name, text := range env {
			if v := d.resolve(text, w, job, step); len(v.ask) == 0 && !v.run {
				u.env[name] = v.text
			}
		}
	}
	env := slices.DeleteFunc(slices.Clone(d.environ), func(kv string) bool { return strings.HasPrefix(kv, "INPUT_") })
	if d.getenv("GITHUB_WORKSPACE") == "" {
		env = append(env, "GITHUB_WORKSPACE="+d.dir)
	}
	for name, text := range step.With {
		v := d.resolve(text, w, job, step)
		u.given[name] = v
		if len(v.ask) == 0 && !v.run {
			env = append(env, "INPUT_"+strings.ToUpper(name)+"="+v.text)
		}
	}
	metadata, err := os.ReadFile(filepath.Join(d.root, "actions", a.Name, "action.yml"))
	if err != nil {
		return nil, err
	}
	u.a, err = action.New(metadata, io.Discard, env)
	return u, err
}

var (
	expression = regexp.MustCompile(`\$\{\{(.*?)\}\}`)
	variable   = regexp.MustCompile(`^(vars|inputs|env|secrets)\.([A-Za-z_][A-Za-z0-9_-]*)$`)
	ofTheRun   = regexp.MustCompile(`^(steps|needs)\.`)
	literal    = regexp.MustCompile(`^'([^']*)'$`)
)

// resolve puts what is known in the place of expressions.
func (d *doctor) resolve(text string, w *workflows.Workflow, job workflows.Job, step workflows.Step) (v value) {
	v.text = expression.ReplaceAllStringFunc(text, func(found string) string {
		inner := expression.FindStringSubmatch(found)[1]
		for _, part := range strings.Split(inner, "||") {
			part = strings.TrimSpace(part)
			switch m := variable.FindStringSubmatch(part); {
			case ofTheRun.MatchString(part):
				v.run = true
				return ""
			case literal.MatchString(part):
				if s := literal.FindStringSubmatch(part)[1]; s != "" {
					return s
				}
			case m == nil:
				v.ask = append(v.ask, part)
				return ""
			default:
				s, known := d.lookUp(m[1], m[2], w, job, step)
				if !known {
					v.ask = append(v.ask, part)
					return ""
				}
				if s != "" {
					return s
				}
			}
		}
		return ""
	})
	return v
}

func (d *doctor) lookUp(from, name string, w *workflows.Workflow, job workflows.Job, step workflows.Step) (string, bool) {
	switch from {
	case "inputs":
		if s, ok := d.vars[strings.ToUpper(name)]; ok {
			return s, true
		}
		s, ok := w.Defaults[name]
		return s, ok
	case "env":
		for _, env := range []map[string]string{step.Env, job.Env, w.Env} {
			if s, ok := env[name]; ok && !expression.MatchString(s) {
				return s, true
			}
		}
		return "", false
	}
	s, ok := d.vars[strings.ToUpper(name)]
	return s, ok
}

// text is an input as the action sees it: given, or else its default. known is
// false if what it will be can't be told before the run.
func (u *use) text(name string) (text string, known bool) {
	if _, has := u.action.Input(name); !has {
		return "", true
	}
	if v := u.given[name]; v.run || len(v.ask) > 0 {
		return "", false
	}
	return u.a.Inputs().Text(name), true
}

// variable is one of the environment in which the step runs.
func (u *use) variable(name string) string {
	if value, is := u.env[name]; is {
		return value
	}
	return u.d.getenv(name)
}

// is reports whether an input has this value, or could have it.
func (u *use) is(name, want string) bool {
	text, known := u.text(name)
	return !known || text == want
}

// empty reports whether an input is known to be empty.
func (u *use) empty(name string) bool {
	text, known := u.text(name)
	return known && text == ""
}

// has reports whether an input is known to have a value.
func (u *use) has(name string) bool {
	text, known := u.text(name)
	return known && text != ""
}

// look looks at everything that the steps need, and at the runner itself.
func (d *doctor) look(ctx context.Context) []finding {
	out := slices.Concat(d.runner(ctx), d.foreign)
	for _, u := range d.uses {
		for _, r := range rows() {
			if r.look != nil && slices.Contains(namesOf(u.action), r.inputs[0]) {
				out = append(out, need(u.row(ctx, r), u.by)...)
			}
		}
		if u.action.Using != "" {
			out = append(out, need(d.node(strings.TrimPrefix(u.action.Using, "node"), u.action.Name+", which has a post phase"), u.by)...)
		}
	}
	return out
}

// row looks at one row, unless what it is about is not known here.
func (u *use) row(ctx context.Context, r row) (out []finding) {
	if r.unless != nil && r.unless(u) {
		return nil
	}
	for _, name := range r.inputs {
		v := u.given[name]
		for _, part := range v.ask {
			out = append(out, finding{status: unknown, what: "the value of " + part, found: "none here", fix: askFor(part)})
		}
		if v.run || len(v.ask) > 0 {
			return out // what an earlier step makes is no need of the runner's
		}
	}
	return r.look(ctx, u)
}

func askFor(part string) string {
	if m := variable.FindStringSubmatch(part); m != nil && m[1] != "env" {
		return fmt.Sprintf("give it as --var %s=VALUE, without a value if the repository has no such variable", m[2])
	}
	return "write the value into the workflow, or take it from a variable (vars.NAME) and give that as --var NAME=VALUE"
}

func namesOf(a catalog.Action) (out []string) {
	for _, in := range a.Inputs {
		out = append(out, in.Name)
	}
	return out
}

func need(findings []finding, by string) []finding {
	for i := range findings {
		findings[i].by = []string{by}
	}
	return findings
}
