package fleet

import (
	"context"
	"path"
	"strings"

	"edge-actions/internal/action"
	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"
)

// Roads are the ways to hosts on which this program itself is to run.
type Roads struct {
	Spec *Spec
	// Dir is a directory on the hosts in which the program runs.
	Dir string
	// Name is the action's: what the launcher builds for another platform.
	Name string

	status *tailnet.Status
}

// ReadRoads reads the inputs that say how the hosts are reached that from names.
func ReadRoads(in *action.Inputs, a *action.Action, from string, hosts []string) *Roads {
	r := &Roads{Spec: ReadHosts(in, a, from, hosts), Dir: in.Text("agent_dir")}
	if !path.IsAbs(r.Dir) || path.Clean(r.Dir) != r.Dir || strings.Count(r.Dir, "/") < 2 {
		in.Wrong("agent_dir", "an absolute path on the hosts, two levels deep at least", r.Dir, "correct the input agent_dir")
	}
	return r
}

// Open asks the tailnet, once for all hosts.
func (r *Roads) Open(ctx context.Context) []verdict.Check {
	status, checks := r.Spec.tailnetStatus(ctx)
	r.status = status
	return checks
}
