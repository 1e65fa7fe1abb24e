package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
)

// header is the length of the line that comes before the program: of a fixed
// one nothing has to be read that is not its own.
const header = 128

// talk is the runner's end: what the host says is written to it.
type talk struct {
	host     string
	logf     func(string)
	platform chan [2]string // what the host is, in Go's words, once
	ready    chan struct{}  // closed when the agent runs
	broken   chan struct{}  // closed when there is nothing to wait for
	once     sync.Once      // to close it

	mu      sync.Mutex
	closed  bool
	line    []byte
	bytes   int
	logs    int
	stage   stage
	wrong   error // what it said that can't be
	refused error // what the script refused, or what we refuse of its host
	answer  json.RawMessage
	checks  []error
}

// stage is how far the host has come: each word is said once, in this order.
type stage int

const (
	silent stage = iota
	placed       // it has said what it is
	running
	answered
)

func newTalk(host string, logf func(string)) *talk {
	if logf == nil {
		logf = func(string) {}
	}
	return &talk{host: host, logf: logf, platform: make(chan [2]string, 1), ready: make(chan struct{}), broken: make(chan struct{})}
}

// Write takes what comes from the host. It never fails: what is too much is not
// kept, and whoever waits is told.
func (t *talk) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	for len(p) > 0 && !t.closed && t.wrong == nil {
		part, rest, whole := bytes.Cut(p, []byte{'\n'})
		if t.bytes += len(part) + 1; len(t.line)+len(part) > maxLine || t.bytes > maxBytes {
			t.fail(fmt.Sprintf("more than the %d bytes of a line, or the %d in all, that are read", maxLine, maxBytes))
			break
		}
		t.line = append(t.line, part...)
		if p = rest; whole {
			t.hear(t.line)
			t.line = t.line[:0]
		}
	}
	return n, nil
}

// hear takes one whole line.
func (t *talk) hear(line []byte) {
	if t.stage == silent || t.stage == placed {
		if word, words, found := strings.Cut(strings.TrimPrefix(string(line), "edge-agent "), " "); found && bytes.HasPrefix(line, []byte("edge-agent ")) {
			switch {
			case word == "platform" && t.stage == silent:
				t.place(words)
				return
			case word == "refused" && t.refused == nil:
				t.refused = t.refusal(words)
				return
			}
		}
	}
	s, ok := decode(line)
	switch {
	case !ok || t.refused != nil:
		t.fail(fmt.Sprintf("%.300q", line))
	case s.Schema != "" && t.stage == placed && s.Schema == schema:
		t.stage = running
		close(t.ready)
	case s.Log != nil && t.stage == running && t.logs < maxLogs:
		t.logs++
		t.logf(cut(printable(*s.Log), maxLog))
	case s.Answer != nil && t.stage == running && string(s.Answer) != "null":
		t.stage, t.answer = answered, bytes.Clone(s.Answer)
	case s.Checks != nil && t.stage == running:
		if t.checks, ok = refusals(s.Checks); !ok {
			t.fail(fmt.Sprintf("an error that is none: %.300q", line))
			return
		}
		t.stage = answered
	default:
		t.fail(fmt.Sprintf("%.300q, where that has no place", line))
	}
}

// place takes what the host is.
func (t *talk) place(uname string) {
	t.stage = placed
	goos, goarch, err := hostPlatform(t.host, uname)
	if err != nil {
		t.refused = err
		t.once.Do(func() { close(t.broken) })
		return
	}
	t.platform <- [2]string{goos, goarch}
}

func decode(line []byte) (said, bool) {
	var s said
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if d.Decode(&s) != nil || !s.one() {
		return said{}, false
	}
	_, err := d.Token()
	return s, errors.Is(err, io.EOF)
}

func (t *talk) fail(got string) {
	t.wrong = badAnswer(got)
	t.once.Do(func() { close(t.broken) })
}

func (t *talk) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
}

// silent reports whether nothing was said of how it ended.
func (t *talk) silent() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wrong == nil && t.refused == nil && t.stage != answered
}

// feed sends the program and the request, each when the host is ready for it.
// An error is one of this side's.
func (t *talk) feed(ctx context.Context, o Options, request json.RawMessage, out io.Writer) error {
	var platform [2]string
	select {
	case platform = <-t.platform:
	case <-ctx.Done():
		return nil
	}
	path, err := o.Program(ctx, platform[0], platform[1])
	if ctx.Err() != nil {
		return nil // which is said as such
	}
	if err != nil {
		return err
	}
	left := func() time.Duration {
		end, _ := ctx.Deadline()
		return max(time.Until(end), time.Second)
	}
	if err := send(out, path, left()+o.Grace+slack); err != nil {
		return err
	}
	select {
	case <-t.ready:
	case <-ctx.Done():
		return nil
	}
	line, err := json.Marshal(asked{Schema: schema, Seconds: left().Seconds(), Grace: o.Grace.Seconds(), Request: request})
	if err != nil {
		return err
	}
	out.Write(append(line, '\n')) //nolint:errcheck // a host that is gone says so itself
	return nil
}

// send sends the program after a line with its size and digest, and with the
// time after which it is killed in any case.
func send(out io.Writer, path string, limit time.Duration) error {
	noProgram := func(err error) error {
		return verdict.CannotTell(NoProgram, fmt.Sprintf("a program to send, at %q", path), err, "run the action again; it builds what is missing")
	}
	f, err := os.Open(path)
	if err != nil {
		return noProgram(err)
	}
	defer f.Close()
	digest := sha256.New()
	size, err := io.Copy(digest, f)
	if err != nil {
		return noProgram(err)
	}
	if size == 0 {
		return noProgram(errors.New("an empty file"))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return noProgram(err)
	}
	first := fmt.Sprintf("%d %x %s", size, digest.Sum(nil), seconds(limit))
	if _, err := fmt.Fprintf(out, "%-*s\n", header-1, first); err != nil {
		return nil // see below
	}
	// What is wrong with the file now shows on the host, by its digest; and a
	// host that takes no more says why.
	io.CopyN(out, f, size) //nolint:errcheck // as said above
	return nil
}

// outcome is what the host made of it, once it has ended with end.
func (t *talk) outcome(end error) (json.RawMessage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var exit *command.ExitError
	if end != nil && !errors.As(end, &exit) {
		return nil, errors.Join(append([]error{end}, t.checks...)...)
	}
	switch {
	case t.refused != nil && t.wrong == nil:
		return nil, t.refused
	case t.wrong != nil:
		return nil, t.wrong
	case len(t.line) > 0:
		return nil, badAnswer(fmt.Sprintf("half a line at the end: %.300q", t.line))
	case t.stage == placed && exit != nil && (exit.Code == 126 || exit.Code == 127):
		return nil, verdict.CannotTell(NoProgram, "the program to start on "+t.host, end, "see that the host may run a program from the directory: its mount options, its mandatory access control")
	case t.stage != answered:
		got := "none, and an end as if all were well"
		if end != nil {
			got = fmt.Sprintf("none; %v", end)
		}
		return nil, badAnswer(got)
	case t.checks != nil:
		return nil, errors.Join(t.checks...)
	case end != nil:
		return nil, badAnswer(fmt.Sprintf("one, and then: %v", end))
	}
	return t.answer, nil
}
