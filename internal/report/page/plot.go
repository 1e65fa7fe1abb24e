package page

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/report"
	"edge-actions/internal/verdict"
)

// The size of a plot in its own units, and where the axes are. It is drawn for
// the width of a phone and grows with the page.
const (
	plotWidth, plotHeight = 320.0, 172.0
	plotLeft, plotRight   = 52.0, 314.0
	plotTop, plotBottom   = 14.0, 138.0
)

// maxShown is how many runs a plot shows: the last ones.
const maxShown = 60

// Plot is a figure over time as it is drawn.
type Plot struct {
	ID, Title, Desc string
	Times           []Tick // the axis of time
	Values          []Tick // the axis of the figure
	Line            []string
	Dots            []Dot
	Failed          []Mark
	// Median is the height of the line of the earlier ones; "" without one.
	Median string
	Says   string // the figures that matter, in words
	Hidden int    // older runs that are not shown
}

// Tick is a mark on an axis.
type Tick struct {
	At, Text string
	Anchor   string // start, middle or end
}

// Dot is a restore.
type Dot struct {
	X, Y string
	// Kind is whole, or part for one of which only a part came back, and Newest
	// the last of all.
	Kind   string
	Newest bool
	Text   string
}

// Mark is a run in which nothing came back that was proven.
type Mark struct{ X, Text string }

// figure is what is plotted of a try.
type figure struct {
	of    func(t report.Try) float64
	words func(v float64) string
	steps []float64 // of the axis; what comes after the last is times ten
}

func duration() figure {
	return figure{
		of:    func(t report.Try) float64 { return t.Seconds },
		words: func(v float64) string { return report.Span(report.Seconds(v)) },
		steps: []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400},
	}
}

func size() figure {
	f := figure{of: func(t report.Try) float64 { return float64(t.Bytes) }, words: report.Size}
	for unit := 1.0; unit < 1<<60; unit *= 1024 {
		for _, n := range []float64{1, 2, 5, 10, 20, 50, 100, 200, 500} {
			f.steps = append(f.steps, n*unit)
		}
	}
	return f
}

// plot draws the tries of one backup. It is nil without a figure in any of them.
func plot(id, title string, tries []report.Try, f figure, median float64) *Plot {
	p := &Plot{ID: id, Title: title}
	if p.Hidden = max(0, len(tries)-maxShown); p.Hidden > 0 {
		tries = tries[p.Hidden:]
	}
	top, good := median, 0
	for _, t := range tries {
		if t.Verdict == verdict.Proven && f.of(t) > 0 {
			top, good = max(top, f.of(t)), good+1
		}
	}
	if good == 0 {
		return nil
	}
	first, last := tries[0].Time, tries[len(tries)-1].Time
	if last.Sub(first) < 2*time.Hour { // one run has no extent
		first, last = first.Add(-12*time.Hour), last.Add(12*time.Hour)
	}
	x := func(t time.Time) float64 {
		return plotLeft + 8 + (plotRight-plotLeft-16)*float64(t.Sub(first))/float64(last.Sub(first))
	}
	step := stepFor(top/3, f.steps)
	top = step * math.Ceil(top*1.02/step)
	y := func(v float64) float64 { return plotBottom - (plotBottom-plotTop)*v/top }
	for v := 0.0; v <= top*1.001; v += step {
		text := f.words(v)
		if v == 0 {
			text = "0"
		}
		p.Values = append(p.Values, Tick{At: coord(y(v)), Text: text})
	}
	p.Times = timeTicks(first, last, x)
	p.draw(tries, f, x, y)
	if median > 0 {
		p.Median = coord(y(median))
	}
	p.Says = says(tries, f, median)
	p.Desc = describe(title, tries, f, median)
	return p
}

// draw places the runs. The line is broken where a run failed, where only a
// part came back, and where much more time has passed than usual.
func (p *Plot) draw(tries []report.Try, f figure, x func(time.Time) float64, y func(float64) float64) {
	usual := usualGap(tries)
	var line strings.Builder
	var before time.Time
	flush := func() {
		if strings.Contains(line.String(), "L") {
			p.Line = append(p.Line, line.String())
		}
		line.Reset()
	}
	for _, t := range tries {
		at, v := x(t.Time), f.of(t)
		day := t.Time.UTC().Format("2 Jan 2006 15:04")
		if t.Verdict != verdict.Proven || v <= 0 {
			flush()
			p.Failed = append(p.Failed, Mark{coord(at), day + ": " + string(t.Verdict)})
			continue
		}
		d := Dot{X: coord(at), Y: coord(y(v)), Kind: "whole", Text: day + ": " + f.words(v)}
		if !t.Whole {
			flush()
			d.Kind, d.Text = "part", d.Text+", a part of it"
		} else {
			if usual > 0 && t.Time.Sub(before) > usual*5/2 {
				flush()
			}
			verb := "L"
			if line.Len() == 0 {
				verb = "M"
			}
			line.WriteString(verb + coord(at) + " " + d.Y)
			before = t.Time
		}
		p.Dots = append(p.Dots, d)
	}
	flush()
	if n := len(p.Dots); n > 0 {
		p.Dots[n-1].Newest = true
	}
}

// usualGap is the median of the times between two runs.
func usualGap(tries []report.Try) time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(tries); i++ {
		gaps = append(gaps, tries[i].Time.Sub(tries[i-1].Time))
	}
	if len(gaps) < 2 {
		return 0
	}
	return sortedDurations(gaps)[len(gaps)/2]
}

// says is the newest whole restore against the ones before.
func says(tries []report.Try, f figure, median float64) string {
	for _, t := range slices.Backward(tries) {
		if !t.Real() || f.of(t) <= 0 {
			continue
		}
		text := f.words(f.of(t))
		if median > 0 {
			text += ", median before " + f.words(median)
		}
		return text
	}
	return "never as a whole"
}

// describe says in words what the plot shows.
func describe(title string, tries []report.Try, f figure, median float64) string {
	shown, failed, parts := 0, 0, 0
	newest := ""
	for _, t := range tries {
		switch {
		case t.Verdict != verdict.Proven || f.of(t) <= 0:
			failed++
		case !t.Whole:
			parts++
		default:
			shown++
			newest = f.words(f.of(t))
		}
	}
	text := fmt.Sprintf("%s: %d whole restores", title, shown)
	if newest != "" {
		text += ", the newest " + newest
	}
	if median > 0 {
		text += ", the median of those before " + f.words(median)
	}
	if parts > 0 {
		text += fmt.Sprintf("; %d of a part", parts)
	}
	if failed > 0 {
		text += fmt.Sprintf("; %d that did not end well", failed)
	}
	return text + ". The figures are in the table below."
}

func coord(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.1f", v), "0"), ".")
}
