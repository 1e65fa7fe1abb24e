package recovery

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"edge-actions/internal/files"
	"edge-actions/internal/restic"
	"edge-actions/internal/verdict"
)

// tree holds what was restored against the snapshot's own list, entry by entry
// as it comes: memory does not grow with the number of files.
type tree struct {
	root    *os.Root
	include []string
	// dir is the directory of the entry before, and at its path with a slash.
	dir    *os.Root
	at     string
	owners bool // compare uid and gid
	count  int
	wrong  []string // the first few
	wrongs int
	owner  []string
	owned  int
	// odd are the entries whose names restic had to change to list them: of what
	// is not UTF-8 its JSON keeps nothing. They are looked for at the end, among
	// what has a name that would be listed like that.
	odd map[string][]restic.Node
}

// maxListed is how many differences a check names.
const maxListed = 12

func (t *tree) add(list *[]string, n *int, format string, args ...any) {
	*n++
	if len(*list) < maxListed {
		*list = append(*list, fmt.Sprintf(format, args...))
	}
}

// meant reports whether an entry of the snapshot was to be restored: it is one
// of the included paths, below one, or on the way to one.
func meant(p string, include []string) bool {
	if len(include) == 0 {
		return true
	}
	for _, in := range include {
		if within(in, p) || within(p, in) {
			return true
		}
	}
	return false
}

// look compares one entry. It never follows a link: what lies outside of the
// scratch is none of its business.
func (t *tree) look(n restic.Node) {
	if n.Path == "/" || !meant(n.Path, t.include) {
		return
	}
	t.count++
	name := strings.TrimPrefix(path.Clean(n.Path), "/")
	if strings.ContainsRune(name, utf8.RuneError) {
		if t.odd == nil {
			t.odd = map[string][]restic.Node{}
		}
		t.odd[name] = append(t.odd[name], n)
		return
	}
	info, err := t.lstat(name)
	if err != nil {
		t.add(&t.wrong, &t.wrongs, "%.200q is missing (%v)", n.Path, files.WithoutPath(err))
		return
	}
	t.hold(n, info)
}

// hold compares an entry with what is in its place.
func (t *tree) hold(n restic.Node, info fs.FileInfo) {
	if got := kind(info.Mode()); got != n.Type {
		t.add(&t.wrong, &t.wrongs, "%.200q is a %s, not a %s", n.Path, got, n.Type)
		return
	}
	if n.Type == "file" && uint64(info.Size()) != n.Size {
		t.add(&t.wrong, &t.wrongs, "%.200q has %d bytes, not %d", n.Path, info.Size(), n.Size)
	}
	const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if n.Type != "symlink" && info.Mode()&bits != n.Mode&bits {
		t.add(&t.owner, &t.owned, "%.200q has the mode %s, not %s", n.Path, info.Mode()&bits, n.Mode&bits)
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok && t.owners && (sys.Uid != n.UID || sys.Gid != n.GID) {
		t.add(&t.owner, &t.owned, "%.200q is %d:%d's, not %d:%d's", n.Path, sys.Uid, sys.Gid, n.UID, n.GID)
	}
}

// lstat asks for an entry in its directory, which is kept open: restic lists
// what is in one together, and from the root down every directory on the way is
// opened anew for each entry.
func (t *tree) lstat(name string) (fs.FileInfo, error) {
	parent, base := path.Split(name)
	if parent == "" || parent != t.at && !t.enter(parent) {
		return t.root.Lstat(filepath.FromSlash(name))
	}
	return t.dir.Lstat(base)
}

// enter opens a directory in the place of the one before. What is none is not
// opened: a pipe has no end.
func (t *tree) enter(parent string) bool {
	t.leave()
	name := filepath.FromSlash(path.Clean(parent))
	info, err := t.root.Lstat(name)
	if err != nil || !info.IsDir() {
		return false
	}
	if t.dir, err = t.root.OpenRoot(name); err != nil {
		return false
	}
	t.at = parent
	return true
}

// leave closes the directory that is open.
func (t *tree) leave() {
	if t.dir != nil {
		t.dir.Close()
	}
	t.dir, t.at = nil, ""
}

// kind names a type as restic does.
func kind(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "file"
	case fs.ModeDir:
		return "dir"
	case fs.ModeSymlink:
		return "symlink"
	case fs.ModeNamedPipe:
		return "fifo"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeDevice:
		return "dev"
	case fs.ModeDevice | fs.ModeCharDevice:
		return "chardev"
	}
	return "irregular"
}

