package files

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || string(data) != "new" {
		t.Errorf("%q, %v", data, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: the old file's was kept", info.Mode())
	}
	if got := names(t, dir); got != "file" {
		t.Errorf("left: %s", got)
	}
	if sum, err := SHA256(path); err != nil || sum != "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437" {
		t.Errorf("%s, %v", sum, err)
	}
}

func TestAFailedWriteLeavesWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	broken := errors.New("broken")
	fill := func(w io.Writer) error {
		io.WriteString(w, "half")
		if got := names(t, dir); !strings.Contains(got, TempPrefix) {
			t.Errorf("while writing: %s", got)
		}
		return broken
	}
	if err := WriteFrom(path, fill); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("left: %s", got)
	}
	if err := Write(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := WriteFrom(path, fill); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "old" || names(t, dir) != "file" {
		t.Errorf("%q, %s", data, names(t, dir))
	}
	if err := Write(filepath.Join(dir, "missing", "file"), nil); err == nil {
		t.Error("written into a directory that is not there")
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "d"), nil); err == nil || names(t, dir) != "d file" {
		t.Errorf("over a directory: %v, %s", err, names(t, dir))
	}
}

func TestAPanicLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	func() {
		defer func() { recover() }()
		WriteFrom(filepath.Join(dir, "file"), func(io.Writer) error { panic("x") })
	}()
	if got := names(t, dir); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestInside(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"work/sub", "work-2", "home"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"work/out": "../home", "home/in": filepath.Join(root, "work"), "alias": "work", "work/dangling": "../home/new"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{
		"work":               true,
		"work/sub":           true,
		"work/new/file":      true,
		"work/..hidden":      true,
		"work/sub/../..":     false,
		"work-2":             false,
		"home":               false,
		"work/out":           false,
		"work/out/new":       false,
		"work/out/new/newer": false,
		"home/in":            true,
		"home/in/new/newer":  true,
		"alias/sub":          true,
		"work/dangling":      false,
	} {
		for _, dir := range []string{"work", "alias"} {
			if got := Inside(filepath.Join(root, dir), filepath.Join(root, path)); got != want {
				t.Errorf("%s in %s: %v", path, dir, got)
			}
		}
	}
	if Inside("", root) {
		t.Error("something is inside of nothing")
	}
}

func TestCheckSecret(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o620: false, 0o644: false, 0o660: false, 0o610: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := CheckSecret(path); (err == nil) != ok {
			t.Errorf("mode %04o: %v", mode, err)
		} else if err != nil && !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: no way out in %v", mode, err)
		}
	}
	if err := CheckSecret(dir); err == nil {
		t.Error("a directory is taken")
	}
	if err := CheckSecret(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	for mode, ok := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o770: false, 0o777: false, 0o777 | os.ModeSticky: true} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := CheckPrivateDir(dir); (err == nil) != ok {
			t.Errorf("directory of mode %v: %v", mode, err)
		}
	}
	if err := CheckPrivateDir(path); err == nil {
		t.Error("a file is taken for a directory")
	}
}
