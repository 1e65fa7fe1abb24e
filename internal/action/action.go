// Package action is the contract with the runner: typed inputs, outputs,
// masks, the fence around foreign text, the summary and the exit code. It
// holds on GitHub, on a Forgejo runner in host mode and in nektos/act, and it
// refuses whatever one of them would lose, cut or carry out.
package action

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"

	githubactions "github.com/sethvargo/go-githubactions"
)

// maxOutputLine is the length from which a line of an output is refused. The
// Forgejo runner silently drops a line of 64 KiB and every later one; the
// name and the delimiter need some of that room.
const maxOutputLine = 60 << 10

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

	gha     *githubactions.Action
	out     io.Writer
	getenv  func(string) string
	environ []string
	outputs map[string]string
	read    map[string]bool
	summary strings.Builder
}

// Main runs an action in this process's environment and returns the exit
// code: 0 if the report is proven, 1 otherwise. metadata is the action.yml.
func Main(metadata []byte, run Run) int {
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
		gha:     githubactions.New(githubactions.WithWriter(log), githubactions.WithGetenv(getenv)),
		out:     log,
		getenv:  getenv,
		environ: environ,
		outputs: map[string]string{},
		read:    map[string]bool{},
	}, nil
}

// Do runs the action, writes its report, outputs and summary, and returns the
// exit code. All of them are written on failure too: a red step is when they
// are needed.
func (a *Action) Do(ctx context.Context, run Run) int {
	err := run(ctx, a)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, verdict.CannotTell("interrupted", "the step to run to its end", errors.New("a cancel from the runner"), "run the workflow again; it takes up what it finds"))
	}
	a.Report.Add(verdict.ChecksOf(err)...)
	if err := a.finish(); err != nil {
		a.Report.Add(verdict.ChecksOf(err)...)
		a.Report.Finish(time.Now())
		a.show()
		return 1
	}
	if a.Report.Verdict != verdict.Proven {
		return 1
	}
	return 0
}

// finish writes everything that the runner is to keep.
func (a *Action) finish() error {
	a.Report.Finish(time.Now())
	a.Report.Checks = safeChecks(a.Report.Checks)
	var errs []error
	if path, err := a.writeReport(); err != nil {
		errs = append(errs, fmt.Errorf("writing the report: %w", err))
	} else if _, declared := a.Meta.Outputs["report"]; declared {
		a.outputs["report"] = path
	}
	if err := a.writeOutputs(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	a.show()
	return nil
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
		fmt.Fprintf(a.out, "warning: the step summary was not written: %v\n", err)
	}
}

// Summarize adds Markdown to the step summary, below the report.
func (a *Action) Summarize(markdown string) {
	a.summary.WriteString("\n")
	a.summary.WriteString(markdown)
}

// Logf prints one line of our own words. Foreign text goes through Fence.
func (a *Action) Logf(format string, args ...any) {
	fmt.Fprintln(a.out, clean(fmt.Sprintf(format, args...)))
}

// Environ returns the environment of the runner, for command.Environ.
func (a *Action) Environ() []string { return a.environ }

// Getenv returns a variable of the runner's environment.
func (a *Action) Getenv(name string) string { return a.getenv(name) }

// TempDir makes a new directory, mode 0700, that the runner deletes with the
// job: under RUNNER_TEMP, or the system's place for such where that is unset.
func (a *Action) TempDir(name string) (string, error) {
	root := a.getenv("RUNNER_TEMP")
	if root == "" {
		root = os.TempDir()
	}
	root = filepath.Join(root, "edge-actions")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(root, name+"-")
}

// Mask has the runner hide secret in its logs. It prints nothing that a
// runner which does not understand a mask would show:
//   - each line is masked by itself, since maskers work line by line;
//   - a line with "%" is masked raw and escaped, since the Forgejo runner
//     never unescapes and GitHub always does;
//   - a line with "::" is masked in its parts, since act takes the value for
//     a command and prints it;
//   - parts of less than four bytes are left, since masking them would blank
//     the log and hide nothing.
func (a *Action) Mask(secret string) {
	for line := range strings.Lines(secret) {
		for part := range strings.SplitSeq(strings.TrimRight(line, "\r\n"), "::") {
			if len(part) < 4 {
				continue
			}
			a.gha.AddMask(part)
			if strings.Contains(part, "%") {
				fmt.Fprintf(a.out, "::add-mask::%s\n", part)
			}
		}
	}
}