// compare holds the scratch against a snapshot's list.
func compare(list *listing, dir string, include []string) []verdict.Check {
	const wanted = "every entry of the snapshot, of its type and size, and nothing else"
	root, err := os.OpenRoot(dir)
	if err != nil {
		return []verdict.Check{verdict.CannotTell(Compared, wanted, err, "run it again").Check}
	}
	defer root.Close()
	t := &tree{root: root, include: include, owners: os.Geteuid() == 0}
	defer t.leave()
	if err := list.read(t.look); err != nil {
		return verdict.ChecksOf(err)
	}
	there, err := t.end()
	if err != nil {
		return []verdict.Check{verdict.CannotTell(Compared, wanted, err, "run it again").Check}
	}
	return append(t.checks(wanted, there), t.ownersCheck())
}

// end looks at what is there, after all of the list, and counts it.
func (t *tree) end() (there int, err error) {
	there, err = t.entries(t.root, "")
	for _, left := range t.odd {
		for _, n := range left {
			t.add(&t.wrong, &t.wrongs, "%.200q is missing", n.Path)
		}
	}
	return there, err
}

func (t *tree) checks(wanted string, there int) []verdict.Check {
	switch {
	case t.count == 0:
		return []verdict.Check{verdict.Refuse(Compared, wanted, "no entry that was asked for", "correct include: it matches nothing of the snapshot").Check}
	case t.wrongs > 0:
		return []verdict.Check{verdict.Refuse(Compared, wanted, fmt.Sprintf("%d of %d differ: %s", t.wrongs, t.count, strings.Join(t.wrong, "; ")), "the repository does not give back what it says that it has: run restic check --read-data").Check}
	case there != t.count:
		return []verdict.Check{verdict.Refuse(Compared, wanted, fmt.Sprintf("%d entries for %d of the snapshot", there, t.count), "something else wrote into the scratch: look at what is scheduled on this machine").Check}
	}
	return []verdict.Check{{ID: Compared, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("%d entries", t.count)}}
}

func (t *tree) ownersCheck() verdict.Check {
	const wanted = "owners and modes as the snapshot has them"
	switch {
	case t.owned > 0:
		return verdict.Refuse(Owners, wanted, fmt.Sprintf("%d of %d differ: %s", t.owned, t.count, strings.Join(t.owner, "; ")), "restore as root, on a file system that keeps them").Check
	case !t.owners:
		// restic ignores that it may not set them, with exit code 0.
		return verdict.CannotTell(Owners, wanted, errors.New("only modes were compared: this user may not give files away"), "run it as root, or waive "+Owners).Check
	}
	return verdict.Check{ID: Owners, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("all %d", t.count)}
}

// someEntries is how many names of a directory are in memory at a time.
const someEntries = 1024

// entries counts what is below at, without following links. It neither sorts nor
// holds a directory: one may have a million entries.
func (t *tree) entries(root *os.Root, at string) (n int, err error) {
	dir, err := root.Open(".")
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	for {
		some, err := dir.ReadDir(someEntries)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		n += len(some)
		for _, e := range some {
			if listed := string([]rune(at + e.Name())); t.odd != nil && strings.ContainsRune(listed, utf8.RuneError) {
				t.find(listed, root, e.Name())
			}
			if !e.IsDir() {
				continue
			}
			below, err := t.entriesBelow(root, at, e.Name())
			if n += below; err != nil {
				return n, err
			}
		}
	}
}

func (t *tree) entriesBelow(root *os.Root, at, name string) (int, error) {
	dir, err := root.OpenRoot(name)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	return t.entries(dir, at+name+"/")
}

// find holds what is there against one of the entries that are listed under its
// name, the one that it is most like.
func (t *tree) find(listed string, dir *os.Root, name string) {
	nodes := t.odd[listed]
	info, err := dir.Lstat(name)
	if len(nodes) == 0 || err != nil { // one too many is found by the count
		return
	}
	i := max(0, slices.IndexFunc(nodes, func(n restic.Node) bool {
		return n.Type == kind(info.Mode()) && (n.Type != "file" || n.Size == uint64(info.Size()))
	}))
	t.hold(nodes[i], info)
	t.odd[listed] = slices.Delete(nodes, i, i+1)
}
