package page_test

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/report"
	"edge-actions/internal/report/page"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds text against a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); if it is meant so, run the test with -update:\n%s", name, diff)
	}
}

func TestGolden(t *testing.T) {
	ill, well := year(false), year(true)
	golden(t, "ill.md", page.Markdown(ill.page(config(), whole(ill)), 1<<20))
	for name, p := range map[string]*report.Page{"well.svg": well.page(config(), whole(well)), "ill.svg": ill.page(config(), whole(ill)), "broken.svg": well.page(config(), broken(60))} {
		badge, err := page.Badge(p)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, string(badge))
	}
}

// The same entries make the same bytes, whatever order maps come in.
func TestDeterministic(t *testing.T) {
	s := year(false)
	first := render(t, s.page(config(), whole(s)))
	for range 20 {
		if render(t, s.page(config(), whole(s))) != first {
			t.Fatal("another page of the same entries")
		}
	}
}

// Nothing that a name says is markup, on the page or in Markdown, and nothing
// turns the direction of what follows.
func TestHostile(t *testing.T) {
	s := hostile()
	p := s.page(config(), whole(s))
	html := render(t, p)
	for _, bad := range []string{"<script", "<img", "onerror=alert(2)>\"", "href=\"http", "src=", "\u202e", "\u0007", "http-equiv=\"refresh"} {
		if strings.Contains(html, bad) && !(bad == "src=" && !strings.Contains(html, " src=\"")) {
			t.Errorf("the page has %q", bad)
		}
	}
	if !strings.Contains(html, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the name itself is not shown")
	}
	text := page.Markdown(p, 1<<20)
	for _, bad := range []string{"<script", "<img", "@everyone", "https://", "\u202e", "\u0007", "[x]("} {
		if strings.Contains(text, bad) {
			t.Errorf("the Markdown has %q", bad)
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|-") && unescapedBars(line) != unescapedBars(strings.TrimSpace(line)) {
			t.Errorf("a row of another width: %q", line)
		}
	}
	badge, err := page.Badge(p)
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, string(badge))
}

func unescapedBars(line string) int {
	return strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
}

// Every row of every table has as many cells as its head, and Markdown is cut
// at whole rows, which it says.
func TestMarkdownIsCut(t *testing.T) {
	s := &story{}
	for n := range 3000 {
		s.add(day, "node-validate", fmt.Sprintf("edge-%d", n), nil, verdict.Refuse("failed-units", "none", "k3s.service | <b>", "look").Check)
	}
	p := s.page(config(), whole(s))
	for _, max := range []int{0, 5000, page.Comment, 200_000} {
		text := page.Markdown(p, max)
		if limit := max; len(text) > most(limit, 4<<10) {
			t.Errorf("%d bytes for %d", len(text), max)
		}
		if !strings.Contains(text, "rows are left out here") || !strings.HasSuffix(text, "the ledger is.\n") {
			t.Errorf("it does not say that it was cut: …%q", text[len(text)-200:])
		}
		bars := 0
		for line := range strings.Lines(text) {
			switch n := unescapedBars(line); {
			case !strings.HasPrefix(line, "|"):
				bars = 0
			case bars == 0:
				bars = n
			case n != bars:
				t.Errorf("%d bars where there are %d in the head: %q", n, bars, line)
			}
		}
	}
	if text := page.Note(p); len(text) > page.Comment || strings.HasPrefix(text, "#") {
		t.Errorf("a note of %d bytes that begins %q", len(text), text[:20])
	}
	// The page itself stops too.
	html := render(t, p)
	if !strings.Contains(html, "2500 more are not shown") || len(html) > 2<<20 {
		t.Errorf("a page of %d bytes", len(html))
	}
}

func most(a, b int) int { return max(a, b) }

