package double

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// logger prints what is a log line of Colmena's and not a progress line: these
// obey RUST_LOG, those don't.
type logger struct {
	out   io.Writer
	level int
}

// levels, the most urgent first; -1 is off.
var levels = [...]string{"error", "warn", "info", "debug", "trace"}

// newLogger reads RUST_LOG as far as it is about the crate colmena: unset or
// empty means errors only.
func newLogger(out io.Writer, rustLog string) *logger {
	l := &logger{out: out}
	if strings.TrimSpace(rustLog) == "" {
		return l
	}
	l.level = -1
	specific := -1
	for directive := range strings.SplitSeq(rustLog, ",") {
		target, level, ok := strings.Cut(strings.TrimSpace(directive), "=")
		if !ok {
			target, level = "", target
		}
		n := slices.Index(levels[:], strings.ToLower(level))
		if strings.HasPrefix("colmena", target) && len(target) >= specific && (n >= 0 || strings.EqualFold(level, "off")) {
			l.level, specific = n, len(target)
		}
	}
	return l
}

func (l *logger) print(level int, format string, args ...any) {
	if level <= l.level {
		fmt.Fprintf(l.out, "%5s %s\n", strings.ToUpper(levels[level]), fmt.Sprintf(format, args...))
	}
}

func (l *logger) errorf(format string, args ...any) { l.print(0, format, args...) }
func (l *logger) warnf(format string, args ...any)  { l.print(1, format, args...) }
func (l *logger) infof(format string, args ...any)  { l.print(2, format, args...) }
