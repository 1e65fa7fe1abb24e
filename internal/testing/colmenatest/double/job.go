package double

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
)

// monitor prints the progress of jobs, each line as "LABEL | TEXT", whatever
// RUST_LOG says.
type monitor struct {
	mu    sync.Mutex
	out   io.Writer
	width int
	jobs  []*job
}

// kinds of jobs, as their lines name them.
const (
	meta       = "meta"
	evaluate   = "evaluate"
	build      = "build"
	push       = "push"
	uploadKeys = "upload-keys"
	activate   = "activate"
	gcRoots    = "create-gc-roots"
	reboot     = "reboot"
)

type job struct {
	m      *monitor
	kind   string
	nodes  []string
	ended  bool
	failed bool
	events []string
}

func newMonitor(out io.Writer, nodes []string) *monitor {
	m := &monitor{out: out, width: len("(...)")}
	for _, node := range nodes {
		m.width = max(m.width, len(node))
	}
	return m
}

func (m *monitor) create(kind string, nodes ...string) *job {
	j := &job{m: m, kind: kind, nodes: nodes}
	m.mu.Lock()
	defer m.mu.Unlock()
	if kind != meta {
		j.events = append(j.events, " created)")
	}
	m.jobs = append(m.jobs, j)
	return j
}

func (j *job) label() string {
	switch {
	case j.kind == meta:
		return ""
	case len(j.nodes) != 1:
		return "(...)"
	}
	return j.nodes[0]
}

// say prints one line and remembers an event of that kind.
func (j *job) say(event, text string) {
	j.m.mu.Lock()
	defer j.m.mu.Unlock()
	j.line(event, text)
}

func (j *job) line(event, text string) {
	j.events = append(j.events, fmt.Sprintf("%8s) %s", event, text))
	fmt.Fprintf(j.m.out, "%*s | %s\n", j.m.width, j.label(), text)
}

func (j *job) message(text string) { j.say("message", text) }

func (j *job) running() {
	text := map[string]string{
		evaluate: "Evaluating " + describe(j.nodes), build: "Building " + describe(j.nodes), push: "Pushing system closure",
		uploadKeys: "Uploading keys", activate: "Activating system profile", reboot: "Rebooting",
	}[j.kind]
	j.m.mu.Lock()
	defer j.m.mu.Unlock()
	j.line("state", text)
	j.events[len(j.events)-1] = fmt.Sprintf("%8s) Running", "state")
}

// succeed ends the job, with a line of its own or the one of its kind; only
// the first end of a job counts.
func (j *job) succeed(text string) {
	if text == "" {
		text = map[string]string{
			meta: "All done!", evaluate: "Evaluated " + describe(j.nodes), build: "Built " + describe(j.nodes), push: "Pushed system closure",
			uploadKeys: "Uploaded keys", activate: "Succeeded", reboot: "Rebooted", gcRoots: "Succeeded",
		}[j.kind]
	}
	j.end("success", text, text, false)
}

func (j *job) fail(err error) {
	what := map[string]string{
		evaluate: "Evaluation failed", build: "Build failed", push: "Push failed", uploadKeys: "Key upload failed",
		activate: "Activation failed", reboot: "Reboot failed",
	}[j.kind]
	if what == "" {
		what = "Failed"
	}
	j.end("failure", err.Error(), what+": "+err.Error(), true)
}

func (j *job) end(event, remembered, text string, failed bool) {
	j.m.mu.Lock()
	defer j.m.mu.Unlock()
	if j.ended {
		return
	}
	j.ended, j.failed = true, failed
	j.line(event, text)
	j.events[len(j.events)-1] = fmt.Sprintf("%8s) %s", event, remembered)
}

// run has the job run and end with what f returns.
func (j *job) run(f func() error) error {
	j.running()
	err := f()
	if err != nil {
		j.fail(err)
	} else {
		j.succeed("")
	}
	return err
}

// follow prints what a child writes, a line at a time.
func (j *job) follow(event string, from io.Reader) string {
	var all strings.Builder
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			line = strings.ToValidUTF8(strings.TrimRight(line, " \t\r\n"), "\uFFFD")
			all.WriteString(line + "\n")
			if event != "" {
				j.say(event, line)
			}
		}
		if err != nil {
			return all.String()
		}
	}
}

// finish shows the end of the log of each job that failed.
func (m *monitor) finish(log *logger) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range m.jobs {
		if !j.failed {
			continue
		}
		what := map[string]string{
			evaluate: "Failed to evaluate ", build: "Failed to build ", push: "Failed to push system closure to ",
			uploadKeys: "Failed to upload keys to ", activate: "Failed to deploy to ", reboot: "Failed to reboot ", gcRoots: "Failed to complete job on ",
		}[j.kind] + describe(j.nodes)
		if j.kind == meta {
			what = "Failed to complete requested operation"
		}
		last := j.events[max(0, len(j.events)-20):]
		log.errorf("%s - Last %d lines of logs:", what, len(last))
		for _, event := range last {
			log.errorf("%s", event)
		}
	}
}

// describe names nodes in about 40 characters: "alpha, beta, and 5 other nodes".
func describe(nodes []string) string {
	s := ""
	for i, node := range nodes {
		last := i == len(nodes)-1
		switch {
		case s == "":
		case last && len(nodes) > 2:
			s += ", and "
		case last:
			s += " and "
		default:
			s += ", "
		}
		s += node
		if last {
			break
		}
		next, left := nodes[i+1], len(nodes)-i-1
		if room := 40 - len(s); room >= 0 && len(next)+len(", and XX other nodes") >= room {
			if left == 1 {
				return s + ", and " + next
			}
			return fmt.Sprintf("%s, and %d other nodes", s, left)
		}
	}
	return s
}
