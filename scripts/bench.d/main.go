// Command bench.d measures what is promised of speed and memory, each against
// the tools that would be used without this project, and prints one table.
// Nothing in it is held to the clock of one machine: where two programs are
// compared, they run in turn and the ratio of each pair counts.
//
// Run it with ./scripts/bench, which sees to the tools.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "backup" {
		os.Exit(backupChild(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "rehearse" {
		os.Exit(rehearseChild(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "restore" {
		os.Exit(restoreChild(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(realMain(ctx))
}

func realMain(ctx context.Context) int {
	pairs := flag.Int("pairs", 9, "runs of each side, in turn")
	only := flag.String("only", "", "one part alone: backup, step, handoff, plan, verify, sizes, stacks, evidence, recovery or runtime")
	write := flag.String("write", "", "a file for all of it as a page, docs/PERFORMANCE.md")
	flag.Parse()
	if *write != "" && *only != "" {
		fmt.Fprintln(os.Stderr, "error: the page has all parts: -write goes without -only")
		return 2
	}
	began, load := time.Now(), loadNow()
	dir, err := os.MkdirTemp("", "edge-actions-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 2
	}
	defer os.RemoveAll(dir)
	b := &bench{ctx: ctx, dir: dir, pairs: max(*pairs, 3)}
	// The backup comes first: the peak memory that the kernel reports of a child
	// begins with that of the process that started it, so this one must be small.
	for _, part := range []struct {
		name string
		run  func() error
	}{{"backup", b.backups}, {"step", b.step}, {"handoff", b.handoff}, {"plan", b.plan}, {"verify", b.verify}, {"sizes", b.sizes}, {"stacks", b.stacks}, {"evidence", b.evidence}, {"recovery", b.recovery}, {"runtime", b.runtime}} {
		if *only != "" && *only != part.name {
			continue
		}
		b.part = part.name
		if err := part.run(); err != nil {
			fmt.Fprintf(os.Stderr, "error: measuring %s: %v\n", part.name, err)
			return 2
		}
	}
	fmt.Print(b.table())
	if *write != "" {
		if err := os.WriteFile(*write, []byte(b.page(began, load)), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			return 2
		}
	}
	for _, r := range b.rows {
		if !r.met {
			return 1
		}
	}
	return 0
}

type bench struct {
	ctx   context.Context
	dir   string // for everything that is written
	pairs int
	part  string   // that is being measured
	of    []string // the part of each row
	rows  []row
	notes []string
}

// row is one line of the table.
type row struct {
	what, ours, other, ratio, target string
	met                              bool
}

func (b *bench) add(r row) {
	b.rows, b.of = append(b.rows, r), append(b.of, b.part)
	progress("%s: %s against %s, %s", r.what, r.ours, r.other, r.ratio)
}

func (b *bench) notef(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

// subdir makes a fresh directory.
func (b *bench) subdir(name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}

// table lays the rows out in columns.
func (b *bench) table() string {
	cells := [][]string{{"what", "ours", "the other", "ratio (min..max)", "target", ""}}
	for _, r := range b.rows {
		met := "met"
		if !r.met {
			met = "NOT MET"
		}
		cells = append(cells, []string{r.what, r.ours, r.other, r.ratio, r.target, met})
	}
	wide := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			wide[i] = max(wide[i], len([]rune(c)))
		}
	}
	var out strings.Builder
	for _, line := range cells {
		var text strings.Builder
		for i, c := range line {
			fmt.Fprintf(&text, "%-*s  ", wide[i], c)
		}
		out.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	for _, n := range b.notes {
		fmt.Fprintf(&out, "note: %s\n", n)
	}
	return out.String()
}

// spread is a set of measurements.
type spread []float64

func (s spread) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

func (s spread) String() string {
	return fmt.Sprintf("%.2f (%.2f..%.2f)", s.median(), slices.Min(s), slices.Max(s))
}

// seconds renders the median for the table.
func (s spread) seconds() string {
	if m := s.median(); m >= 1 {
		return fmt.Sprintf("%.2f s", m)
	}
	return fmt.Sprintf("%.0f ms", s.median()*1000)
}

// ends renders the shortest and the longest.
func (s spread) ends() string {
	return fmt.Sprintf(" (%.0f..%.0f)", slices.Min(s)*1000, slices.Max(s)*1000)
}

// over returns the ratio of each pair.
func (s spread) over(ours spread) spread {
	out := make(spread, len(s))
	for i := range s {
		out[i] = s[i] / ours[i]
	}
	return out
}

// atLeast compares as the table shows it: to two digits.
func atLeast(ratio, target float64) bool { return math.Round(ratio*100) >= target*100 }

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
