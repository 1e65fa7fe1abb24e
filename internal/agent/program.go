package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
)

// launcherVariable is where scripts/action tells its own place.
const launcherVariable = "EDGE_ACTIONS_LAUNCHER"

// building is what the launcher sees of an environment: what decides where its
// cache is, and how Go finds its modules.
var building = slices.Concat(command.Base, []string{"RUNNER_TOOL_CACHE", "XDG_CACHE_HOME", "GO*"})

// Program returns what Options.Program asks for: the running binary where the
// host is of this platform, and else what the launcher of the action of that
// name builds of the same source. environ is the environment of the action.
func Program(name string, environ []string) func(ctx context.Context, goos, goarch string) (string, error) {
	return func(ctx context.Context, goos, goarch string) (string, error) {
		if goos == runtime.GOOS && goarch == runtime.GOARCH {
			return os.Executable()
		}
		platform := goos + "/" + goarch
		launcher := ""
		for _, kv := range environ {
			if value, ok := strings.CutPrefix(kv, launcherVariable+"="); ok {
				launcher = value
			}
		}
		wanted := fmt.Sprintf("%s for %s", name, platform)
		if !filepath.IsAbs(launcher) {
			return "", verdict.CannotTell(NoProgram, wanted, fmt.Errorf("%s is %q", launcherVariable, launcher), "start the action with scripts/action, which builds for the host too")
		}
		// As long as the launcher gives itself, and then some.
		out, err := command.Output(ctx, command.Cmd{
			Path: launcher, Args: []string{"--for", platform, name}, Env: command.Environ(environ, building, nil),
			Timeout: 40 * time.Minute, Grace: 10 * time.Second,
		}, 8<<10)
		path := strings.TrimSuffix(string(out), "\n")
		if err == nil && (!filepath.IsAbs(path) || strings.Contains(path, "\n")) {
			err = errors.New("no path but " + fmt.Sprintf("%.300q", out))
		}
		if err != nil {
			return "", verdict.CannotTell(NoProgram, wanted, err, fmt.Sprintf("see why %q --for %s %s fails", launcher, platform, name))
		}
		return path, nil
	}
}
