package contracts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"edge-actions/internal/restic"
	"edge-actions/internal/verdict"

	"github.com/bmatcuk/doublestar/v4"
)

// maxListed is how many paths a check names.
const maxListed = 12

// live is one thing on the machine.
type live struct {
	path    string
	mode    fs.FileMode
	size    int64
	changed time.Time // ctime: since then nothing of it changed, its name included
}

// coverage holds what lies on the machine against what a snapshot lists. Both
// come in the order of a walk, so they are merged as they come: memory does not
// grow with the number of files.
type coverage struct {
	paths   []string
	exclude []string
	start   time.Time // of the backup, by the clock of the machine that is backed up

	next  func() (live, error, bool)
	stop  func()
	head  *live // the next of the machine's; nil at its end
	begun bool

	// Names that restic had to change to list them (it replaces what is not
	// UTF-8) come in another order than they are listed in: they are few, and
	// are compared at the end.
	odd    map[string]bool
	oddOne []live

	compared, excluded, newer, missing, differ int
	listed                                     []string
}

func newCoverage(paths, exclude []string, start time.Time) *coverage {
	c := &coverage{paths: outermost(paths), exclude: exclude, start: start, odd: map[string]bool{}}
	c.next, c.stop = iter.Pull2(c.walk)
	return c
}

