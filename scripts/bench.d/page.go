package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// page is the table as docs/PERFORMANCE.md has it, with the machine that it is of.
func (b *bench) page(began time.Time, load string) string {
	var out strings.Builder
	fmt.Fprintf(&out, `# Performance

Written by %s. What is compared runs in turn, on the same files, %d times each; the median of the ratios of the pairs is what counts, with the least and the greatest beside it. A ratio says more than its seconds: those are of one machine.

%s, %s. The load when it began was %s.

| what | ours | the other | ratio (min..max) | target | | measured by |
|---|---|---|---|---|---|---|
`, "`scripts/bench -write docs/PERFORMANCE.md`", b.pairs, began.UTC().Format("2 January 2006"), machine(), load)
	cell := strings.NewReplacer("|", `\|`, "\n", " ")
	for i, r := range b.rows {
		met := "met"
		if !r.met {
			met = "**NOT MET**"
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s | `scripts/bench -only %s` |\n", cell.Replace(r.what), cell.Replace(r.ours), cell.Replace(r.other), cell.Replace(r.ratio), cell.Replace(r.target), met, b.of[i])
	}
	if len(b.notes) > 0 {
		out.WriteString("\n")
	}
	for _, n := range b.notes {
		fmt.Fprintf(&out, "- %s\n", n)
	}
	return out.String()
}

// machine describes this one, as far as it says what it is.
func machine() string {
	model, memory := runtime.GOARCH, ""
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := field(string(data), "model name"); name != "" {
			model = name
		}
	} else if out, err := exec.Command("sysctl", "-n", "machdep.cpu.brand_string").Output(); err == nil {
		model = strings.TrimSpace(string(out))
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib float64
		if _, err := fmt.Sscan(field(string(data), "MemTotal"), &kib); err == nil {
			memory = fmt.Sprintf(", %.0f GiB", kib/(1<<20))
		}
	}
	system := runtime.GOOS
	if out, err := exec.Command("uname", "-sr").Output(); err == nil {
		system = strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%d cores of %s%s, %s, %s", runtime.NumCPU(), model, memory, system, runtime.Version())
}

// field is the value of the first line "NAME : VALUE".
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// loadNow is the load of the last minute, where the system tells it.
func loadNow() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "not told"
	}
	return strings.Fields(string(data))[0]
}
