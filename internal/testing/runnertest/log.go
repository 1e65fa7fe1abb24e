package runnertest

import (
	"regexp"
	"slices"
	"strings"
)

// Command is a line that a runner obeyed.
type Command struct {
	Name, Value string
	Params      map[string]string
}

var (
	// As Forgejo's engine and act read a line: greedy, so the name takes in
	// every "::" up to the last one before a blank.
	greedy = regexp.MustCompile(`^::([^ ]+)( (.+))?::([^\r\n]*)$`)
	// As GitHub reads it, after blanks too.
	github = regexp.MustCompile(`^\s*::([^ :]+)( .*?)?::(.*)$`)
	// The older form: GitHub finds it anywhere, the others at the start.
	bracket = regexp.MustCompile(`##\[([^ \]]+)( [^\]]*)?\](.*)$`)
	// As the log of a Forgejo job reads it.
	reported = regexp.MustCompile(`^::([^ :]+)( .*)?::(.*)$`)
)

// parse returns every reading of a line by some runner, those first that
// reach furthest.
func parse(line string) []Command {
	var out []Command
	if m := greedy.FindStringSubmatch(line); m != nil {
		out = append(out, Command{m[1], unescape(m[4]), params(m[3], ",")})
	}
	if m := github.FindStringSubmatch(line); m != nil {
		out = append(out, Command{m[1], unescape(m[3]), params(m[2], ",")})
	}
	if m := bracket.FindStringSubmatch(line); m != nil {
		out = append(out, Command{m[1], unescape(m[3]), params(m[2], ";")})
	}
	return out
}

// engine obeys the commands of one step.
type engine struct{ stopped string }

// line returns the command in a line that some runner obeys, if any.
func (e *engine) line(line string) *Command {
	for _, c := range parse(line) {
		if e.stopped != "" {
			if c.Name == e.stopped {
				e.stopped = ""
				return nil
			}
			continue
		}
		switch c.Name {
		case "stop-commands":
			e.stopped = c.Value
			return nil
		case "set-env", "add-path", "set-output", "save-state", "add-mask", "add-matcher", "remove-matcher",
			"debug", "notice", "warning", "error", "group", "endgroup", "echo", "command", "section", "endsection":
			return &c
		}
	}
	return nil
}

// Honoured returns the commands in a log that some runner would obey.
func Honoured(log string) []Command {
	var e engine
	var out []Command
	for line := range strings.Lines(log) {
		if c := e.line(strings.TrimRight(line, "\r\n")); c != nil {
			out = append(out, *c)
		}
	}
	return out
}

// reporter is the log of one job, as each of the runners shows it.
type reporter struct {
	stopped string // Forgejo's, which no end of a step resets
	secrets []string
	masks   [3][]string
}

// Runners, in the order of Result.Logs.
const (
	forgejo = iota
	act
	gitHub
)

var runnerNames = [3]string{"forgejo", "act", "github"}

// line returns what each runner shows of a line, and takes up its masks.
// stopped says whether the engine has been told to ignore commands.
func (r *reporter) line(line string, stopped bool) (shown [3]string, hidden [3]bool) {
	shown = [3]string{line, line, line}
	if m := reported.FindStringSubmatch(line); m != nil {
		switch {
		case r.stopped != "" && m[1] != r.stopped:
		case m[1] == "stop-commands":
			r.stopped, hidden[forgejo] = m[3], true
		case m[1] == r.stopped:
			r.stopped, hidden[forgejo] = "", true
		case m[1] == "add-mask":
			r.mask(forgejo, m[3]) // raw: this one never unescapes
			hidden[forgejo] = true
		}
	}
	if !stopped {
		if m := greedy.FindStringSubmatch(line); m != nil && m[1] == "add-mask" {
			r.mask(act, unescape(m[4]))
			hidden[act] = true
		}
		if m := github.FindStringSubmatch(line); m != nil && m[1] == "add-mask" {
			// GitHub adds the lines of a value as masks of their own, too.
			r.mask(gitHub, unescape(m[3]))
			for part := range strings.Lines(unescape(m[3])) {
				r.mask(gitHub, strings.TrimRight(part, "\r\n"))
			}
			hidden[gitHub] = true
		}
	}
	for i := range shown {
		shown[i] = r.hide(i, shown[i])
	}
	return shown, hidden
}

func (r *reporter) mask(runner int, value string) {
	if value != "" {
		r.masks[runner] = append(r.masks[runner], value)
	}
}

func (r *reporter) hide(runner int, text string) string {
	for _, mask := range slices.Concat(r.secrets, r.masks[runner]) {
		text = strings.ReplaceAll(text, mask, "***")
	}
	return text
}

func params(s, separator string) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(strings.TrimSpace(s), separator) {
		if name, value, ok := strings.Cut(pair, "="); ok {
			out[name] = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%").Replace(value)
		}
	}
	return out
}

func unescape(s string) string {
	return strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%").Replace(s)
}
