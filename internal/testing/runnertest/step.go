package runnertest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// Step is one process that the runner starts, with everything it starts.
type Step struct {
	// Env is the step's own env, beside the inputs.
	Env map[string]string
	// Dir is the working directory: the workspace unless set.
	Dir string
	// Timeout fails the test and kills the group; a minute unless set.
	Timeout time.Duration

	r      *Runner
	argv   []string
	inputs map[string]string
	cmd    *exec.Cmd
	files  map[string]string
	log    watched
	done   chan struct{}
	killed bool
	mu     sync.Mutex
}

// Result is what the runner has after a step.
type Result struct {
	// ExitCode is -1 for a step that was ended by a signal.
	ExitCode int
	// RawLog is every byte that was printed; Log is what a Forgejo job shows
	// of it, and Logs what each runner does. A last line without its end is
	// in RawLog only.
	RawLog, Log string
	Logs        map[string]string
	// Outputs are the step's outputs, by file or by command.
	Outputs map[string]string
	// OutputsLost: a line of 64 KiB swallowed itself and the rest. The runner
	// does not say so.
	OutputsLost bool
	// FileError fails a step whose files the runner can't read.
	FileError error
	// Env and Path are what the step set for later ones, by file or command.
	Env  map[string]string
	Path []string
	// Masks are those of a Forgejo job so far, without the secrets.
	Masks []string
	// Honoured are the commands in the log that some runner obeyed.
	Honoured []Command
	// Summary is the step summary, which Forgejo shows nowhere.
	Summary string
	// Alive are the processes of the step's group that outlived it.
	Alive []int
}

// Green reports whether the runner shows the step as passed.
func (res *Result) Green() bool { return res.ExitCode == 0 && res.FileError == nil }

// ShownBy names the runners in whose log the text can be read.
func (res *Result) ShownBy(text string) []string {
	var out []string
	for _, name := range runnerNames {
		if strings.Contains(res.Logs[name], text) {
			out = append(out, name)
		}
	}
	return out
}

// Step prepares a step. Each input becomes INPUT_NAME, as the env of a run
// step in action.yml maps it by hand.
func (r *Runner) Step(argv []string, inputs map[string]string) *Step {
	return &Step{r: r, argv: argv, inputs: inputs, Env: map[string]string{}, Dir: r.Workspace, Timeout: time.Minute}
}

// Run starts the step and waits for its end.
func (s *Step) Run() *Result {
	s.r.t.Helper()
	s.Start()
	return s.Wait()
}

// Start starts the step with a terminal on stdin, stdout and stderr.
func (s *Step) Start() {
	s.r.t.Helper()
	dir := s.r.stepDir()
	s.files = map[string]string{}
	for _, name := range []string{"GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY"} {
		s.files[name] = filepath.Join(dir, strings.ToLower(name))
		if err := os.WriteFile(s.files[name], nil, 0o644); err != nil {
			s.r.t.Fatal(err)
		}
	}
	s.cmd = exec.Command(s.argv[0], s.argv[1:]...)
	s.cmd.Dir, s.cmd.Env = s.Dir, s.r.environ(s, s.files)
	// Sets a session and with it a process group of the child's own.
	terminal, err := pty.Start(s.cmd)
	if err != nil {
		s.r.t.Fatalf("starting %q: %v", s.argv, err)
	}
	s.done = make(chan struct{})
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(&s.log, terminal) //nolint:errcheck // EIO is how a terminal ends
	}()
	go func() {
		defer close(s.done)
		s.cmd.Wait() //nolint:errcheck // the state is read from s.cmd
		// A process that outlived the step may hold the terminal open; a
		// runner waits for nobody.
		select {
		case <-read:
		case <-time.After(300 * time.Millisecond):
		}
		terminal.Close()
	}()
	s.r.t.Cleanup(func() { s.kill() })
}

// KillGroup is a Forgejo cancel: SIGKILL to the process group, at once.
func (s *Step) KillGroup() *Result {
	s.r.t.Helper()
	s.kill()
	return s.Wait()
}

// KillAt kills the group when the log contains text.
func (s *Step) KillAt(text string) *Result {
	s.r.t.Helper()
	s.WaitLog(text)
	return s.KillGroup()
}

// KillOnFile kills the group when a path that matches the pattern exists.
func (s *Step) KillOnFile(pattern string) *Result {
	s.r.t.Helper()
	res, killed := s.TryKillOnFile(pattern)
	if !killed {
		s.r.t.Fatalf("the step ended before there was a file %s; its log:\n%s", pattern, res.Log)
	}
	return res
}

