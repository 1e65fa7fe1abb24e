package recovery

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/testing/restictest"
	"edge-actions/internal/verdict"
)

// A snapshot of somebody who holds the password and means harm. restic refuses
// each of these by itself (0.18.1), with exit code 1, before anything outside of
// the scratch is touched; the verdict is that nothing was proven.
func TestPlantedSnapshot(t *testing.T) {
	x := restictest.Blob{Plain: []byte("x")}
	file := func(name string) map[string]any {
		return node("file", name, map[string]any{"content": []string{x.ID()}, "size": 1})
	}
	link := func(name, to string) map[string]any {
		return node("symlink", name, map[string]any{"linktarget": to})
	}
	dir := func(a *around, name string, inner ...map[string]any) (restictest.Blob, map[string]any) {
		tree := restictest.Tree(a.t, inner...)
		return tree, node("dir", name, map[string]any{"subtree": tree.ID()})
	}
	for name, tt := range map[string]struct {
		nodes func(a *around) (trees []restictest.Blob, nodes []map[string]any)
		says  string
	}{
		"a name that goes up": {func(a *around) ([]restictest.Blob, []map[string]any) {
			return nil, []map[string]any{file("../../escape")}
		}, "invalid child node name"},
		"a name of two": {func(a *around) ([]restictest.Blob, []map[string]any) {
			return nil, []map[string]any{file("keep/victim")}
		}, "invalid child node name"},
		"an absolute name": {func(a *around) ([]restictest.Blob, []map[string]any) {
			return nil, []map[string]any{file(a.decoys + "/victim")}
		}, "invalid child node name"},
		"an empty name": {func(a *around) ([]restictest.Blob, []map[string]any) { return nil, []map[string]any{file("")} }, "invalid child node name"},
		"the directory above": {func(a *around) ([]restictest.Blob, []map[string]any) {
			tree, up := dir(a, "..", file("escape"))
			return []restictest.Blob{tree}, []map[string]any{up}
		}, "invalid child node name"},
		"a name with a NUL": {func(a *around) ([]restictest.Blob, []map[string]any) { return nil, []map[string]any{file("a\x00b")} }, "invalid argument"},
		"files below a link": {func(a *around) ([]restictest.Blob, []map[string]any) {
			tree, d := dir(a, "x", file("victim"))
			return []restictest.Blob{tree}, []map[string]any{link("x", a.decoys), d}
		}, "directory not empty"},
		"a link over a directory": {func(a *around) ([]restictest.Blob, []map[string]any) {
			tree, d := dir(a, "x", file("victim"))
			return []restictest.Blob{tree}, []map[string]any{d, link("x", a.decoys)}
		}, "directory not empty"},
		"a file over a link": {func(a *around) ([]restictest.Blob, []map[string]any) {
			return nil, []map[string]any{link("x", a.decoys+"/victim"), file("x")}
		}, "too many levels of symbolic links"},
		"a hard link by a link": {func(a *around) ([]restictest.Blob, []map[string]any) {
			one, two := file("1"), file("2")
			for _, n := range []map[string]any{one, two} {
				n["inode"], n["links"] = 7, 2
			}
			return nil, []map[string]any{one, link("1", a.decoys+"/victim"), two}
		}, "too many levels of symbolic links"},
		"a size that is not so": {func(a *around) ([]restictest.Blob, []map[string]any) {
			n := file("x")
			n["size"] = 5
			return nil, []map[string]any{n}
		}, "1 of 5 bytes"},
		"a directory of nothing": {func(a *around) ([]restictest.Blob, []map[string]any) {
			return nil, []map[string]any{node("dir", "x", nil)}
		}, "is nil"},
		"a kind of its own": {func(a *around) ([]restictest.Blob, []map[string]any) {
			return nil, []map[string]any{node("mystery", "x", nil)}
		}, "not implemented"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAround(t)
			trees, nodes := tt.nodes(a)
			a.plant(append(trees, x), nodes...)
			a.seen = func(string) { t.Error("assertions were judged on what did not come back") }
			got, text := a.rehearse()
			if got["restic-failed"] != verdict.Unproven || got[Restored] != "" || got[CleanedUp] != verdict.Proven || !strings.Contains(text, tt.says) {
				t.Errorf("%v, want %q\n%s", got, tt.says, text)
			}
		})
	}
}

// What a link leads to is not what was restored.
func TestPlantedLinkWithATree(t *testing.T) {
	t.Parallel()
	a := newAround(t)
	tree := restictest.Tree(t)
	a.plant([]restictest.Blob{tree}, node("symlink", "x", map[string]any{"linktarget": a.decoys, "subtree": tree.ID()}))
	a.seen = func(restored string) {
		if to, err := os.Readlink(filepath.Join(restored, "x")); err != nil || to != a.decoys {
			t.Errorf("%q, %v", to, err)
		}
	}
	if got, text := a.rehearse(); got[Compared] != verdict.Proven {
		t.Errorf("%s", text)
	}
}

