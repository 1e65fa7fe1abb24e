package action_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/testing/runnertest"
)

func newAction(t testing.TB, log io.Writer, environ ...string) *action.Action {
	t.Helper()
	if log == nil {
		log = io.Discard
	}
	a, err := action.New([]byte(metadata), log, environ)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fenced returns what is printed for the given writes, without the fence
// itself.
func fenced(t testing.TB, writes ...string) []string {
	t.Helper()
	var log bytes.Buffer
	f := newAction(t, &log).Fence("")
	for _, w := range writes {
		if n, err := io.WriteString(f, w); n != len(w) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	f.Close()
	f.Close()
	lines := strings.SplitAfter(log.String(), "\n")
	last := len(lines) - 2
	token := strings.TrimSuffix(strings.TrimPrefix(lines[0], "::stop-commands::"), "\n")
	if len(token) < 32 || lines[last] != "::"+token+"::\n" || lines[last+1] != "" {
		t.Fatalf("no fence around %q", log.String())
	}
	return lines[1:last]
}

func TestFence(t *testing.T) {
	long := strings.Repeat("é", 35_000) // 70 KB
	for name, test := range map[string]struct {
		writes []string
		want   []string
	}{
		"lines":                {[]string{"one\ntwo\n"}, []string{"| one\n", "| two\n"}},
		"an empty line":        {[]string{"\n"}, []string{"| \n"}},
		"a partial line":       {[]string{"one\ntw", "o", "\nthree"}, []string{"| one\n", "| two\n", "| three\n"}},
		"a command in pieces":  {[]string{":", ":add-path::/e", "vil\n"}, []string{"| ::add-path::/evil\n"}},
		"brackets":             {[]string{"x ##[add-path]/evil\n"}, []string{"| x # #[add-path]/evil\n"}},
		"windows lines":        {[]string{"one\r\ntwo\r", "\n"}, []string{"| one\n", "| two\n"}},
		"overwriting":          {[]string{"50%\r100%\n"}, []string{"| 50%\\x0d100%\n"}},
		"escapes":              {[]string{"\x1b[31mred\x1b]0;t\a\n"}, []string{"| \\x1b[31mred\\x1b]0;t\\x07\n"}},
		"invalid UTF-8":        {[]string{"a\xff\xc3\n"}, []string{"| a\\xff\\xc3\n"}},
		"the replacement rune": {[]string{"\ufffd\n"}, []string{"| \\ufffd\n"}},
		"reading order":        {[]string{"a\u202eb\U000e0001\n"}, []string{"| a\\u202eb\\U000e0001\n"}},
		"tabs":                 {[]string{"a\tb\n"}, []string{"| a\tb\n"}},
		"letters of the world": {[]string{"grüß dich, 世界\n"}, []string{"| grüß dich, 世界\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fenced(t, test.writes...); strings.Join(got, "") != strings.Join(test.want, "") {
				t.Errorf("printed %q, want %q", got, test.want)
			}
		})
	}
	for name, writes := range map[string][]string{"at once": {long + "\n"}, "in pieces": strings.SplitAfter(long+"\n", "éé"), "without an end": {long}} {
		got := fenced(t, writes...)
		var text strings.Builder
		for _, line := range got {
			if len(line) > 5<<10 {
				t.Errorf("%s: a line of %d bytes", name, len(line))
			}
			text.WriteString(strings.TrimSuffix(strings.TrimPrefix(line, "| "), "\n"))
		}
		if text.String() != long {
			t.Errorf("%s: a long line is not whole, or cut in a letter", name)
		}
	}
}

// Most commands say nothing; a fence around nothing would hide what matters.
func TestFenceAroundNothing(t *testing.T) {
	var log bytes.Buffer
	f := newAction(t, &log).Fence("")
	f.Close()
	io.WriteString(f, "late\n")
	if strings.Contains(log.String(), "::") {
		t.Errorf("printed %q", log.String())
	}
}

// One line of 20 MB must not take minutes or keep 20 MB.
func TestALineWithoutEnd(t *testing.T) {
	f := newAction(t, nil).Fence("")
	chunk := strings.Repeat("x", 1<<20)
	for range 20 {
		io.WriteString(f, chunk)
	}
	f.Close()
}

func TestNobodyCanGuessTheEnd(t *testing.T) {
	var one, two bytes.Buffer
	io.WriteString(newAction(t, &one).Fence(""), "x\n")
	io.WriteString(newAction(t, &two).Fence(""), "x\n")
	if one.String() == two.String() {
		t.Errorf("the same token twice: %s", one.String())
	}
}

func TestPrefix(t *testing.T) {
	var log bytes.Buffer
	a := newAction(t, &log)
	for _, prefix := range []string{"node-1", "::add-path::/evil\n::add-path::/evil", "##[add-path]/evil"} {
		f := a.Fence(prefix)
		fmt.Fprintln(f, "text")
		f.Close()
	}
	if !strings.Contains(log.String(), "\nnode-1 | text\n") {
		t.Errorf("log:\n%s", log.String())
	}
	if got := runnertest.Honoured(log.String()); len(got) > 0 {
		t.Errorf("honoured: %v", got)
	}
}

func TestManyGoroutines(t *testing.T) {
	var log bytes.Buffer
	a := newAction(t, &log)
	var wait sync.WaitGroup
	shared := a.Fence("shared")
	for range 8 {
		wait.Go(func() {
			own := a.Fence("own")
			for range 100 {
				fmt.Fprintln(own, "::add-path::/evil")
				fmt.Fprintln(shared, "::add-path::/evil")
				a.Mask("hunter22")
				a.Logf("::add-path::/evil")
			}
			own.Close()
		})
	}
	wait.Wait()
	shared.Close()
	for line := range strings.Lines(log.String()) {
		text := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "own "), "shared "), "| ")
		if !strings.HasPrefix(line, "::") && text != "::add-path::/evil\n" {
			t.Fatalf("torn: %q", line)
		}
	}
	for _, c := range runnertest.Honoured(log.String()) {
		if c.Name != "add-mask" {
			t.Fatalf("honoured: %v", c)
		}
	}
}

func FuzzFence(f *testing.F) {
	for _, seed := range []string{"::add-path::/x\n", " ::set-env name=A::b", "##[add-path]/x\n", "::stop-commands::x\n::x::\n", "a\r::add-path::/x\r\n", "\xff::add-path::/x", "\u2028::add-path::/x\n"} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, text string, at int) {
		if text == "" {
			return // nothing is not fenced: TestFenceAroundNothing
		}
		at = max(0, min(at, len(text)))
		lines := fenced(t, text[:at], text[at:])
		// Twice: inside the fence, and as if the runner had not heard of it.
		for _, log := range []string{"::stop-commands::tok\n" + strings.Join(lines, "") + "::tok::\n", strings.Join(lines, "")} {
			if got := runnertest.Honoured(log); len(got) > 0 {
				t.Fatalf("honoured: %v", got)
			}
		}
		for _, line := range lines {
			if !strings.HasPrefix(line, "| ") || len(line) > 20<<10 {
				t.Fatalf("line %.100q of %d bytes", line, len(line))
			}
		}
	})
}