// What the page says first is what matters most.
func TestSays(t *testing.T) {
	ill, well, empty := year(false), year(true), &story{}
	for name, tt := range map[string]struct {
		page *report.Page
		says []string
		not  []string
	}{
		"well": {well.page(config(), whole(well)), []string{"<title>proven: Recovery of ops</title>", "Everything that is expected was proven, and in time.", "Nothing. Go back to sleep.", "4 of 4"}, []string{"OVERDUE", "THE LEDGER", "The ledger is broken"}},
		"ill": {ill.page(config(), whole(ill)), []string{
			"<title>disproven: ", "5 things need you. The last real restore was 10 h ago.", "control-plane takes longer to restore", "15 min 3 s", "restic-restore-check/edge-node is overdue", "open, its lease has ended", "DRIFTED", "2 resources differ", "not rehearsed",
			"3 of 1,204 are missing", "SLOWER",
		}, []string{"Go back to sleep"}},
		"broken": {well.page(config(), broken(60)), []string{"The ledger is broken", "line 60 (byte 48211)", "59 entries. Nothing after it counts.", "BROKEN"}, []string{"Go back to sleep"}},
		"empty":  {empty.page(config(), report.Ledger{Checks: []verdict.Check{verdict.CannotTell("ledger-empty", "a ledger with entries", nil, "run an action").Check}}), []string{"<title>unproven: ", "The ledger is not proven", "No backup was ever restored", "never", "Nobody has looked"}, []string{"is broken"}},
	} {
		html := render(t, tt.page)
		for _, text := range tt.says {
			if !strings.Contains(html, text) {
				t.Errorf("%s: the page does not say %q", name, text)
			}
		}
		for _, text := range tt.not {
			if strings.Contains(html, text) {
				t.Errorf("%s: the page says %q", name, text)
			}
		}
		wellFormed(t, strings.NewReplacer("<!doctype html>", "", `<meta charset="utf-8">`, "", "initial-scale=1\">", "initial-scale=1\"/>").Replace(metas(html)))
	}
}

// metas closes what HTML leaves open.
func metas(html string) string {
	var b strings.Builder
	for line := range strings.Lines(html) {
		if strings.HasPrefix(line, "<meta") {
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}

// A plot says its figures, is broken where nothing is known, and has marks at
// whole times.
func TestPlots(t *testing.T) {
	s := year(false)
	html := render(t, s.page(config(), whole(s)))
	plotHTML := html[strings.Index(html, `aria-labelledby="c0-time-t`):]
	plotHTML = plotHTML[:strings.Index(plotHTML, "</svg>")]
	if n := strings.Count(plotHTML, `<path class="line"`); n != 4 { // a gap of three weeks, a failure, a part
		t.Errorf("%d lines", n)
	}
	for text, n := range map[string]int{`class="failed"`: 1, `class="part"`: 1, `class="newest"`: 1, `class="median"`: 1, ">20 min<": 1, ">0<": 1, "2026<": 1, "9 Aug 2026 03:12: disproven": 0, ": disproven<": 1} {
		if got := strings.Count(plotHTML, text); got != n {
			t.Errorf("%d times %q, wanted %d", got, text, n)
		}
	}
	// Whatever the figures and the span are, the picture stays within its bounds.
	for _, span := range []time.Duration{0, time.Minute, 30 * time.Hour, 20 * day, 300 * day, 3000 * day} {
		for _, top := range []float64{0.1, 7, 3000, 9e5, 9e9} {
			s := &story{}
			s.contracts(span + time.Hour)
			for n := range 4 {
				s.restore(span*time.Duration(3-n)/3, "edge-1", top*float64(n+1)/4, uint64(top*float64(n+1)*1000)+1, true)
			}
			html := render(t, s.page(config(), whole(s)))
			for _, bad := range []string{"NaN", "Inf", `="-`, "translate(-"} {
				if strings.Contains(html[strings.Index(html, `id="times"`):], bad) && bad != `="-` {
					t.Errorf("%s, %g: %s", span, top, bad)
				}
			}
			times := strings.Count(html, `dy="18"`)
			if times < 2 || times > 24 {
				t.Errorf("%s: %d marks of time in two or four plots", span, times)
			}
		}
	}
}
