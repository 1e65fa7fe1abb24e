package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"edge-actions/internal/verdict"
)

// openProgram is the descriptor from which agent.sh starts the program.
const openProgram = 9

// Called reports whether a process with these arguments (os.Args) was started as
// an agent, and has to Serve and nothing else.
func Called(args []string) bool { return len(args) > 1 && args[1] == "agent" }

// Serve answers the one request that this process was started for, and returns
// its exit code. The context of handle ends when nobody waits for the answer any
// more, with some time left to clean up in: handle has to return soon, and what
// it deferred is run. What logf says goes to the one who waits, a line at a
// time. Whatever handle's error carries goes there as checks.
func Serve[Request, Response any](handle func(ctx context.Context, r Request, logf func(format string, args ...any)) (Response, error)) int {
	// Else each child keeps it.
	syscall.CloseOnExec(openProgram)
	return serve(os.Stdin, os.Stdout, endGroup, func(ctx context.Context, body json.RawMessage, logf func(string, ...any)) (any, error) { //nolint:forbidigo // the answer goes there
		var r Request
		if err := json.Unmarshal(body, &r); err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
		return handle(ctx, r, logf)
	})
}

type handler func(ctx context.Context, body json.RawMessage, logf func(string, ...any)) (any, error)

func serve(in io.Reader, out io.Writer, kill func(), handle handler) int {
	s := &server{out: out}
	w := newWatch(kill)
	s.broken = func() { w.over(errNobody) }
	defer w.stop()
	s.say(said{Schema: schema})
	r := bufio.NewReader(in)
	line, err := readLine(r)
	var a asked
	if err != nil || json.Unmarshal(line, &a) != nil || a.Schema != schema {
		return 1 // who sent that is not who would read more
	}
	w.start(r, duration(a.Seconds), duration(a.Grace))
	answer, err := guard(w.ctx, a.Request, s.logf, handle)
	if cause := context.Cause(w.ctx); err != nil && verdict.Has(cause, Timeout) {
		err = errors.Join(cause, err)
	}
	return s.answer(answer, err)
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, errors.New("a line that is too long")
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// guard runs the handler. A panic is an error that says where, and not with
// what: a value may be a secret.
func guard(ctx context.Context, body json.RawMessage, logf func(string, ...any), handle handler) (answer any, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		returned := false
		defer func() {
			if !returned {
				_ = recover() // its value goes nowhere
				answer, err = nil, verdict.CannotTell(Panicked, "the agent to run to its end", fmt.Errorf("a defect in it, %s", where()), "report it with this line; what was done until then stands")
			}
		}()
		answer, err = handle(ctx, body, logf)
		returned = true
	}()
	<-done
	return answer, err
}

// where names the function that panicked: the first of ours above the runtime's.
func where() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("in %s, line %d", frame.Function, frame.Line)
		}
		if !more {
			return "at a place unknown"
		}
	}
}

// server is the agent's end.
type server struct {
	mu     sync.Mutex
	out    io.Writer
	logs   int
	over   bool
	broken func() // called when nobody reads any more
}

func (s *server) say(what said) {
	line, err := json.Marshal(what)
	if err == nil {
		_, err = s.out.Write(append(line, '\n'))
	}
	if err != nil {
		s.broken()
	}
}

// logf says no more than the other end takes, and nothing after the answer.
func (s *server) logf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.SplitSeq(strings.TrimSuffix(fmt.Sprintf(format, args...), "\n"), "\n") {
		switch s.logs++; {
		case s.over || s.logs > maxLogs:
			return
		case s.logs == maxLogs:
			line = fmt.Sprintf("the log ends here, after %d lines; the work goes on", maxLogs)
		}
		line = cut(printable(line), maxLog)
		s.say(said{Log: &line})
	}
}

func (s *server) answer(answer any, err error) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	var line json.RawMessage
	if err == nil {
		if line, err = json.Marshal(answer); err != nil {
			err = badAnswer(fmt.Sprintf("one that can't be sent (%T)", err)) // its text may hold values
		} else if len(line) > maxLine-header {
			err = badAnswer(fmt.Sprintf("one of %d bytes, of which %d can be sent", len(line), maxLine-header))
		}
	}
	if err == nil {
		s.say(said{Answer: line})
		return 0
	}
	s.say(said{Checks: fitting(verdict.ChecksOf(err))})
	return 1
}

// fitting cuts checks to what the other end takes.
func fitting(checks []verdict.Check) []verdict.Check {
	checks = checks[:min(len(checks), maxChecks)]
	room := maxLine / 8 / max(len(checks), 1) / 4 // JSON may make six bytes of one
	for i := range checks {
		for _, s := range []*string{&checks[i].Subject, &checks[i].Wanted, &checks[i].Got, &checks[i].Hint} {
			*s = cut(*s, room)
		}
	}
	return checks
}
