package report

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"edge-actions/internal/evidence"
	"edge-actions/internal/verdict"
)

// drifted keeps what an entry says of stacks against the world.
func (b *Builder) drifted(e *evidence.Entry) {
	if e.Report.Action == "tofu-apply" {
		for _, p := range split(e) {
			if d := b.drift[Name{e.Repository, p.name.Subject}]; d != nil && p.verdict == verdict.Proven {
				d.Applied = true
			}
		}
		return
	}
	keep := func(stack string, resources int) {
		if stack != "" {
			b.drift[Name{e.Repository, stack}] = &Drift{Stack: stack, Repository: e.Repository, Resources: resources, Time: e.Time}
		}
	}
	var stacks []struct {
		Name    string
		Drifted *int `json:"drifted_resources"`
	}
	if json.Unmarshal([]byte(e.Outputs["stacks"]), &stacks) == nil && len(stacks) > 0 {
		for _, s := range stacks {
			if s.Drifted != nil {
				keep(s.Name, *s.Drifted)
			}
		}
		return
	}
	if n, err := strconv.Atoi(e.Outputs["drifted_resources"]); err == nil && e.Outputs["drifted"] != "" && !count.MatchString(e.Report.Subject) {
		keep(e.Report.Subject, n)
	}
}

func (b *Builder) drifts() []Drift {
	var out []Drift
	for _, d := range slices.Collect(maps.Values(b.drift)) {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(x, y Drift) int {
		return cmp.Or(-cmp.Compare(x.Resources, y.Resources), cmp.Compare(x.Stack, y.Stack), cmp.Compare(x.Repository, y.Repository))
	})
	return out
}
