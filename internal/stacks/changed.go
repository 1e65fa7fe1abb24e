package stacks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
)

// Changes are the files of the checkout that differ from where a branch began.
type Changes struct {
	Ref   string
	Files []string // absolute
}

var (
	refName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./@{}^~+-]*$`)
	zeroRef = regexp.MustCompile(`^0{40}(0{24})?$`)
)

// ChangedSince asks git which files have changed since HEAD and ref have gone
// different ways, with what is not committed. environ is the runner's.
func ChangedSince(ctx context.Context, dir, ref string, environ []string, timeout time.Duration) (*Changes, error) {
	cannot := func(err error) error {
		return verdict.CannotTell("changed-since", fmt.Sprintf("the files that changed since %q", ref), err,
			"the checkout needs the history: fetch-depth: 0; leave changed_since empty to take all stacks")
	}
	if !refName.MatchString(ref) || strings.Contains(ref, "..") {
		return nil, verdict.Refuse("input-changed_since", "one branch, tag or commit", fmt.Sprintf("%q", ref), "correct the input changed_since")
	}
	if zeroRef.MatchString(ref) {
		return nil, cannot(errors.New("the commit of zeros, which stands for no commit: the branch is new"))
	}
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, cannot(err)
	}
	env := command.Environ(environ, command.Base, map[string]string{"GIT_OPTIONAL_LOCKS": "0"})
	run := func(args ...string) (string, error) {
		out, err := command.Output(ctx, command.Cmd{Path: git, Args: args, Dir: dir, Env: env, Timeout: timeout, Grace: 5 * time.Second}, 256<<20)
		return string(out), err
	}
	top, err := run("rev-parse", "--show-toplevel")
	if err != nil {
		return nil, cannot(err)
	}
	commit, err := run("rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	if err != nil {
		return nil, cannot(fmt.Errorf("no such commit here: %w", err))
	}
	root := strings.TrimSuffix(top, "\n")
	out := &Changes{Ref: ref}
	seen := map[string]bool{}
	for _, args := range [][]string{
		{"diff", "--name-only", "--no-renames", "-z", strings.TrimSpace(commit) + "...HEAD"},
		{"diff", "--name-only", "--no-renames", "-z", "HEAD"},
		{"ls-files", "--others", "--exclude-standard", "--full-name", "-z", ":/"},
	} {
		names, err := run(args...)
		if err != nil {
			return nil, cannot(err)
		}
		for name := range strings.SplitSeq(names, "\x00") {
			if name != "" && !seen[name] {
				seen[name] = true
				out.Files = append(out.Files, filepath.Join(root, filepath.FromSlash(name)))
			}
		}
	}
	return out, nil
}

// Changed returns those of the stacks that have changed, with the reasons, and
// what could not be followed. A file belongs to the innermost stack that it is
// in or under. A stack has changed, too, if a local module that it uses has,
// directly or through others, or a file that it watches.
func (p *Project) Changed(stacks []string, c *Changes) (changed []string, why map[string]string, notes []string) {
	why = map[string]string{}
	files := make([]string, 0, len(c.Files))
	root := real(p.Root)
	for _, f := range c.Files {
		files = append(files, f)
		rel, err := filepath.Rel(root, f)
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			continue
		}
		if m := p.innermost(filepath.ToSlash(rel)); m != nil && why[m.Path] == "" {
			why[m.Path] = fmt.Sprintf("%q changed", filepath.ToSlash(rel))
		}
	}
	for _, path := range stacks {
		m := p.byPath[path]
		if why[path] == "" {
			why[path] = watched(root, m, files)
		}
		if why[path] == "" {
			w := walker{files: files, seen: map[string]bool{}}
			why[path] = w.module(real(m.Dir), true)
			notes = append(notes, w.notes...)
		}
		if why[path] != "" {
			changed = append(changed, path)
		}
	}
	return changed, why, notes
}

// innermost returns the stack that a file belongs to, or nil.
func (p *Project) innermost(file string) *Member {
	for dir := file; dir != "."; {
		dir = filepath.ToSlash(filepath.Dir(dir))
		if m := p.byPath[dir]; m != nil && m.stack() {
			return m
		}
	}
	return nil
}

func watched(root string, m *Member, files []string) string {
	for _, w := range m.Watch {
		at := filepath.Join(real(m.Dir), filepath.FromSlash(w))
		if strings.HasPrefix(w, "/") {
			at = filepath.Join(root, filepath.FromSlash(w))
		}
		for _, f := range files {
			if f == at {
				return fmt.Sprintf("%q changed, which it watches", w)
			}
		}
	}
	return ""
}

// real is a path without symbolic links, as git tells it.
func real(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	return path
}

// walker follows the local modules of one stack.
type walker struct {
	files []string
	seen  map[string]bool
	notes []string
}

// module returns why a module has changed, or nothing.
func (w *walker) module(dir string, isStack bool) string {
	if w.seen[dir] {
		return ""
	}
	w.seen[dir] = true
	if !isStack {
		for _, f := range w.files {
			if strings.HasPrefix(f, dir+string(filepath.Separator)) {
				return fmt.Sprintf("%q changed, in a module that it uses", filepath.Base(dir)+f[len(dir):])
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Sprintf("a module of it can't be read (%v)", err)
	}
	for _, e := range entries {
		if e.IsDir() || !isConfig(e.Name()) {
			continue
		}
		sources, odd, err := moduleSources(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Sprintf("%q can't be read, so nobody knows its modules", e.Name())
		}
		if odd != "" {
			return fmt.Sprintf("the source of module %q in %q is not literal, so nobody knows what it uses", odd, e.Name())
		}
		for _, source := range sources {
			if !strings.HasPrefix(source, "./") && !strings.HasPrefix(source, "../") {
				w.notes = append(w.notes, source)
				continue
			}
			if why := w.module(real(filepath.Join(dir, filepath.FromSlash(source))), false); why != "" {
				return why
			}
		}
	}
	return ""
}
