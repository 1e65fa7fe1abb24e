package stacks

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/stacks/dag"
	"edge-actions/internal/verdict"
)

// Witness asks Terramate itself for the stacks and their order, and refuses
// anything in which it contradicts what was read here. tool is its name or
// path; if that is empty and there is none on PATH, it says nothing.
func (p *Project) Witness(ctx context.Context, tool string, g *dag.Graph, environ []string, timeout time.Duration) (asked bool, err error) {
	path, err := exec.LookPath(tool)
	if tool == "" {
		if path, err = exec.LookPath("terramate"); err != nil {
			return false, nil
		}
	}
	const hint = "run terramate list --run-order by hand, and report what differs"
	if err != nil {
		return true, verdict.CannotTell("terramate", fmt.Sprintf("%q on PATH", tool), err, "install Terramate, or leave terramate_path empty: then the order is read from the files alone")
	}
	env := command.Environ(environ, command.Base, map[string]string{"CHECKPOINT_DISABLE": "1"})
	out, err := command.Output(ctx, command.Cmd{Path: path, Args: []string{"list", "--run-order"}, Dir: p.Root, Env: env, Timeout: timeout, Grace: 5 * time.Second}, 16<<20)
	if err != nil {
		return true, verdict.CannotTell("terramate", "terramate to list the stacks in their order", err, "the lines above say why")
	}
	place, known := map[string]int{}, []string{}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSuffix(strings.TrimSpace(line), "/"); line != "" {
			place[line] = len(known)
			known = append(known, line)
		}
	}
	var here []string
	for _, m := range p.stacks() {
		if m.Declared {
			here = append(here, m.Path)
		}
	}
	for _, path := range here {
		if _, ok := place[path]; !ok {
			return true, verdict.Refuse("terramate", "the stacks that were read from the files", fmt.Sprintf("terramate does not know %q", path), hint)
		}
	}
	for _, path := range known {
		if !slices.Contains(here, path) {
			return true, verdict.Refuse("terramate", "the stacks that were read from the files", fmt.Sprintf("terramate also has %q", path), hint)
		}
	}
	for _, path := range here {
		for _, before := range g.Before(path) {
			if at, ok := place[before]; ok && at > place[path] {
				return true, verdict.Refuse("terramate", fmt.Sprintf("%q before %q, as the files say", before, path), "terramate has them the other way round", hint)
			}
		}
	}
	return true, nil
}
