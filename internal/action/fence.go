package action

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// maxLogLine is where a foreign line is broken. Runners cut or drop lines of
// 64 KiB, and nobody reads one.
const maxLogLine = 4 << 10

// Fence returns a writer for foreign text: what children, remote hosts and
// APIs say. Until it is closed the runner carries out no command (the Forgejo
// runner honours ::set-env:: and ::add-path:: from anybody); besides, every
// line is prefixed, because GitHub finds "##[" anywhere and "::" after blanks,
// and control characters are shown instead of sent. Lines are held back until
// they are whole. Several fences may be open at once, and one may be written
// to from several goroutines. It begins with the first byte. Writing never fails: a log that is gone must not
// end the child that writes to it half-way. Close it when the text is over.
func (a *Action) Fence(prefix string) io.WriteCloser {
	f := &fence{log: a.log, prefix: "| "}
	if prefix != "" {
		f.prefix = strings.ReplaceAll(clean(prefix), "\n", " ") + " | "
	}
	return f
}

type fence struct {
	log    *console
	prefix string

	mu     sync.Mutex // a child's stdout and stderr are two goroutines
	line   []byte
	open   bool // the runner was told; not before there is something to fence
	closed bool
}

func (f *fence) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open && !f.closed && len(p) > 0 {
		f.open = true
		f.log.stop()
	}
	var b strings.Builder
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte{'\n'})
		f.line = append(f.line, line...)
		rest = after
		f.take(&b, whole)
	}
	io.WriteString(f.log, b.String()) //nolint:errcheck // see Fence
	return len(p), nil
}

func (f *fence) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	if len(f.line) > 0 {
		var b strings.Builder
		f.take(&b, true)
		io.WriteString(f.log, b.String()) //nolint:errcheck // see Fence
	}
	if f.open {
		f.log.resume()
	}
	return nil
}

// take renders what is ready of the held line: all of it if it is whole, and
// otherwise as many pieces of full length as it has.
func (f *fence) take(b *strings.Builder, whole bool) {
	text := f.line
	for len(text) > maxLogLine {
		cut := maxLogLine
		for cut > maxLogLine-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
			cut--
		}
		b.WriteString(inert(f.prefix+clean(string(text[:cut]))) + "\n")
		text = text[cut:]
	}
	if !whole {
		f.line = append(f.line[:0], text...)
		return
	}
	b.WriteString(inert(f.prefix+clean(strings.TrimSuffix(string(text), "\r"))) + "\n")
	f.line = f.line[:0]
}

// clean makes control characters, invalid UTF-8 and the marks that reverse
// the reading order visible instead of effective. Tabs and newlines stay.
func clean(s string) string {
	ok := func(r rune) bool {
		return r == '\t' || r == '\n' || r != utf8.RuneError && unicode.IsPrint(r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case ok(r):
			b.WriteRune(r)
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, "\\x%02x", s[0])
		case r < 0x80:
			fmt.Fprintf(&b, "\\x%02x", r)
		case r < 0x10000:
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			fmt.Fprintf(&b, "\\U%08x", r)
		}
		s = s[size:]
	}
	return b.String()
}

// inert takes the effect from what some runner would read as a command: "::"
// at the start of a line, after blanks too, and "##[" anywhere.
func inert(s string) string {
	if !strings.Contains(s, "::") && !strings.Contains(s, "##[") {
		return s
	}
	lines := strings.SplitAfter(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "::") {
			line = "| " + line
		}
		lines[i] = strings.ReplaceAll(line, "##[", "# #[")
	}
	return strings.Join(lines, "")
}
