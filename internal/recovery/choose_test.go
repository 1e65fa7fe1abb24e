package recovery

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/restic"
	"edge-actions/internal/verdict"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func snap(id, host string, age time.Duration, paths ...string) restic.Snapshot {
	return restic.Snapshot{ID: strings.Repeat(id, 64/len(id)), Hostname: host, Time: now.Add(-age), Paths: paths, Summary: &restic.Summary{TotalFilesProcessed: 100, TotalBytesProcessed: 1000}}
}

// Every false green that a choice can make, on one shared repository.
func TestChoose(t *testing.T) {
	const host = "forgejo-pi"
	day := 24 * time.Hour
	for name, tt := range map[string]struct {
		all    []restic.Snapshot
		change func(*Want)
		id     string // of the chosen one
		want   map[string]verdict.Verdict
		says   string
	}{
		"the newest": {all: []restic.Snapshot{snap("a", host, 2*day, "/srv", "/etc"), snap("b", host, time.Hour, "/etc", "/srv"), snap("c", host, 3*day, "/srv", "/etc")}, id: "b",
			want: map[string]verdict.Verdict{Chosen: verdict.Proven, Age: verdict.Proven}},
		"another host is newer":  {all: []restic.Snapshot{snap("a", host, time.Hour, "/srv", "/etc"), snap("b", "edge-1", time.Minute, "/srv", "/etc")}, id: "a", want: map[string]verdict.Verdict{Chosen: verdict.Proven, Age: verdict.Proven}},
		"only another host":      {all: []restic.Snapshot{snap("b", "edge-1", time.Minute, "/srv", "/etc")}, want: map[string]verdict.Verdict{Chosen: verdict.Disproven}, says: `"edge-1"`},
		"a host that begins so":  {all: []restic.Snapshot{snap("b", host+"2", time.Minute, "/srv", "/etc")}, want: map[string]verdict.Verdict{Chosen: verdict.Disproven}},
		"a path is missing":      {all: []restic.Snapshot{snap("b", host, time.Minute, "/srv")}, want: map[string]verdict.Verdict{Chosen: verdict.Disproven}, says: "dropped from the snapshot"},
		"a path more":            {all: []restic.Snapshot{snap("b", host, time.Minute, "/srv", "/etc", "/tmp")}, want: map[string]verdict.Verdict{Chosen: verdict.Disproven}},
		"a path written oddly":   {all: []restic.Snapshot{snap("b", host, time.Minute, "/srv/", "/etc")}, id: "b", want: map[string]verdict.Verdict{Chosen: verdict.Proven, Age: verdict.Proven}},
		"nothing at all":         {want: map[string]verdict.Verdict{Chosen: verdict.Unproven}, says: "no snapshot at all"},
		"one from the future":    {all: []restic.Snapshot{snap("a", host, time.Hour, "/srv", "/etc"), snap("b", host, -day, "/srv", "/etc")}, id: "a", want: map[string]verdict.Verdict{Chosen: verdict.Proven, Age: verdict.Proven, Future: verdict.Disproven}, says: "planted"},
		"only from the future":   {all: []restic.Snapshot{snap("b", host, -day, "/srv", "/etc")}, want: map[string]verdict.Verdict{Chosen: verdict.Disproven, Future: verdict.Disproven}},
		"a clock a little ahead": {all: []restic.Snapshot{snap("b", host, -time.Minute, "/srv", "/etc")}, id: "b", want: map[string]verdict.Verdict{Chosen: verdict.Proven, Age: verdict.Proven}},
		"too old":                {all: []restic.Snapshot{snap("a", host, 27*time.Hour, "/srv", "/etc")}, id: "a", want: map[string]verdict.Verdict{Chosen: verdict.Proven, Age: verdict.Disproven}, says: "27h0m0s"},
		"by its id":              {all: []restic.Snapshot{snap("a", host, 2*day, "/srv", "/etc"), snap("b", host, time.Hour, "/srv", "/etc")}, change: func(w *Want) { w.ID, w.MaxAge = strings.Repeat("a", 64), 0 }, id: "a", want: map[string]verdict.Verdict{Chosen: verdict.Proven}},
		"by an id of another":    {all: []restic.Snapshot{snap("b", "edge-1", time.Hour, "/srv", "/etc")}, change: func(w *Want) { w.ID = strings.Repeat("b", 64) }, want: map[string]verdict.Verdict{Chosen: verdict.Disproven}},
	} {
		t.Run(name, func(t *testing.T) {
			w := Want{Host: host, Paths: []string{"/etc", "/srv"}, MaxAge: 26 * time.Hour, MaxSkew: 5 * time.Minute, Now: now}
			if tt.change != nil {
				tt.change(&w)
			}
			s, checks := Choose(tt.all, w)
			if id := ""; s != nil {
				if id = s.ID[:1]; id != tt.id {
					t.Errorf("chose %q, want %q", id, tt.id)
				}
			} else if tt.id != "" {
				t.Errorf("chose none, want %q", tt.id)
			}
			got, text := map[string]verdict.Verdict{}, ""
			for _, c := range checks {
				got[c.ID] = c.Verdict
				text += c.Got + c.Hint
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) || !strings.Contains(text, tt.says) {
				t.Errorf("%v, want %v\n%s", got, tt.want, text)
			}
		})
	}
}

func TestSize(t *testing.T) {
	with := func(id string, age time.Duration, files, bytes uint64) restic.Snapshot {
		s := snap(id, "h", age, "/srv")
		s.Summary = &restic.Summary{TotalFilesProcessed: files, TotalBytesProcessed: bytes}
		return s
	}
	history := []restic.Snapshot{with("a", 4*time.Hour, 100, 1000), with("b", 3*time.Hour, 1, 1), with("c", 2*time.Hour, 120, 1200)}
	old := snap("d", "h", time.Minute, "/srv")
	old.Summary = nil
	for name, tt := range map[string]struct {
		newest restic.Snapshot
		want   Want
		v      verdict.Verdict
	}{
		"as ever":               {with("d", time.Minute, 101, 1001), Want{Shrink: 0.5}, verdict.Proven},
		"half of the files":     {with("d", time.Minute, 49, 1001), Want{Shrink: 0.5}, verdict.Disproven},
		"half of the bytes":     {with("d", time.Minute, 101, 499), Want{Shrink: 0.5}, verdict.Disproven},
		"too few files":         {with("d", time.Minute, 101, 1001), Want{MinFiles: 102}, verdict.Disproven},
		"too few bytes":         {with("d", time.Minute, 101, 1001), Want{MinBytes: 1002}, verdict.Disproven},
		"just enough":           {with("d", time.Minute, 101, 1001), Want{MinFiles: 101, MinBytes: 1001}, verdict.Proven},
		"nobody knows its size": {old, Want{MinFiles: 1}, verdict.Unproven},
	} {
		tt.want.Host, tt.want.Paths, tt.want.Now = "h", []string{"/srv"}, now
		_, checks := Choose(append(history, tt.newest), tt.want)
		if c := checks[len(checks)-1]; c.ID != Size || c.Verdict != tt.v {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
