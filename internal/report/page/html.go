package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the template and its style
	"encoding/base64"
	"html/template"
	"time"
	"unicode"

	"edge-actions/internal/report"
	"edge-actions/internal/verdict"
)

//go:embed page.html.tmpl
var markup string

//go:embed page.css
var style string

// HTML renders a report as one file. It has no script, loads nothing, and says
// so to the browser: a name that would get past the escaping could still do
// nothing.
func HTML(p *report.Page) ([]byte, error) {
	v := look(p)
	t, err := template.New("page").Funcs(v.functions()).Parse(markup)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(style))
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"V": v, "Style": template.CSS(style), // it is ours
		"Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'",
	})
	return bytes.Map(visible, out.Bytes()), err
}

// visible drops what can't be seen: above all what turns the direction of all
// that follows it, our own words too.
func visible(r rune) rune {
	if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
		return -1
	}
	return r
}

// marked is what the template "mark" shows.
type marked struct {
	Mark verdict.Verdict
	Word string
}

// grid is what the template "table" shows.
type grid struct {
	Caption string
	Rows    []row
	Hidden  int
	Head    []string
}

func (v *view) functions() template.FuncMap {
	fixed := func(n float64) func() string { return func() string { return coord(n) } }
	return template.FuncMap{
		"add":  func(a, b int) int { return a + b },
		"mark": func(m verdict.Verdict) marked { return marked{m, string(m)} },
		"word": func(m verdict.Verdict, word string) marked { return marked{m, word} },
		"table": func(caption string, rows []row, hidden int, head ...string) grid {
			return grid{caption, rows, hidden, head}
		},
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"stamp": stamp, "ago": v.ago,
		"width": fixed(plotWidth), "height": fixed(plotHeight), "left": fixed(plotLeft), "right": fixed(plotRight), "top": fixed(plotTop), "bottom": fixed(plotBottom),
		"below": fixed(plotBottom + 4), "cross": fixed(plotBottom - 8),
	}
}
