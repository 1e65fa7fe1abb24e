package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/evidence"
	"edge-actions/internal/versions"
)

// runner is what every action needs, whatever it does.
func (d *doctor) runner(ctx context.Context) []finding {
	out := []finding{d.golang(ctx), d.cache(), d.clock(ctx)}
	if dir := d.getenv("RUNNER_TEMP"); dir != "" {
		out = append(out, d.writable("RUNNER_TEMP "+dir, dir, roomForState))
	}
	return append(out, d.ledger()...)
}

var goVersion = regexp.MustCompile(`(?m)^go ([0-9.]+)$`)

// golang: the launcher builds an action on its first use, with the Go that is
// here and no other (GOTOOLCHAIN=local), unless it has a release.
func (d *doctor) golang(ctx context.Context) finding {
	const fix = "install a newer Go (macOS: brew install go; Linux: https://go.dev/doc/install), or use a release of this suite"
	if d.released {
		return finding{status: ok, what: "a release of this source", found: "one, and this program is of it: no Go is needed"}
	}
	mod, err := os.ReadFile(filepath.Join(d.root, "go.mod"))
	if err != nil {
		return failed(unknown, "Go", err, "check the suite out again")
	}
	m := goVersion.FindSubmatch(mod)
	if m == nil {
		return finding{status: unknown, what: "Go", found: "a go.mod that does not say which", fix: "check the suite out again"}
	}
	want, err := versions.ParseConstraint(">= " + string(m[1]))
	if err != nil {
		return failed(unknown, "Go", err, "check the suite out again")
	}
	what := "Go " + want.String() + ", to build the actions once"
	path, err := exec.LookPath("go")
	if err != nil {
		return failed(missing, what, err, fix)
	}
	// Without a home, in which it would begin to write.
	env := command.Environ(d.environ, []string{"PATH", "GOROOT"}, map[string]string{"GOTOOLCHAIN": "local", "GOENV": "off"})
	said, err := command.Output(ctx, command.Cmd{Path: path, Args: []string{"env", "GOVERSION"}, Env: env, Timeout: askTime, Grace: time.Second}, 4<<10)
	if err != nil {
		return failed(unknown, what, err, fix)
	}
	version := strings.TrimPrefix(strings.TrimSpace(string(said)), "go")
	if err := want.Check("go", version, fix); err != nil {
		return of(what, err)[0]
	}
	return finding{status: ok, what: what, found: version + " at " + path}
}

// cache: where the binaries are kept, by the launcher's rule.
func (d *doctor) cache() finding {
	for _, name := range []string{"RUNNER_TOOL_CACHE", "XDG_CACHE_HOME", "HOME"} {
		dir := d.getenv(name)
		if dir == "" {
			continue
		}
		if name == "HOME" {
			dir = filepath.Join(dir, ".cache")
		}
		return d.writable(fmt.Sprintf("the place for the actions' binaries, %s by %s", dir, name), dir, roomForBuild)
	}
	return finding{status: missing, what: "a place for the actions' binaries", found: "neither RUNNER_TOOL_CACHE nor HOME", fix: "set RUNNER_TOOL_CACHE, or HOME, to an absolute path in the runner's environment"}
}

// writable: a directory, or one above it in which it can be made.
func (d *doctor) writable(what, dir string, room uint64) finding {
	if !filepath.IsAbs(dir) {
		return finding{status: wrong, what: what, found: "a relative path", fix: "set it to an absolute path"}
	}
	at := filepath.Clean(dir)
	for {
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			return finding{status: wrong, what: what, found: fmt.Sprintf("%q, which is no directory", at), fix: "move it away, or set another place"}
		}
		if err == nil {
			break
		}
		if filepath.Dir(at) == at || !os.IsNotExist(err) {
			return failed(wrong, what, err, "make it passable for the runner's user")
		}
		at = filepath.Dir(at)
	}
	if syscall.Access(at, 2|1) != nil {
		return finding{status: wrong, what: what, found: fmt.Sprintf("%q, which this user can't write to", at), fix: "make it writable for the runner's user"}
	}
	return d.disk(what, at, room, true)
}

// ledger: evidence is kept if both variables say so, in the workflow or in the
// runner's environment. One alone makes every step red.
func (d *doctor) ledger() (out []finding) {
	seen := map[[2]string]bool{}
	for _, u := range d.uses {
		dir, key := u.variable(evidence.DirVar), u.variable(evidence.KeyVar)
		if seen[[2]string{dir, key}] || dir == "" && key == "" {
			continue
		}
		seen[[2]string{dir, key}] = true
		if dir == "" || key == "" {
			out = append(out, finding{status: wrong, what: "the ledger", found: "only one of " + evidence.DirVar + " and " + evidence.KeyVar, fix: "set both where the actions run, or neither", by: []string{u.by}})
			continue
		}
		if err := u.a.CheckLasting(u.home(dir)); err != nil {
			out = append(out, failed(wrong, "the ledger "+dir, fmt.Errorf("a place that %w", err), "put it elsewhere on the runner, for example under ~/.local/state"))
		} else {
			out = append(out, d.private("the ledger "+dir, u.home(dir), roomForState, false)...)
		}
		out = append(out, u.sshKey(evidence.KeyVar, key)...)
	}
	return out
}

// lookLedger: the one that a report is about.
func lookLedger(_ context.Context, u *use) []finding {
	dir := cmp.Or(u.a.Inputs().Text("ledger"), u.variable(evidence.DirVar))
	if dir == "" {
		return []finding{{status: missing, what: "the ledger to report about", found: "neither the input ledger nor " + evidence.DirVar, fix: "set " + evidence.DirVar + " and " + evidence.KeyVar + " where the actions run"}}
	}
	return u.d.private("the ledger to report about "+dir, u.home(dir), roomForState, false)
}

// lookSigners: without the input, the public half of the key that signs.
func lookSigners(_ context.Context, u *use) []finding {
	path := u.a.Inputs().Text("allowed_signers")
	if key := u.variable(evidence.KeyVar); path == "" && key != "" {
		path = key + ".pub"
	}
	if path == "" {
		return []finding{{status: missing, what: "who may sign the ledger", found: "neither the input allowed_signers nor " + evidence.KeyVar, fix: "set " + evidence.KeyVar + ", or give allowed_signers"}}
	}
	return u.readable("allowed_signers", path, "give the public half of "+evidence.KeyVar+" (ssh-keygen -y -f KEY >KEY.pub)")
}
