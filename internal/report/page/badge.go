package page

import (
	"bytes"
	"html/template"

	"edge-actions/internal/report"
	"edge-actions/internal/verdict"
)

// badge is drawn for a README: two fields, a sign and words, so that the colour
// says nothing that they do not.
const badge = `<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="22" viewBox="0 0 {{.Width}} 22" role="img" aria-labelledby="t"><title id="t">{{.Label}}: {{.Words}}, as of {{.Made}} UTC</title><clipPath id="c"><rect width="{{.Width}}" height="22" rx="5"/></clipPath><g clip-path="url(#c)"><path fill="#2b3137" d="M0 0H{{.Middle}}V22H0z"/><path fill="{{.Fill}}" d="M{{.Middle}} 0H{{.Width}}V22H{{.Middle}}z"/></g><g fill="none" stroke="#fff" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" transform="translate({{.Sign}} 5)">{{.Shape}}</g><g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11"><text x="8" y="15" textLength="{{.LabelLength}}">{{.Label}}</text><text x="{{.At}}" y="15" textLength="{{.WordsLength}}">{{.Words}}</text></g></svg>
`

// Badge draws the verdict for a README. Its age is that of the last real
// restore: that is what a visitor wants to know of a backup.
func Badge(p *report.Page) ([]byte, error) {
	v := &view{Page: p}
	words := string(p.Verdict)
	if real := p.Counts().LastRestore; p.Verdict == verdict.Proven && !real.IsZero() {
		words += " " + v.ago(real)
	}
	const label = "recovery"
	labelLength, wordsLength := long(label), long(words)
	middle := labelLength + 16
	fill, shape := "#7a4a00", `<path d="M6 1L11 11H1zM6 5v2.6M6 9.4v.1"/>`
	switch p.Verdict {
	case verdict.Proven:
		fill, shape = "#0a5c34", `<path d="M1.5 6.5l3 3 6-7"/>`
	case verdict.Disproven:
		fill, shape = "#98131e", `<path d="M2 2l8 8m0-8l-8 8"/>`
	}
	t, err := template.New("badge").Parse(badge)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Width": middle + 28 + wordsLength, "Middle": middle, "Sign": middle + 7, "At": middle + 22, "LabelLength": labelLength, "WordsLength": wordsLength,
		"Label": label, "Words": words, "Made": stamp(p.Made), "Fill": fill, "Shape": template.HTML(shape), // it is one of the three above
	})
	return out.Bytes(), err
}

// long is how long words are in the badge's type; textLength makes it so in any
// other.
func long(words string) int {
	n := 0.0
	for _, r := range words {
		switch {
		case r == ' ' || r == 'i' || r == 'l' || r == 'j' || r == 't' || r == 'r' || r == 'f':
			n += 4.4
		case r == 'm' || r == 'w':
			n += 9.6
		default:
			n += 6.9
		}
	}
	return int(n + 0.5)
}
