package page

import "time"

// stepFor is the smallest step that is not below least.
func stepFor(least float64, steps []float64) float64 {
	for _, s := range steps {
		if s >= least {
			return s
		}
	}
	s := steps[len(steps)-1]
	for s < least {
		s *= 10
	}
	return s
}

// timeTicks marks whole hours, days, months or years, at most five.
func timeTicks(first, last time.Time, x func(time.Time) float64) []Tick {
	first, last = first.UTC(), last.UTC()
	all := axis(first, last)
	out := make([]Tick, 0, len(all.at))
	for i, t := range all.at {
		tick := Tick{At: coord(x(t)), Text: t.Format(all.format), Anchor: "middle"}
		if all.years && (i == 0 || t.Year() != all.at[i-1].Year()) {
			tick.Text = t.Format(all.format + " 2006")
		}
		if x(t) > plotRight-24 {
			tick.Anchor = "end"
		}
		out = append(out, tick)
	}
	return out
}

type marks struct {
	at     []time.Time
	format string
	years  bool // the year is said where it changes
}

func axis(first, last time.Time) marks {
	day := time.Date(first.Year(), first.Month(), first.Day(), 0, 0, 0, 0, time.UTC)
	month := time.Date(first.Year(), first.Month(), 1, 0, 0, 0, 0, time.UTC)
	year := time.Date(first.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	type step struct {
		from   time.Time
		add    func(time.Time) time.Time
		format string
		years  bool
	}
	var steps []step
	for _, h := range []int{6, 12} {
		steps = append(steps, step{day, func(t time.Time) time.Time { return t.Add(time.Duration(h) * time.Hour) }, "2 Jan 15h", false})
	}
	for _, n := range []int{1, 2, 7, 14} {
		steps = append(steps, step{day, func(t time.Time) time.Time { return t.AddDate(0, 0, n) }, "2 Jan", false})
	}
	for _, n := range []int{1, 2, 3, 6} {
		steps = append(steps, step{month, func(t time.Time) time.Time { return t.AddDate(0, n, 0) }, "Jan", true})
	}
	for _, n := range []int{1, 2, 5, 10, 20, 50, 100} {
		steps = append(steps, step{year, func(t time.Time) time.Time { return t.AddDate(n, 0, 0) }, "2006", false})
	}
	var out marks
	for _, s := range steps {
		out = marks{format: s.format, years: s.years}
		for t := s.from; !t.After(last) && len(out.at) <= 5; t = s.add(t) {
			if !t.Before(first) {
				out.at = append(out.at, t)
			}
		}
		if len(out.at) <= 5 {
			return out
		}
	}
	out.at = out.at[:5]
	return out
}