// A backup of all that a file system may hold comes back whole, and is nobody
// else's while it lies there.
func TestAllThatAFileSystemHolds(t *testing.T) {
	t.Parallel()
	a := newAround(t)
	at := func(name string) string { return filepath.Join(a.data, name) }
	for _, name := range []string{"..x", "...", "a\nb", "-rf", "::add-path::x", "\x1b[2J", "sp ", `ba\ck`, "*", "[a]", `"`, "$HOME", "dir/a", "\xff", "\xfe", "d\xff/a", "\ufffd"} {
		a.must(os.MkdirAll(filepath.Dir(at(name)), 0o755))
		a.must(os.WriteFile(at(name), []byte(decoy), 0o600))
	}
	a.must(os.Symlink(a.decoys, at("link-to-a-directory")))
	a.must(os.Symlink("/etc/passwd", at("link")))
	a.must(os.Symlink("../../../../../../nowhere", at("link-to-nothing")))
	a.must(os.Link(at("file"), at("hard")))
	a.must(syscall.Mknod(at("fifo"), syscall.S_IFIFO|0o600, 0))
	a.must(syscall.Mknod(at("socket"), syscall.S_IFSOCK|0o600, 0)) // restic leaves it out
	a.must(os.Chmod(at("dir"), fs.ModeSticky|fs.ModeSetgid|0o777))
	if os.Geteuid() == 0 {
		a.must(syscall.Mknod(at("device"), syscall.S_IFCHR|0o666, 240<<8|99))
		a.must(os.WriteFile(at("setuid"), []byte(decoy), 0o755))
		a.must(os.Chown(at("setuid"), 0, 12345))
		a.must(os.Chmod(at("setuid"), fs.ModeSetuid|0o755))
	}
	a.backup(a.data)
	a.seen = func(restored string) {
		if info, err := os.Stat(filepath.Dir(restored)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("others can reach what lies there: %v, %v", info.Mode(), err)
		}
		var one, two syscall.Stat_t
		a.must(syscall.Lstat(restored+at("file"), &one))
		a.must(syscall.Lstat(restored+at("hard"), &two))
		if one.Ino != two.Ino || one.Nlink != 2 {
			t.Errorf("a hard link came back as inode %d and %d with %d links", one.Ino, two.Ino, one.Nlink)
		}
		if _, err := os.Lstat(restored + at("socket")); err == nil {
			t.Error("a socket came back")
		}
	}
	got, text := a.rehearse()
	if got[Restored] != verdict.Proven || got[Compared] != verdict.Proven || got[CleanedUp] != verdict.Proven || os.Geteuid() == 0 && got[Owners] != verdict.Proven {
		t.Errorf("%s", text)
	}
}

// A scratch where there should be none, with a real snapshot to restore: nothing
// is written.
func TestScratchWhereThereShouldBeNone(t *testing.T) {
	for name, spoil := range map[string]func(a *around){
		"in a path of the snapshot": func(a *around) {
			a.root = filepath.Join(a.data, "scratch")
			a.must(os.Mkdir(a.root, 0o700))
			a.backup(a.data)
		},
		"around a path of the snapshot": func(a *around) { a.backup(filepath.Join(a.root, "keep")) },
		"a path of the snapshot":        func(a *around) { a.backup(a.root) },
		"by a link": func(a *around) {
			a.backup(a.data)
			a.root = filepath.Join(a.top, "link")
			a.must(os.Symlink(filepath.Join(a.top, "scratch"), a.root))
		},
		"in a path, by a link on the way": func(a *around) {
			a.must(os.Mkdir(filepath.Join(a.data, "scratch"), 0o700))
			a.backup(a.data)
			a.must(os.Symlink(a.data, filepath.Join(a.top, "way")))
			a.root = filepath.Join(a.top, "way", "scratch")
		},
		"the root of all": func(a *around) {
			a.backup(a.data)
			a.root = "/"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAround(t)
			spoil(a)
			a.seen = func(string) { t.Error("it was restored") }
			if got, text := a.rehearse(); got[Scratch] != verdict.Disproven || got[Restored] != "" {
				t.Errorf("%s", text)
			}
		})
	}
}

func TestRehearsalInMemoryIsRefused(t *testing.T) {
	t.Parallel()
	a := newAround(t)
	a.backup(a.data)
	root, err := os.MkdirTemp("/dev/shm", "edge-actions-test-")
	a.must(err)
	defer os.RemoveAll(root)
	a.root, a.disk = root, true
	if got, text := a.rehearse(); got[Scratch] != verdict.Disproven || !strings.Contains(text, "tmpfs") {
		t.Errorf("%s", text)
	}
	if left, _ := os.ReadDir(root); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