// TryKillOnFile is KillOnFile for a file that is there for a moment only and
// may be missed: killed is false if the step came to its end.
func (s *Step) TryKillOnFile(pattern string) (res *Result, killed bool) {
	s.r.t.Helper()
	found := func() bool {
		paths, err := filepath.Glob(pattern)
		return err == nil && len(paths) > 0
	}
	for !found() {
		select {
		case <-s.done:
			return s.Wait(), false
		case <-time.After(200 * time.Microsecond):
		}
	}
	return s.KillGroup(), true
}

// Signal sends a signal to the step's first process only: GitHub cancels with
// SIGINT, then SIGTERM.
func (s *Step) Signal(sig syscall.Signal) {
	s.r.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.r.t.Fatal(err)
	}
}

// WaitLog waits until the log contains text.
func (s *Step) WaitLog(text string) {
	s.r.t.Helper()
	s.until("a log with "+text, func() bool { return strings.Contains(s.log.String(), text) })
}

// until polls, because a kill is wanted at a moment and not after an event
// that the step could wait for.
func (s *Step) until(what string, ok func() bool) {
	s.r.t.Helper()
	end := time.Now().Add(s.Timeout)
	for !ok() {
		select {
		case <-s.done:
			if ok() {
				return
			}
			s.r.t.Fatalf("the step ended before there was %s; its log:\n%s", what, s.log.String())
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(end) {
			s.kill()
			s.r.t.Fatalf("after %s there was not %s; the log:\n%s", s.Timeout, what, s.log.String())
		}
	}
}

func (s *Step) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.killed {
		s.killed = true
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // gone already
	}
}

// Wait waits for the end of the step and reads what it left.
func (s *Step) Wait() *Result {
	s.r.t.Helper()
	select {
	case <-s.done:
	case <-time.After(s.Timeout):
		s.kill()
		<-s.done
		s.r.t.Errorf("the step did not end within %s; its log:\n%s", s.Timeout, s.log.String())
	}
	res := &Result{
		ExitCode: s.cmd.ProcessState.ExitCode(),
		RawLog:   s.log.String(),
		Outputs:  map[string]string{},
		Env:      map[string]string{},
		Alive:    alive(s.cmd.Process.Pid),
	}
	s.readLog(res)
	s.readFiles(res)
	for name, value := range res.Env {
		s.r.env[name] = value
	}
	s.r.path = append(res.Path, s.r.path...)
	return res
}

func (s *Step) readLog(res *Result) {
	var e engine
	var shown [3]strings.Builder
	log := s.r.log
	log.secrets = nil
	for _, secret := range s.r.Secrets {
		for line := range strings.Lines(secret) {
			log.secrets = append(log.secrets, strings.TrimRight(line, "\r\n"))
		}
	}
	for line := range strings.Lines(res.RawLog) {
		if !strings.HasSuffix(line, "\n") {
			break // neither act nor Forgejo's runner ever sees it
		}
		line = strings.TrimRight(line, "\r\n")
		stopped := e.stopped != ""
		texts, hidden := log.line(line, stopped)
		for i := range texts {
			if !hidden[i] {
				shown[i].WriteString(texts[i] + "\n")
			}
		}
		c := e.line(line)
		if c == nil {
			continue
		}
		res.Honoured = append(res.Honoured, *c)
		switch c.Name {
		case "set-env":
			res.Env[c.Params["name"]] = c.Value
		case "set-output":
			res.Outputs[c.Params["name"]] = c.Value
		case "add-path":
			res.Path = append([]string{c.Value}, res.Path...)
		}
	}
	res.Masks = slices.Clone(log.masks[forgejo])
	res.Log = shown[forgejo].String()
	res.Logs = map[string]string{}
	for i, name := range runnerNames {
		res.Logs[name] = shown[i].String()
	}
}

func (s *Step) readFiles(res *Result) {
	read := func(name string) []byte {
		data, err := os.ReadFile(s.files[name])
		if err != nil {
			s.r.t.Fatal(err)
		}
		return data
	}
	for name, into := range map[string]map[string]string{"GITHUB_ENV": res.Env, "GITHUB_OUTPUT": res.Outputs} {
		values, lost, err := ParseFile(read(name))
		res.FileError = errors.Join(res.FileError, err)
		for k, v := range values {
			into[k] = v
		}
		if name == "GITHUB_OUTPUT" {
			res.OutputsLost = lost
		}
	}
	for line := range strings.Lines(string(read("GITHUB_PATH"))) {
		res.Path = append([]string{strings.TrimRight(line, "\r\n")}, res.Path...)
	}
	res.Summary = string(read("GITHUB_STEP_SUMMARY"))
}

// watched is a log that can be read while it grows. The terminal has turned
// each \n into \r\n; the real runners switch that off.
type watched struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.ReplaceAll(w.b.String(), "\r\n", "\n")
}
