package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"edge-actions/internal/files"
)

// How much room there should be. An archive of a large state is some MiB and
// ninety days of them are kept; what is restored has its own check, against the
// snapshot's size; the first build of an action fills Go's cache with a GiB.
const (
	roomForState   = 256 << 20
	roomForRestore = 1 << 30
	roomForBuild   = 2 << 30
)

// place is what a directory lies on.
type place struct {
	kind   string // the file system, for people
	remote bool   // on another machine: its locks and renames are not this one's
	memory bool   // gone after a reboot
	hidden bool   // what is behind it can't be told
	free   uint64
}

func lookDir(input string, scratch bool) func(context.Context, *use) []finding {
	return func(_ context.Context, u *use) []finding {
		in := u.a.Inputs()
		given := in.Text(input)
		path := in.RunnerPath(input)
		if err := in.Err(); err != nil {
			return of("", err)
		}
		if path == "" {
			return nil
		}
		what, room := input+" "+given, uint64(roomForState)
		if scratch {
			room = roomForRestore
		}
		return u.d.private(what, path, room, scratch && in.Bool("allow_tmpfs"))
	}
}

// lookBackend: where the state itself is, if it is a file of this runner.
func lookBackend(_ context.Context, u *use) (out []finding) {
	for _, line := range u.a.Inputs().Lines("backend_config") {
		if strings.HasPrefix(line, "/") {
			out = append(out, u.secrets("backend_config", line)...)
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(name) != "path" {
			continue
		}
		path := strings.Trim(strings.TrimSpace(value), `"`)
		if !filepath.IsAbs(path) {
			out = append(out, finding{status: wrong, what: "the state " + path, found: "a relative path, in a checkout that is deleted", fix: "give an absolute one in backend_config, for example under ~/.local/state/tofu"})
			continue
		}
		dir := filepath.Dir(path)
		if err := u.a.CheckLasting(dir); err != nil {
			out = append(out, failed(wrong, "the state "+path, fmt.Errorf("a place that %w", err), "move it elsewhere on the runner, for example under ~/.local/state/tofu"))
			continue
		}
		out = append(out, u.d.private("the directory of the state "+path, dir, roomForState, false)...)
		if _, err := os.Lstat(path); err == nil {
			out = append(out, u.secrets("the state", path)...)
		}
	}
	return out
}

// private: a directory that is there, the runner's alone, on a disk of this
// machine, with room.
func (d *doctor) private(what, path string, room uint64, memory bool) []finding {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return []finding{failed(missing, what, files.WithoutPath(err), "make it: mkdir -p -m 700 "+path)}
	case err != nil:
		return []finding{failed(unknown, what, files.WithoutPath(err), "make the directories above it passable for the runner's user")}
	case !info.IsDir():
		return []finding{{status: wrong, what: what, found: "something that is no directory", fix: "move it away, then mkdir -m 700 " + path}}
	case info.Mode().Perm()&0o077 != 0:
		return []finding{{status: wrong, what: what, found: fmt.Sprintf("mode %04o, with which others on this machine can look into it", info.Mode().Perm()), fix: "chmod 700 " + path}}
	case syscall.Access(path, 2|1) != nil: // W_OK, X_OK
		return []finding{{status: wrong, what: what, found: "one that this user can't write to", fix: "give it to the runner's user: chown " + fmt.Sprint(os.Geteuid()) + " " + path}}
	}
	return []finding{d.disk(what, path, room, memory)}
}

// disk: where a directory lies.
func (d *doctor) disk(what, path string, room uint64, memory bool) finding {
	p, err := placeOf(path)
	switch {
	case err != nil:
		return failed(unknown, what, err, "see df "+path)
	case p.remote:
		return finding{status: wrong, what: what, found: "it on " + p.kind + ", which is another machine's disk", fix: "put it on a disk of this machine: locks and renames must be this machine's own"}
	case p.hidden:
		return finding{status: unknown, what: what, found: "it on " + p.kind + ", behind which may be another machine", fix: "put it on a disk of this machine"}
	case p.memory && !memory:
		return finding{status: wrong, what: what, found: "it on " + p.kind + ", which is empty after a reboot", fix: "put it on a disk"}
	case p.free < room:
		return finding{status: wrong, what: what, found: fmt.Sprintf("%d MiB free", p.free>>20), fix: fmt.Sprintf("make room on that disk, at least %d MiB (df %s)", room>>20, path)}
	}
	return finding{status: ok, what: what, found: fmt.Sprintf("on %s, %d MiB free", p.kind, p.free>>20)}
}

// dir: a directory that need not be private, such as a mounted disk.
func (u *use) dir(name, path, fix string) []finding {
	what := name + " " + path
	full := u.home(path)
	info, err := os.Stat(full)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return []finding{failed(missing, what, files.WithoutPath(err), fix)}
	case err != nil:
		return []finding{failed(unknown, what, files.WithoutPath(err), fix)}
	case !info.IsDir():
		return []finding{{status: wrong, what: what, found: "something that is no directory", fix: fix}}
	case u.a.CheckLasting(full) != nil:
		return []finding{failed(wrong, what, fmt.Errorf("one that %w", u.a.CheckLasting(full)), "give an absolute path outside the checkout")}
	case syscall.Access(full, 2|1) != nil:
		return []finding{{status: wrong, what: what, found: "one that this user can't write to", fix: "make it writable for the runner's user"}}
	}
	return []finding{{status: ok, what: what, found: "a directory that can be written to"}}
}

// lookParent: a file that an action makes, whose directory it does not.
func lookParent(input string) func(context.Context, *use) []finding {
	return func(_ context.Context, u *use) []finding {
		in := u.a.Inputs()
		path := in.RunnerPath(input)
		if err := in.Err(); err != nil {
			return of("", err)
		}
		if path == "" {
			return nil
		}
		return u.dir("the directory of "+input, filepath.Dir(path), "make it: mkdir -p -m 700 "+filepath.Dir(path))
	}
}
