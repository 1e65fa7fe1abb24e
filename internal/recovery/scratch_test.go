package recovery

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
)

func TestScratch(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "scratch")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	srv := filepath.Join(dir, "srv")
	if err := os.Symlink(root, srv); err != nil { // live data that is elsewhere
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		root  string
		paths []string
		says  string
	}{
		"/":                            {"/", nil, ""},
		"a relative one":               {"scratch", nil, "no absolute path"},
		"not in its shortest form":     {root + "/../scratch", nil, "shortest form"},
		"a link":                       {link, nil, "symbolic link"},
		"a file":                       {file, nil, "no directory"},
		"nothing":                      {filepath.Join(dir, "none"), nil, "no such file"},
		"a path of the snapshot":       {root, []string{"/etc", root}, "the snapshot has"},
		"inside one":                   {root, []string{dir}, "the snapshot has"},
		"around one":                   {root, []string{root + "/data"}, "the snapshot has"},
		"where one leads to":           {root, []string{srv}, "the snapshot has"},
		"all of the machine is backed": {root, []string{"/"}, "the snapshot has"},
	} {
		s, err := NewScratch(tt.root, "r", tt.paths, true)
		if s != nil || verdict.Reason(err) != Scratch || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A name that begins like it is another.
	s, err := NewScratch(root, "r", []string{root + "2", "/etc"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(s.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err := s.Remove(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(root); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestTmpfsIsRefused(t *testing.T) {
	const shm = "/dev/shm"
	if tmpfs, err := onTmpfs(shm); err != nil || !tmpfs {
		t.Fatalf("this machine has no tmpfs on %s: %v, %v", shm, tmpfs, err)
	}
	root, err := os.MkdirTemp(shm, "edge-actions-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	if s, err := NewScratch(root, "r", nil, false); s != nil || !strings.Contains(err.Error(), "allow_tmpfs") {
		t.Errorf("%v", err)
	}
	s, err := NewScratch(root, "r", nil, true)
	if err != nil {
		t.Fatal(err)
	}
	s.Remove()
}

func TestSweepScratch(t *testing.T) {
	root := t.TempDir()
	living, err := NewScratch(root, "r", nil, true)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := NewScratch(root, "r", nil, true)
	if err != nil {
		t.Fatal(err)
	}
	dead.lock.Close()
	// A tree in which a directory may not be written to.
	deep := filepath.Join(dead.Dir, "srv", "deep")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(deep, "file"), []byte("x"), 0o400)
	os.Chmod(deep, 0o500)
	early := filepath.Join(root, scratchPrefix+"early") // killed before its first file
	os.Mkdir(early, 0o700)
	half := filepath.Join(root, scratchPrefix+"half") // and before that was whole
	os.Mkdir(half, 0o700)
	os.WriteFile(filepath.Join(half, "lock"), nil, 0o600)
	os.WriteFile(filepath.Join(half, files.TempPrefix+"123"), nil, 0o600)
	// Not ours: another name, no marker, a marker of another directory.
	mine := filepath.Join(root, scratchPrefix+"mine")
	os.Mkdir(mine, 0o700)
	os.WriteFile(filepath.Join(mine, "a"), nil, 0o600)
	os.WriteFile(filepath.Join(mine, "b"), nil, 0o600)
	copied := filepath.Join(root, scratchPrefix+"copied")
	os.Mkdir(copied, 0o700)
	marker, err := os.ReadFile(filepath.Join(dead.top, markerName))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(copied, markerName), marker, 0o600)
	other := filepath.Join(root, "other")
	os.Mkdir(other, 0o700)
	elsewhere := t.TempDir()
	os.WriteFile(filepath.Join(elsewhere, "data"), nil, 0o600)
	os.Symlink(elsewhere, filepath.Join(root, scratchPrefix+"link"))

	n, err := SweepScratch(root)
	if n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	var left []string
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		left = append(left, strings.TrimPrefix(e.Name(), scratchPrefix))
	}
	want := []string{strings.TrimPrefix(filepath.Base(living.top), scratchPrefix), "copied", "link", "mine", "other"}
	if len(left) != len(want) {
		t.Errorf("left %v, want %v", left, want)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "data")); err != nil {
		t.Error(err)
	}
	if n, err := SweepScratch(filepath.Join(root, "none")); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	living.Remove()
}

func TestRoomFor(t *testing.T) {
	dir := t.TempDir()
	if c := RoomFor(dir, 1<<20, 10); c.Verdict != verdict.Proven {
		t.Errorf("%+v", c)
	}
	if c := RoomFor(dir, 1<<60, 10); c.Verdict != verdict.Disproven {
		t.Errorf("%+v", c)
	}
	if c := RoomFor(dir+"/none", 1, 1); c.Verdict != verdict.Unproven {
		t.Errorf("%+v", c)
	}
}
