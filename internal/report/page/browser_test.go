package page_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/report"
	"edge-actions/internal/testing/browsertest"
	"edge-actions/internal/verdict"
)

// audit looks at everything that has text: whether it is wider than the view,
// and how it stands out from what is behind it.
const audit = `(() => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const rgb = c => { const m = c.match(/[\d.]+/g).map(Number); return { r: m[0], g: m[1], b: m[2], a: m.length > 3 ? m[3] : 1 } };
  const part = v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 };
  const light = c => .2126 * part(c.r) + .7152 * part(c.g) + .0722 * part(c.b);
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.a === 1) return c } return { r: 255, g: 255, b: 255, a: 1 } };
  const out = { texts: 0, worst: 99, faint: [], wide: [], small: [] };
  const width = document.documentElement.clientWidth;
  for (const e of document.body.querySelectorAll('*')) {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (e.closest('.skip, .defs, thead, title, desc')) continue;
    if (box.width && box.right > width + .5) out.wide.push(e.tagName + '.' + (e.className.baseVal ?? e.className) + ' ' + Math.round(box.right));
    if (!own || !box.width || style.visibility === 'hidden') continue;
    const svg = e instanceof SVGElement;
    const front = rgb(svg ? style.fill : style.color), back = behind(e);
    const [hi, lo] = [light(front), light(back)].sort((a, b) => b - a);
    const ratio = (hi + .05) / (lo + .05);
    out.texts++;
    out.worst = Math.min(out.worst, ratio);
    if (ratio < 4.5) out.faint.push(e.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
    if (!svg && parseFloat(style.fontSize) < 12) out.small.push(e.textContent.trim().slice(0, 40));
  }
  out.scroll = document.documentElement.scrollWidth - width;
  return out;
})()`

type audited struct {
	Texts              int
	Worst              float64
	Scroll             float64
	Faint, Wide, Small []string
}

// The page in a real browser: from a file, in each size and colour, with
// nothing that it asks for or complains of.
func TestBrowser(t *testing.T) {
	b := browsertest.New(t)
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	ill, well := year(false), year(true)
	empty := &story{}
	pages := map[string]*report.Page{
		"ill": ill.page(config(), whole(ill)), "well": well.page(config(), whole(well)), "broken": well.page(config(), broken(60)),
		"empty":   empty.page(config(), report.Ledger{Checks: []verdict.Check{verdict.CannotTell("ledger-empty", "a ledger with entries", nil, "run an action").Check}}),
		"hostile": hostile().page(config(), whole(hostile())),
	}
	for name, p := range pages {
		path := filepath.Join(dir, name+".html")
		if err := os.WriteFile(path, []byte(render(t, p)), 0o600); err != nil {
			t.Fatal(err)
		}
		views := []browsertest.View{{Width: 360, Height: 740, Dark: true}, {Width: 1280, Height: 900}}
		if name == "ill" || name == "hostile" { // they have every part of the page
			views = append(views, browsertest.View{Width: 360, Height: 740}, browsertest.View{Width: 1280, Height: 900, Dark: true}, browsertest.View{Width: 768, Height: 900}, browsertest.View{Width: 794, Height: 1123, Print: true})
		}
		for _, v := range views {
			t.Run(fmt.Sprintf("%s %+v", name, v), func(t *testing.T) {
				open := b.Open(path, v)
				open.Screenshot(filepath.Join(dir, strings.NewReplacer(" ", "-", "{", "", "}", "", ":", "").Replace(fmt.Sprintf("%s-%d-dark%t-print%t.png", name, v.Width, v.Dark, v.Print))))
				var got audited
				open.Eval(audit, &got)
				if len(got.Faint) > 0 || len(got.Wide) > 0 || len(got.Small) > 0 || got.Scroll > 0 || got.Texts < 20 {
					t.Errorf("%+v", got)
				}
				t.Logf("%d texts, the faintest stands out %.2f to 1", got.Texts, got.Worst)
				if said := open.Said(); len(said) > 0 {
					t.Errorf("the console says %s", said)
				}
				if asked := open.Requests(); len(asked) != 1 || !strings.HasPrefix(asked[0], "file://") {
					t.Errorf("the page asks for %q", asked)
				}
				if !v.Print {
					landmarks(t, open.Tree(), v)
				}
			})
		}
	}
}

// landmarks holds what assistive software finds its way by.
func landmarks(t *testing.T, tree []browsertest.Node, v browsertest.View) {
	t.Helper()
	for _, role := range []string{"banner", "navigation", "main", "contentinfo"} {
		if n := count(tree, func(n browsertest.Node) bool { return n.Role == role }); n != 1 {
			t.Errorf("%d times %s", n, role)
		}
	}
	for _, n := range tree {
		if (n.Role == "region" || n.Role == "image" || n.Role == "table" || n.Role == "heading" || n.Role == "link") && strings.TrimSpace(n.Name) == "" {
			t.Errorf("a %s has no name", n.Role)
		}
	}
	if n := count(tree, func(n browsertest.Node) bool { return n.Role == "heading" && n.Name == "At a glance" }); n != 1 {
		t.Errorf("%d headings of the summary", n)
	}
	tables := count(tree, func(n browsertest.Node) bool { return n.Role == "table" })
	if heads := count(tree, func(n browsertest.Node) bool { return n.Role == "columnheader" }); tables > 0 && heads < tables*3 {
		t.Errorf("%d column headers for %d tables at %d", heads, tables, v.Width)
	}
	// On a phone a row is drawn as a card, and is a row all the same.
	rows, named := count(tree, func(n browsertest.Node) bool { return n.Role == "row" }), count(tree, func(n browsertest.Node) bool { return n.Role == "rowheader" })
	if tables > 0 && named == 0 || rows != named+tables {
		t.Errorf("%d rows and %d row headers in %d tables at %d", rows, named, tables, v.Width)
	}
}

func count(tree []browsertest.Node, is func(browsertest.Node) bool) int {
	return len(slices.DeleteFunc(slices.Clone(tree), func(n browsertest.Node) bool { return !is(n) }))
}

// hostile is a story in which every name tries something.
func hostile() *story {
	s := &story{}
	const evil = `"><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>' style=x:url(//evil.example) javascript:alert(3) &lt; | @everyone [x](https://evil.example) ` + "`\u202e\u0007"
	s.add(5*day, "node-validate", evil, nil, verdict.Check{ID: evil, Verdict: verdict.Disproven, Wanted: evil, Got: evil, Hint: evil}, verdict.Check{ID: "w", Verdict: verdict.Unproven, Got: evil, Waived: evil})
	s.add(4*day, "node-validate", strings.Repeat("n", 900), nil, verdict.Refuse("long", strings.Repeat("w", 500), strings.Repeat("g", 2000), "do").Check)
	s.contracts(3*day, verdict.Check{ID: "x", Subject: "lfs", Verdict: verdict.Disproven, Got: evil, Hint: evil})
	paths[evil] = []string{evil}
	for n := range 6 {
		s.restore(time.Duration(48-n)*time.Hour, evil, 10*float64(n+1), 1<<30, true)
	}
	s.add(40*time.Hour, "ingress-sweep", "", map[string]string{"public_ssh": "open", "doors": `[{"state":"</td><script>","where":"` + strings.ReplaceAll(strings.ReplaceAll(evil, `"`, `\"`), "\u0007", "") + `"}]`})
	for i := range s.entries {
		s.entries[i].Repository, s.entries[i].Workflow = evil, evil
	}
	return s
}
