// Package stacks carries several root modules of one checkout, each as package
// stack carries one: in the order that their directories and their stack
// blocks say, so many at once and no more. What fails stops what comes after
// it and nothing beside it. It refuses an order with a circle, two stacks with
// one name or one state, and a choice that chooses nothing.
package stacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"

	"edge-actions/internal/action"
	"edge-actions/internal/stack"
	"edge-actions/internal/stacks/dag"
	"edge-actions/internal/verdict"
)

// One is one stack of a run.
type One struct {
	Name, Path, ID string
	Config         *stack.Config
}

// Run is the stacks of one run of an action.
type Run struct {
	Action  *action.Action
	Secrets string // for what must not outlive the run
	AtOnce  int
	Single  bool   // one stack, by the input path
	Stacks  []*One // in their order
	Graph   *dag.Graph
	// Text is what came of it, in Markdown and below what a comment holds; empty
	// until there is something to say.
	Text string

	mu     sync.Mutex
	places map[string]string // of states, to the stack that has it
}

// Alone is the run of the one stack that the input path names.
func Alone(a *action.Action, config *stack.Config, secrets string) *Run {
	one := &One{Name: config.Name(), Path: ".", Config: config}
	return &Run{Action: a, Secrets: secrets, AtOnce: 1, Single: true, Stacks: []*One{one}, Graph: dag.New(one.Name)}
}

// Work is what is done with each stack.
type Work struct {
	// Do fills the task's result in as far as it comes.
	Do func(ctx context.Context, t *Task) error
	// Verb says what a stack is not after one that failed: "planned".
	Verb string
	// Unordered: no stack waits for another, and none is stopped.
	Unordered bool
}

// Task is one stack at work.
type Task struct {
	*One
	Report *verdict.Report
	Result *Result
	// Fence opens the place for foreign text of this stack.
	Fence func(prefix string) io.WriteCloser
	// Open opens the stack.
	Open func() (*stack.Stack, error)
}

// Each does the work with every stack and returns the results in their order.
// The error is of a single stack; those of several are in the report, each
// with its stack as the subject.
func (r *Run) Each(ctx context.Context, w Work) ([]*Result, error) {
	if r.Single {
		t := r.task(ctx, r.Stacks[0], r.Action.Report)
		err := w.Do(ctx, t)
		t.Result.conclude(append(slices.Clone(t.Report.Checks), verdict.ChecksOf(err)...))
		return []*Result{t.Result}, err
	}
	tasks := map[string]*Task{}
	for i, one := range r.Stacks {
		if i == 0 {
			if err := one.Config.FindTool(ctx, r.Action); err != nil {
				return nil, err
			}
		}
		one.Config.UseToolOf(r.Stacks[0].Config)
		tasks[one.Name] = r.task(ctx, one, &verdict.Report{})
	}
	graph := r.Graph
	if w.Unordered {
		graph = dag.New(graph.Nodes()...)
	}
	conclude := func(t *Task, err error) {
		t.Report.Add(verdict.ChecksOf(err)...)
		t.Result.conclude(t.Report.Checks)
		r.Action.Logf("%s: %s %s", t.Name, t.Result.Verdict, t.Result.FailureReason)
	}
	graph.Run(ctx, r.AtOnce, func(ctx context.Context, name string) bool {
		t := tasks[name]
		conclude(t, r.do(ctx, w, t))
		return t.Result.Verdict == verdict.Proven
	}, func(name, before string) {
		conclude(tasks[name], verdict.CannotTell("stopped", "the stacks before it to hold",
			fmt.Errorf("not %s: stack %s before it failed", w.Verb, before), "mend that stack, then run again"))
	})
	out := []*Result{}
	for _, one := range r.Stacks {
		t := tasks[one.Name]
		out = append(out, t.Result)
		r.Action.Report.Add(verdict.About(one.Name, t.Report.Checks)...)
	}
	return out, nil
}

// do does the work with one of several stacks. A panic in it is that stack's
// failure: the others still need their report.
func (r *Run) do(ctx context.Context, w Work, t *Task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			fence := t.Fence("panic")
			fmt.Fprintf(fence, "%v\n%s", p, debug.Stack())
			fence.Close()
			err = verdict.CannotTell("panic", "the stack's work to run to its end", fmt.Errorf("a defect in it: %.500q", fmt.Sprint(p)), "report it with the trace in the log")
		}
	}()
	if ctx.Err() != nil {
		return verdict.CannotTell("interrupted", "the step to run to its end", errors.New("a cancel from the runner"), "run the workflow again")
	}
	return w.Do(ctx, t)
}

// task prepares the work with one stack.
func (r *Run) task(ctx context.Context, one *One, report *verdict.Report) *Task {
	t := &Task{One: one, Report: report, Fence: r.fence(one)}
	t.Result = &Result{Name: one.Name, Path: one.Path, ID: one.ID, After: r.Graph.Before(one.Name)}
	voice := stack.Voice{Report: report, Fence: t.Fence, Logf: r.Action.Logf}
	if !r.Single {
		voice.Logf = func(format string, args ...any) { r.Action.Logf("%s: %s", one.Name, fmt.Sprintf(format, args...)) }
	}
	t.Open = func() (*stack.Stack, error) {
		s, err := one.Config.OpenAs(ctx, r.Action, r.Secrets, voice)
		if err == nil {
			s.Claim = func(place string) error { return r.claim(place, one.Name) }
			t.Result.DataDir = s.CLI.DataDir
		}
		return s, err
	}
	return t
}

func (r *Run) fence(one *One) func(prefix string) io.WriteCloser {
	return func(prefix string) io.WriteCloser {
		if !r.Single {
			prefix = one.Name + " " + prefix
		}
		return r.Action.Fence(prefix)
	}
}

// claim keeps a state for one stack of the run.
func (r *Run) claim(place, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.places == nil {
		r.places = map[string]string{}
	}
	if other, taken := r.places[place]; taken && other != name {
		return verdict.Refuse("state-shared", "a state of its own", fmt.Sprintf("the state of stack %s", other), "give each stack its own: {stack} in backend_config stands for the stack's name")
	}
	r.places[place] = name
	return nil
}
