package recovery

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/restic"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

// restored makes a tree and the list that a snapshot of it has.
func restored(t *testing.T) (root *os.Root, list []restic.Node) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"srv/a/deep/er/one", "srv/a/deep/two", "srv/a/three", "srv/b/one", "srv/four", "top"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "srv/link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := root.Lstat(p)
		if err == nil && p != "." {
			list = append(list, restic.Node{Path: "/" + p, Type: kind(info.Mode()), Size: uint64(info.Size()), Mode: info.Mode()})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return root, list
}

// held compares as compare does, with a list that is given.
func held(t *testing.T, root *os.Root, list []restic.Node) []string {
	t.Helper()
	tr := &tree{root: root}
	for _, n := range list {
		tr.look(n)
	}
	tr.leave()
	there, err := tr.end()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range append(tr.checks("all", there), tr.ownersCheck()) {
		if c.Verdict == verdict.Disproven {
			out = append(out, c.ID+": "+c.Got)
		}
	}
	return out
}

func TestCompare(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"the same":                 {func(string) error { return nil }, ""},
		"a file is gone":           {func(dir string) error { return os.Remove(dir + "/srv/a/deep/er/one") }, `"/srv/a/deep/er/one" is missing`},
		"a file too much":          {func(dir string) error { return os.WriteFile(dir+"/srv/b/more", nil, 0o600) }, "13 entries for 12"},
		"a directory too much":     {func(dir string) error { return os.MkdirAll(dir+"/more/and/more", 0o700) }, "15 entries for 12"},
		"another size":             {func(dir string) error { return os.Truncate(dir+"/srv/a/deep/two", 3) }, "has 3 bytes, not 14"},
		"another mode":             {func(dir string) error { return os.Chmod(dir+"/srv/four", 0o640) }, "-rw-r-----"},
		"a directory that is gone": {func(dir string) error { return os.RemoveAll(dir + "/srv/a/deep/er") }, "2 of 12 differ"},
		"a link in its place": {func(dir string) error {
			return swap(dir+"/srv/b", func(p string) error { return os.Symlink("a", p) })
		}, `"/srv/b" is a symlink, not a dir`},
		"a pipe in its place": {func(dir string) error { // with an open that would wait for ever
			return swap(dir+"/srv/a/deep", func(p string) error { return syscall.Mkfifo(p, 0o600) })
		}, `"/srv/a/deep" is a fifo, not a dir`},
		"a link out of it": {func(dir string) error {
			return swap(dir+"/srv/b", func(p string) error { return os.Symlink("/etc", p) })
		}, `"/srv/b/one" is missing`},
	} {
		t.Run(name, func(t *testing.T) {
			root, list := restored(t)
			if err := tt.change(root.Name()); err != nil {
				t.Fatal(err)
			}
			found := held(t, root, list)
			if text := strings.Join(found, "\n"); !strings.Contains(text, tt.want) || (tt.want == "") != (text == "") {
				t.Errorf("wanted %q, found %q", tt.want, text)
			}
			// In whatever order they come.
			backwards := slices.Clone(list)
			slices.Reverse(backwards)
			if got := held(t, root, backwards); len(got) != len(found) {
				t.Errorf("backwards: %q, not %q", got, found)
			}
		})
	}
}

func swap(path string, with func(string) error) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return with(path)
}

// A directory is read a part at a time; no part of it is lost or counted twice.
func TestEntries(t *testing.T) {
	dir := t.TempDir()
	want := 0
	for parent, n := range map[string]int{"": someEntries + 1, "a": 3, "a/b": someEntries} {
		if err := os.MkdirAll(filepath.Join(dir, parent), 0o700); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := os.WriteFile(filepath.Join(dir, parent, fmt.Sprintf("f%d", i)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			want++
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	got, err := (&tree{}).entries(root, "")
	if diff := cmp.Diff(want+3, got); diff != "" || err != nil { // a, a/b and the link
		t.Errorf("%s%v", diff, err)
	}
}

// Directories that are left are closed: a tree of more than a process may have
// open is compared as well.
func TestDirectoriesAreClosed(t *testing.T) {
	root, list := restored(t)
	tr := &tree{root: root}
	before := open(t)
	for range 50 {
		for _, n := range list {
			tr.look(n)
		}
	}
	if n := open(t) - before; n > 1 {
		t.Errorf("%d directories are open", n)
	}
	tr.leave()
	if _, err := (&tree{}).entries(root, ""); err != nil {
		t.Fatal(err)
	}
	if n := open(t) - before; n != 0 {
		t.Errorf("%d directories are still open", n)
	}
}

// open is how many files this process has open.
func open(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// Names that are no text are listed with what replaces it. Each is found, and
// one that is not there, or is another, is not taken for its twin.
func TestCompareOfNamesThatAreNoText(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"a\xff": 1, "a\xfe": 2, "a\ufffd": 3, "d\xff/f": 4, "plain": 5} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	node := func(path, kind string, size uint64, mode fs.FileMode) restic.Node {
		return restic.Node{Path: path, Type: kind, Size: size, Mode: mode}
	}
	list := []restic.Node{
		node("/a\ufffd", "file", 2, 0o600), node("/a\ufffd", "file", 1, 0o600), node("/a\ufffd", "file", 3, 0o600),
		node("/d\ufffd", "dir", 0, 0o755|fs.ModeDir), node("/d\ufffd/f", "file", 4, 0o600), node("/plain", "file", 5, 0o600),
	}
	if got := held(t, root, list); len(got) != 0 {
		t.Errorf("%q", got)
	}
	for name, change := range map[string]func([]restic.Node) []restic.Node{
		"another size": func(l []restic.Node) []restic.Node { l[4].Size = 9; return l },
		"another twin": func(l []restic.Node) []restic.Node { l[0].Size = 9; return l },
		"another mode": func(l []restic.Node) []restic.Node { l[1].Mode = 0o644; return l },
		"one missing":  func(l []restic.Node) []restic.Node { return append(l, node("/x\ufffd", "file", 1, 0o600)) },
		"one too many": func(l []restic.Node) []restic.Node { return append(l[:1], l[2:]...) },
	} {
		if got := held(t, root, change(slices.Clone(list))); len(got) == 0 {
			t.Errorf("%s: nothing", name)
		}
	}
}
