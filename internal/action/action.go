// Package action is the contract with the runner: typed inputs, outputs,
// masks, the fence around foreign text, the summary and the exit code. It
// holds on GitHub, on a Forgejo runner in host mode and in nektos/act, and it
// refuses whatever one of them would lose, cut or carry out.
package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"

	githubactions "github.com/sethvargo/go-githubactions"
)

// maxSummary keeps the step summary below the 1 MiB at which GitHub refuses
// it as a whole.
const maxSummary = 900 << 10

// Run does the work of one action. It adds its checks to a.Report; an error
// becomes a check too.
type Run func(ctx context.Context, a *Action) error

// Action is one run of one action.
type Action struct {
	Meta   *Metadata
	Report *verdict.Report
	// Record keeps evidence of the run; nobody does if it is nil.
	Record Record

	gha     *githubactions.Action
	log     *console
	getenv  func(string) string
	environ []string
	outputs map[string]string
	written map[string]bool // of the outputs, those that the runner has
	read    map[string]bool
	hidden  hidden
	summary strings.Builder
}

// Main runs an action in this process's environment and returns the exit
// code: 0 if the report is proven, 1 otherwise. metadata is the action.yml.
func Main(metadata []byte, run Run, record Record) int {
	// What this process and its children write is for the owner only; OpenTofu
	// would otherwise create its state with mode 0644.
	syscall.Umask(0o077)
	// INT and TERM are how GitHub cancels; the Forgejo runner sends neither.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a, err := New(metadata, os.Stdout, os.Environ())
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	a.Record = record
	return a.Do(ctx, run)
}

// New prepares a run of the action that metadata declares, with its effects
// passed in: the log and the environment.
func New(metadata []byte, log io.Writer, environ []string) (*Action, error) {
	meta, err := ParseMetadata(metadata)
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	getenv := func(name string) string { return env[name] }
	return &Action{
		Meta:    meta,
		Report:  &verdict.Report{Action: meta.Name, Started: time.Now().UTC()},
		gha:     githubactions.New(githubactions.WithGetenv(getenv)),
		log:     newConsole(log, getenv("RUNNER_TEMP")),
		getenv:  getenv,
		environ: environ,
		outputs: map[string]string{},
		written: map[string]bool{},
		read:    map[string]bool{},
	}, nil
}

// Do runs the action, writes its report, outputs and summary, and returns the
// exit code. All of them are written on failure too: a red step is when they
// are needed.
func (a *Action) Do(ctx context.Context, run Run) int {
	a.log.recover()
	err := guard(ctx, a, run)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, verdict.CannotTell("interrupted", "the step to run to its end", errors.New("a cancel from the runner"), "run the workflow again; it takes up what it finds"))
	}
	a.log.closeAll()
	a.Report.Add(verdict.ChecksOf(err)...)
	a.record(ctx, a.finish())
	a.show()
	if a.Report.Verdict != verdict.Proven {
		return 1
	}
	return 0
}

// guard runs the action and makes a panic a check: the report and the outputs
// of the run are still wanted, and a trace that is printed as it is would
// carry foreign text past the fence.
func guard(ctx context.Context, a *Action, run Run) (err error) {
	defer func() {
		if r := recover(); r != nil {
			fence := a.Fence("panic")
			fmt.Fprintf(fence, "%v\n%s", r, debug.Stack())
			fence.Close()
			err = verdict.CannotTell("panic", "the action to run to its end", fmt.Errorf("a defect in it: %.500q", fmt.Sprint(r)), "report it with the trace in the log; what was done until then stands")
		}
	}()
	return run(ctx, a)
}

// finish writes everything that the runner is to keep. Whatever goes wrong in
// it becomes a check of the report, and the report on disk is written last or
// again: a reader must never find a proven one of a failed step. The path of
// the report is empty if there is none.
func (a *Action) finish() (report string) {
	entries, err := a.formatOutputs()
	a.Report.Add(verdict.ChecksOf(err)...)
	path, err := a.writeReport("")
	if err != nil {
		err = verdict.CannotTell("report", "the report to be written", err, "look at the space and the modes in RUNNER_TEMP")
	} else if _, declared := a.Meta.Outputs["report"]; declared {
		var entry string
		a.outputs["report"] = path
		entry, err = formatOutput("report", path, token())
		a.written["report"] = err == nil
		entries += entry
	}
	if entry, ok := a.failureReason(err); ok {
		entries += entry
	}
	err = errors.Join(err, a.writeOutputs(entries))
	if err != nil {
		a.amend(path, err)
	}
	return path
}

// amend adds what went wrong after the report was written, to it and to the
// one on disk.
func (a *Action) amend(path string, err error) {
	a.Report.Add(verdict.ChecksOf(err)...)
	if path == "" {
		a.sum()
	} else if _, err := a.writeReport(path); err != nil {
		os.Remove(path) // better none than a wrong one
	}
}

// sum draws the report's verdict from its checks.
func (a *Action) sum() {
	a.Report.Finish(time.Now())
	a.Report.Checks = safeChecks(a.Report.Checks)
}

// show prints the report to the log, and to the summary file where there is
// one: Forgejo shows no step summary, so the log comes first.
func (a *Action) show() {
	fence := a.Fence("")
	fmt.Fprint(fence, "\n", a.Report.Text())
	fence.Close()
	if a.getenv("GITHUB_STEP_SUMMARY") == "" {
		return
	}
	text := a.Report.Markdown() + a.summary.String()
	if err := a.fileCommand("step-summary", cutLines(text, maxSummary)); err != nil {
		a.Logf("warning: the step summary was not written: %v", err)
	}
}

// Summarize adds Markdown to the step summary, below the report.
func (a *Action) Summarize(markdown string) {
	a.summary.WriteString("\n")
	a.summary.WriteString(markdown)
}

// Logf prints one line of our own words. Foreign text goes through Fence; a
// name that was quoted into these words is no command either.
func (a *Action) Logf(format string, args ...any) {
	fmt.Fprintln(a.log, inert(clean(fmt.Sprintf(format, args...))))
}

// Environ returns the environment of the runner, for command.Environ.
func (a *Action) Environ() []string { return a.environ }

// Getenv returns a variable of the runner's environment.
func (a *Action) Getenv(name string) string { return a.getenv(name) }

// writeReport writes the report to path, or to a new place if that is empty.
func (a *Action) writeReport(path string) (string, error) {
	a.sum()
	data, err := json.MarshalIndent(a.Report, "", "  ")
	if err != nil {
		return "", err
	}
	if path == "" {
		dir, err := a.TempDir("report")
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, "report.json")
	}
	return path, files.Write(path, append(data, '\n'))
}

// safeChecks keeps control characters of any origin out of the report.
func safeChecks(checks []verdict.Check) []verdict.Check {
	out := slices.Clone(checks)
	for i := range out {
		for _, s := range []*string{&out[i].ID, &out[i].Subject, &out[i].Wanted, &out[i].Got, &out[i].Hint, &out[i].Waived} {
			*s = clean(*s)
		}
	}
	return out
}

// cutLines returns at most max bytes of s, ending at a whole line, and says so.
func cutLines(s string, max int) string {
	if len(s) <= max {
		return s
	}
	end := strings.LastIndexByte(s[:max], '\n') + 1
	return s[:end] + fmt.Sprintf("\n_%d more bytes are in the log and the report._\n", len(s)-end)
}