// SetOutput sets one of the outputs that action.yml declares. Outputs are
// written together at the end.
func (a *Action) SetOutput(name, value string) {
	if _, ok := a.Meta.Outputs[name]; !ok {
		panic(fmt.Sprintf("output %q is not declared in action.yml", name))
	}
	a.outputs[name] = value
}

// Output returns what SetOutput was last given for name.
func (a *Action) Output(name string) string { return a.outputs[name] }

// writeOutputs writes the outputs in one append, each under a delimiter that
// its value can't contain. go-githubactions has a constant one, and a value
// with that line in it set a second output on both engines.
func (a *Action) writeOutputs() error {
	var b strings.Builder
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.outputs)) {
		entry, err := formatOutput(name, a.outputs[name], token())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		b.WriteString(entry)
	}
	if b.Len() > 0 && a.getenv("GITHUB_OUTPUT") != "" {
		if err := a.fileCommand("output", b.String()); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// formatOutput renders one entry of the output file.
func formatOutput(name, value, delimiter string) (string, error) {
	hint := "pass it as a file, with its path as the output"
	if !utf8.ValidString(value) {
		return "", verdict.Refuse("output", "output "+name+" to be valid UTF-8", "invalid bytes", hint)
	}
	if strings.ContainsRune(value, '\r') || strings.ContainsRune(value, 0) {
		return "", verdict.Refuse("output", "output "+name+" without carriage returns or NUL bytes", "one", hint)
	}
	for line := range strings.Lines(value) {
		if len(line) >= maxOutputLine {
			return "", verdict.Refuse("output", fmt.Sprintf("lines under %d bytes in output %s", maxOutputLine, name), fmt.Sprintf("one of %d bytes", len(line)), hint)
		}
		if strings.TrimRight(line, "\n") == delimiter {
			return "", verdict.Refuse("output", "output "+name+" without its own delimiter", "the delimiter", "run the step again")
		}
	}
	if strings.Contains(value, "${{") {
		// Not expanded from an output by any runner today, but it is from
		// GITHUB_ENV, where a workflow may well put it next.
		return "", verdict.Refuse("output", "output "+name+" without an expression", fmt.Sprintf("%q", "${{"), hint)
	}
	return fmt.Sprintf("%s<<%s\n%s\n%s\n", name, delimiter, value, delimiter), nil
}

// fileCommand appends to one of the runner's files. The library panics on an
// error; here it is one.
func (a *Action) fileCommand(name, message string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("writing to the runner's %s file: %v", name, r)
		}
	}()
	a.gha.IssueFileCommand(&githubactions.Command{Name: name, Message: strings.TrimSuffix(message, "\n")})
	return nil
}

func (a *Action) writeReport() (string, error) {
	dir, err := a.TempDir("report")
	if err != nil {
		return "", err
	}
	data, err := json.MarshalIndent(a.Report, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "report.json")
	return path, files.Write(path, append(data, '\n'))
}

// safeChecks keeps control characters of any origin out of the report.
func safeChecks(checks []verdict.Check) []verdict.Check {
	out := slices.Clone(checks)
	for i := range out {
		for _, s := range []*string{&out[i].ID, &out[i].Wanted, &out[i].Got, &out[i].Hint, &out[i].Waived} {
			*s = clean(*s)
		}
	}
	return out
}

func token() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return "edge_" + hex.EncodeToString(b[:])
}

// cutLines returns at most max bytes of s, ending at a whole line, and says so.
func cutLines(s string, max int) string {
	if len(s) <= max {
		return s
	}
	end := strings.LastIndexByte(s[:max], '\n') + 1
	return s[:end] + fmt.Sprintf("\n_%d more bytes are in the log and the report._\n", len(s)-end)
}
