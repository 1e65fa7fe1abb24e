package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

// double is a host that says what a test wants it to, in the order of agent.sh:
// first its platform, then the rest once the program is there. It runs nothing.
// It ends with code.
func double(first, rest string, code int) Host {
	ended := func() error {
		if code != 0 {
			return &command.ExitError{Name: "the agent", Code: code, Stderr: "\x1b[2J"}
		}
		return nil
	}
	return Host{Name: "edge-1", Exec: func(_ context.Context, s Script) error {
		io.WriteString(s.Stdout, first)
		if !strings.Contains(first, " platform ") {
			return ended()
		}
		r := bufio.NewReader(s.Stdin)
		if line, err := r.ReadString('\n'); err == nil {
			var size int64
			fmt.Sscan(line, &size)
			io.CopyN(io.Discard, r, size)
			io.WriteString(s.Stdout, rest)
		}
		return ended()
	}}
}

const (
	here0  = "edge-agent platform Linux x86_64\n"
	hello0 = `{"schema":"` + schema + "\"}\n"
	fine   = `{"answer":{"Text":"x"}}` + "\n"
)

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	error0 := func(fields string) string { return hello0 + `{"checks":[{` + fields + "}]}\n" }
	for name, test := range map[string]struct {
		first, rest string
		code        int
		want        string // part of the error; "" for an answer
	}{
		"one":                      {here0, hello0 + fine, 0, ""},
		"one after a log":          {here0, hello0 + `{"log":"x"}` + "\n" + fine, 0, ""},
		"nothing":                  {"", "", 0, "none"},
		"nothing, and an end":      {"", "", 3, "exit code 3"},
		"nothing after a start":    {here0, hello0, 0, "none"},
		"killed after a start":     {here0, hello0, 137, "exit code 137"},
		"no start":                 {here0, fine, 0, "no place"},
		"another version":          {here0, `{"schema":"edge-actions/agent/v0"}` + "\n" + fine, 0, "v0"},
		"two starts":               {here0, hello0 + hello0 + fine, 0, "no place"},
		"two answers":              {here0, hello0 + fine + fine, 0, "no place"},
		"an answer and an error":   {here0, hello0 + fine + `{"checks":[{"id":"x","verdict":"unproven"}]}` + "\n", 1, "no place"},
		"an error and an answer":   {here0, error0(`"id":"x","verdict":"unproven"`) + fine, 0, "no place"},
		"a log after the answer":   {here0, hello0 + fine + `{"log":"x"}` + "\n", 0, "no place"},
		"an answer, a bad end":     {here0, hello0 + fine, 137, "and then"},
		"no answer":                {here0, hello0 + `{"answer":null}` + "\n", 0, "no place"},
		"both in one":              {here0, hello0 + `{"answer":{},"log":"x"}` + "\n", 0, `\"answer\":{},\"log\"`},
		"neither":                  {here0, hello0 + "{}\n", 0, "{}"},
		"a list":                   {here0, hello0 + "[]\n", 0, "[]"},
		"an unknown word":          {here0, hello0 + `{"answer":{},"x":1}` + "\n", 0, "x"},
		"two in a line":            {here0, hello0 + strings.TrimSuffix(fine, "\n") + fine, 0, "}{"},
		"half a line":              {here0, hello0 + `{"answer":{}}`, 0, "half a line"},
		"half a line after one":    {here0, hello0 + fine + "x", 0, "half a line"},
		"junk":                     {"\x1b[2Jwelcome\n" + here0, hello0 + fine, 0, `\x1b[2Jwelcome`},
		"two platforms":            {here0 + here0, hello0 + fine, 0, "platform"},
		"a platform too late":      {here0, hello0 + here0 + fine, 0, "platform"},
		"a refusal too late":       {here0, hello0 + "edge-agent refused space x\n", 1, "refused"},
		"an unknown refusal":       {"edge-agent refused x y\n", "", 1, "unknown kind"},
		"a line without end":       {here0, hello0 + strings.Repeat("x", maxLine+1), 0, "more than"},
		"lines without end":        {here0, hello0 + strings.Repeat(`{"log":"`+strings.Repeat("x", 1<<20)+`"}`+"\n", maxBytes>>20), 0, "more than"},
		"more logs than there are": {here0, hello0 + strings.Repeat(`{"log":""}`+"\n", maxLogs+1) + fine, 0, "no place"},
		"an error that holds":      {here0, error0(`"id":"x","verdict":"proven"`), 1, "an error that is none"},
		"an error without verdict": {here0, error0(`"id":"x"`), 1, "an error that is none"},
		"a waived error":           {here0, error0(`"id":"x","verdict":"disproven","waived":"y"`), 1, "an error that is none"},
		"an error without a name":  {here0, error0(`"verdict":"unproven"`), 1, "an error that is none"},
		"an error with no name":    {here0, error0(`"id":"a b","verdict":"unproven"`), 1, "an error that is none"},
		"no errors":                {here0, hello0 + `{"checks":[]}` + "\n", 1, "an error that is none"},
		"too many errors":          {here0, hello0 + `{"checks":[` + strings.Repeat(`{"id":"x","verdict":"unproven"},`, maxChecks) + `{"id":"x","verdict":"unproven"}]}` + "\n", 1, "an error that is none"},
	} {
		o := options("/x")
		o.Grace = time.Second
		r, err := Call[result](t.Context(), double(test.first, test.rest, test.code), o, order{}, nil)
		if test.want == "" {
			if err != nil || r.Text != "x" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: it is an answer", name)
			continue
		}
		t.Log(name)
		refused(t, err, BadAnswer, test.want)
		if len(err.Error()) > 2000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

// What an error says from there is text.
func TestErrorsAreText(t *testing.T) {
	_, err := Call[result](t.Context(), double(here0, hello0+`{"checks":[{"id":"x","verdict":"disproven","wanted":"a\u001b[2J","got":"b\n::add-path::/x","hint":"\u202ec","subject":"d\u0000"}]}`+"\n", 1), options("/x"), order{}, nil)
	want := []verdict.Check{{ID: "x", Verdict: verdict.Disproven, Wanted: "a\uFFFD[2J", Got: "b\uFFFD::add-path::/x", Hint: "\uFFFDc", Subject: "d\uFFFD"}}
	if diff := cmp.Diff(want, verdict.ChecksOf(err)); diff != "" {
		t.Error(diff)
	}
}

// So is what it logs, and of a bounded length.
func TestHostileLogs(t *testing.T) {
	var lines []string
	_, err := Call[result](t.Context(), double(here0, hello0+`{"log":"\u001b[2J\n::add-path::/x\u202e`+strings.Repeat("é", maxLog)+`"}`+"\n"+fine, 0), options("/x"), order{}, func(line string) { lines = append(lines, line) })
	if err != nil || len(lines) != 1 || !strings.HasPrefix(lines[0], "\uFFFD[2J\uFFFD::add-path::/x\uFFFDéé") || len(lines[0]) > maxLog+4 || !utf8.ValidString(lines[0]) {
		t.Errorf("%v, %.200q", err, lines)
	}
}

// A host that ends while the program is on its way leaves nobody hanging there.
func TestNothingGoesToAHostThatHasEnded(t *testing.T) {
	var in io.Reader
	h := Host{Name: "edge-1", Exec: func(_ context.Context, s Script) error {
		in = s.Stdin
		io.WriteString(s.Stdout, here0)
		_, err := io.ReadFull(in, make([]byte, header+1)) // it goes on sending
		io.WriteString(s.Stdout, "edge-agent refused space full\n")
		return err
	}}
	_, err := Call[result](t.Context(), h, options("/x"), order{}, nil)
	refused(t, err, NoSpace, "full")
	if n, err := in.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestPlatforms(t *testing.T) {
	for uname, want := range map[string]string{
		"Linux x86_64": "linux/amd64", "Linux amd64": "linux/amd64", "Linux aarch64": "linux/arm64", "Linux arm64": "linux/arm64",
		"Darwin arm64": "", "Linux armv7l": "", "Linux": "", "FreeBSD amd64": "", "": "", "Linux x86_64 more": "", "\x1b": "",
	} {
		got := ""
		o := options("/x")
		o.Program = func(ctx context.Context, goos, goarch string) (string, error) {
			got = goos + "/" + goarch
			return itself(ctx, goos, goarch)
		}
		_, err := Call[result](t.Context(), double("edge-agent platform "+uname+"\n", hello0+fine, 0), o, order{}, nil)
		if got != want {
			t.Errorf("%q: %q, want %q", uname, got, want)
		}
		if want == "" {
			refused(t, err, PlatformUnknown, "x86_64")
		} else if err != nil {
			t.Errorf("%q: %v", uname, err)
		}
	}
}