// order compares two paths as a walk has them: what is in a directory comes
// right after it.
func order(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		x, y := a[i], b[i]
		switch {
		case x == y:
			continue
		case x == '/':
			return -1
		case y == '/':
			return 1
		case x < y:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// walk yields everything below the paths that should be in the snapshot.
func (c *coverage) walk(yield func(live, error) bool) {
	for _, root := range c.paths {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) { // gone meanwhile, or not here at all
				return nil
			}
			if err != nil {
				return err
			}
			if c.excludes(p) {
				if c.excluded++; d.IsDir() && !c.mayHoldRepositories(p) {
					return fs.SkipDir
				}
				return nil
			}
			if t := d.Type(); t != 0 && t != fs.ModeDir && t != fs.ModeSymlink {
				return nil // sockets and the like hold no data
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			changed, err := changedAt(info)
			if err != nil {
				return err
			}
			if !yield(live{p, info.Mode(), info.Size(), changed}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(live{}, err)
			return
		}
	}
}

// excludes reports whether the operator said that the backup leaves a path out.
// A pattern with ** says nothing about what is in a Git repository: there such a
// pattern drops branches, and whole owners of the pattern's name, of whom the
// operator does not know.
func (c *coverage) excludes(p string) bool {
	for _, pattern := range c.exclude {
		anywhere := strings.Contains(pattern, "**")
		if anywhere && inRepository(p) {
			continue
		}
		for at := p; at != "/" && at != "."; at = filepath.Dir(at) {
			if ok, _ := doublestar.Match(pattern, at); ok {
				return true
			}
			if !strings.HasPrefix(at, literal(pattern)) {
				break
			}
		}
	}
	return false
}

// literal is the part of a pattern before its first wildcard.
func literal(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[{\`); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

func inRepository(p string) bool {
	return strings.Contains(p+"/", ".git/")
}

// mayHoldRepositories reports whether a directory that is left out by a pattern
// with ** has to be looked into.
func (c *coverage) mayHoldRepositories(p string) bool {
	for _, pattern := range c.exclude {
		if strings.Contains(pattern, "**") {
			continue
		}
		for at := p; at != "/" && at != "."; at = filepath.Dir(at) {
			if ok, _ := doublestar.Match(pattern, at); ok {
				return false // named outright
			}
		}
	}
	return true
}

// advance takes the next of the machine's.
func (c *coverage) advance(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l, err, ok := c.next()
		if err != nil {
			return verdict.CannotTell(Covered, "everything below the paths to be readable", err, "look at it as root: set the contract's user")
		}
		if !ok {
			c.head = nil
			return nil
		}
		if strings.ContainsRune(l.path, utf8.RuneError) {
			c.oddOne = append(c.oddOne, l)
			continue
		}
		c.head = &l
		return nil
	}
}

// begin takes the first of the machine's, once.
func (c *coverage) begin(ctx context.Context) error {
	if c.begun {
		return nil
	}
	c.begun = true
	return c.advance(ctx)
}

// see takes the next of the snapshot's.
func (c *coverage) see(ctx context.Context, n restic.Node) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	if strings.ContainsRune(n.Path, utf8.RuneError) {
		c.odd[n.Path] = true
		return nil
	}
	for c.head != nil && order(c.head.path, n.Path) < 0 {
		c.lacks(*c.head)
		if err := c.advance(ctx); err != nil {
			return err
		}
	}
	if c.head != nil && c.head.path == n.Path {
		c.has(*c.head, n)
		return c.advance(ctx)
	}
	return nil
}

// rest takes what is left of the machine's when the snapshot has no more.
func (c *coverage) rest(ctx context.Context) error {
	defer c.stop()
	if err := c.begin(ctx); err != nil {
		return err
	}
	for c.head != nil {
		c.lacks(*c.head)
		if err := c.advance(ctx); err != nil {
			return err
		}
	}
	for _, l := range c.oddOne {
		if c.odd[asListed(l.path)] {
			c.compared++
		} else {
			c.lacks(l)
		}
	}
	return nil
}

// asListed is a name as restic's JSON has it: each byte that is no UTF-8
// replaced.
func asListed(p string) string { return string([]rune(p)) }

func (c *coverage) lacks(l live) {
	if !l.changed.Before(c.start) {
		c.newer++
		return
	}
	c.missing++
	c.list("%.300q is not in it, and is as it was before the backup began", l.path)
}

func (c *coverage) has(l live, n restic.Node) {
	if c.compared++; !l.changed.Before(c.start) {
		return // it changed since, so it may differ
	}
	kinds := map[fs.FileMode]string{0: "file", fs.ModeDir: "dir", fs.ModeSymlink: "symlink"}
	switch {
	case kinds[l.mode.Type()] != n.Type:
		c.differ++
		c.list("%.300q is a %s there and a %s here", l.path, n.Type, kinds[l.mode.Type()])
	case l.mode.IsRegular() && uint64(l.size) != n.Size:
		c.differ++
		c.list("%.300q has %d bytes there and %d here", l.path, n.Size, l.size)
	}
}

func (c *coverage) list(format string, args ...any) {
	if len(c.listed) < maxListed {
		c.listed = append(c.listed, fmt.Sprintf(format, args...))
	}
}

func (c *coverage) check() verdict.Check {
	const wanted = "everything that lies here since before the backup in the snapshot, but what is left out on purpose"
	got := fmt.Sprintf("%d compared, %d newer than the backup", c.compared, c.newer)
	if len(c.exclude) > 0 {
		got += fmt.Sprintf(", %d left out", c.excluded)
	}
	if bad := c.missing + c.differ; bad > 0 {
		lines := strings.Join(c.listed, "\n")
		if bad > len(c.listed) {
			lines += fmt.Sprintf("\nand %d more", bad-len(c.listed))
		}
		return verdict.Refuse(Covered, wanted, fmt.Sprintf("%d missing, %d other (%s)\n%s", c.missing, c.differ, got, lines),
			"see what the backup leaves out, and why: excludes such as **/tmp drop branches of that name; what is left out on purpose is named in exclude").Check
	}
	if c.compared == 0 {
		err := errNoData
		for _, p := range c.paths {
			if _, e := os.Lstat(p); e == nil {
				err = errors.New("nothing here is older than the backup")
			}
		}
		return verdict.CannotTell(Covered, wanted, err, "set the contract's host to the machine that has the data").Check
	}
	return verdict.Check{ID: Covered, Verdict: verdict.Proven, Wanted: wanted, Got: got}
}
