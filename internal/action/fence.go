package action

import (
	"bytes"
	"fmt"
	"io"
	"strings"
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
// they are whole. Close it before anything else is printed.
func (a *Action) Fence(prefix string) io.WriteCloser {
	f := &fence{out: a.out, token: token(), prefix: "| "}
	if prefix != "" {
		f.prefix = prefix + " | "
	}
	return f
}

type fence struct {
	out           io.Writer
	token, prefix string
	line          []byte
	open, closed  bool
}

func (f *fence) Write(p []byte) (int, error) {
	n := len(p)
	if n > 0 && !f.open {
		// Only now: most commands say nothing, and two lines of nothing hide
		// what matters.
		f.open = true
		if _, err := fmt.Fprintf(f.out, "::stop-commands::%s\n", f.token); err != nil {
			return 0, err
		}
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i >= 0 {
			f.line = append(f.line, p[:i]...)
			p = p[i+1:]
			if err := f.flush(); err != nil {
				return 0, err
			}
			continue
		}
		f.line = append(f.line, p...)
		p = nil
		for len(f.line) > 2*maxLogLine {
			rest := bytes.Clone(f.line[maxLogLine:])
			f.line = f.line[:maxLogLine]
			if err := f.flush(); err != nil {
				return 0, err
			}
			f.line = rest
		}
	}
	return n, nil
}

// flush prints the held line, broken where it is too long.
func (f *fence) flush() error {
	text := clean(strings.TrimSuffix(string(f.line), "\r"))
	f.line = f.line[:0]
	var b strings.Builder
	for {
		cut := len(text)
		if cut > maxLogLine {
			cut = maxLogLine
			for cut > 0 && !utf8.RuneStart(text[cut]) {
				cut--
			}
		}
		fmt.Fprintf(&b, "%s%s\n", f.prefix, text[:cut])
		if text = text[cut:]; text == "" {
			break
		}
	}
	_, err := io.WriteString(f.out, b.String())
	return err
}

func (f *fence) Close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	if !f.open {
		return nil
	}
	if len(f.line) > 0 {
		if err := f.flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(f.out, "::%s::\n", f.token)
	return err
}

// clean makes control characters, invalid UTF-8 and the marks that reverse
// the reading order visible instead of effective. Tabs and newlines stay.
func clean(s string) string {
	ok := func(r rune) bool {
		return r == '\t' || r == '\n' || r != utf8.RuneError && unicode.IsPrint(r) || r == ' '
	}
	if strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case ok(r):
			b.WriteRune(r)
		case r == utf8.RuneError:
			fmt.Fprintf(&b, "\\x%02x", s[i])
		case r < 0x80:
			fmt.Fprintf(&b, "\\x%02x", r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}
