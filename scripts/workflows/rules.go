package workflows

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"edge-actions/scripts/index/catalog"
)

// Problems returns every rule that a workflow breaks, one line each, with the
// place and what to do:
//
//   - Two runs at one moment, and a newer one that cancels an older one, are
//     nothing for what changes a cloud or a node: there is a concurrency group,
//     and none of its runs is cancelled.
//   - On a Forgejo runner nothing of a job runs after the job's own timeout, no
//     always() and no post phase. So each step that could take long has a
//     timeout of its own, and all of them together end before the job does.
//   - What is given to an action is an input of it, what it requires is given,
//     and what is taken from it is an output.
func (w *Workflow) Problems(c *catalog.Catalog) (out []string) {
	p := &problems{path: w.Path}
	ours := false
	for _, job := range w.Jobs {
		ours = p.job(w, job, c) || ours
	}
	if ours && w.Concurrency.Cancel != "" && w.Concurrency.Cancel != "false" {
		p.say(1, "wanted cancel-in-progress: false, found %q: a cancelled run is a killed one, and this one changes things or proves them", w.Concurrency.Cancel)
	}
	return p.out
}

type problems struct {
	path string
	out  []string
}

func (p *problems) say(line int, format string, args ...any) {
	p.out = append(p.out, fmt.Sprintf("%s:%d: %s", p.path, line, fmt.Sprintf(format, args...)))
}

// job looks at one job, and reports whether it uses actions of the suite.
func (p *problems) job(w *Workflow, job Job, c *catalog.Catalog) (ours bool) {
	if w.Concurrency.Group == "" && job.Concurrency.Group == "" {
		p.say(job.Line, "job %q: wanted a concurrency group, of the workflow or of the job, found none", job.ID)
	}
	if job.Calls != "" {
		p.say(job.Line, "job %q: wanted steps, found a call of %q: its timeouts can't be seen from here", job.ID, job.Calls)
		return false
	}
	limit := p.minutes(job.Line, fmt.Sprintf("job %q", job.ID), job.Timeout, true)
	sum := 0
	used := map[string]catalog.Action{}
	for _, s := range job.Steps {
		name, suite := s.Action()
		sum += p.minutes(s.Line, fmt.Sprintf("step %q", s.Title()), s.Timeout, suite)
		if !suite {
			continue
		}
		ours = true
		a, ok := c.Action(name)
		if !ok {
			p.say(s.Line, "step %q uses %q: no action of this suite is called %q", s.Title(), s.Uses, name)
			continue
		}
		p.with(s, a)
		if s.ID != "" {
			used[s.ID] = a
		}
	}
	if limit > 0 && sum >= limit {
		p.say(job.Line, "job %q: wanted the timeouts of its steps to end before its own %d minutes, found %d minutes: after its own, no later step and no post phase runs", job.ID, limit, sum)
	}
	for _, s := range job.Steps {
		p.outputs(s.Line, fmt.Sprintf("step %q", s.Title()), used, []string{s.If, s.Run}, s.With, s.Env)
	}
	p.outputs(job.Line, fmt.Sprintf("job %q", job.ID), used, nil, job.Outputs)
	if ours && job.Concurrency.Cancel != "" && job.Concurrency.Cancel != "false" {
		p.say(job.Line, "job %q: wanted cancel-in-progress: false, found %q: a cancelled run is a killed one", job.ID, job.Concurrency.Cancel)
	}
	return ours
}

// minutes reads a timeout. One that only the run would know can't be held
// against another.
func (p *problems) minutes(line int, what, text string, must bool) int {
	if text == "" {
		if must {
			p.say(line, "%s: wanted timeout-minutes, found none", what)
		}
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		p.say(line, "%s: wanted timeout-minutes as a whole number, found %q", what, text)
		return 0
	}
	return n
}

// with holds what a step gives against the inputs of the action.
func (p *problems) with(s Step, a catalog.Action) {
	for _, name := range sorted(s.With) {
		if _, ok := a.Input(name); !ok {
			p.say(s.Line, "step %q: wanted inputs of %s, found %q, which it does not have", s.Title(), a.Name, name)
		}
	}
	for _, in := range a.Inputs {
		if in.Required && strings.TrimSpace(s.With[in.Name]) == "" {
			p.say(s.Line, "step %q: wanted the input %q, which %s requires, found none", s.Title(), in.Name, a.Name)
		}
	}
}

var output = regexp.MustCompile(`steps\.([A-Za-z_][A-Za-z0-9_-]*)\.outputs\.([A-Za-z_][A-Za-z0-9_-]*)`)

// outputs holds what is taken from steps against their outputs.
func (p *problems) outputs(line int, what string, used map[string]catalog.Action, texts []string, maps ...map[string]string) {
	for _, m := range maps {
		for _, name := range sorted(m) {
			texts = append(texts, m[name])
		}
	}
	for _, text := range texts {
		for _, m := range output.FindAllStringSubmatch(text, -1) {
			if a, ok := used[m[1]]; ok {
				if _, ok := a.Output(m[2]); !ok {
					p.say(line, "%s: wanted outputs of %s, found %q, which it does not have", what, a.Name, m[2])
				}
			}
		}
	}
}

func sorted(m map[string]string) []string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
