package tfstate

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/verdict"
)

// smallDisk mounts a file system of 256 KiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a full disk needs a mount, and a mount needs root: run ./scripts/test as root")
	}
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("small", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestFullDisk(t *testing.T) {
	for _, where := range []string{"local", "off"} {
		t.Run(where, func(t *testing.T) {
			f := newFixture(t)
			f.write(t, stateOf(1, 10, "l"))
			disk := smallDisk(t)
			if where == "local" {
				f.Local = Dir{filepath.Join(disk, "archives")}
			} else {
				f.Offsite = Dir{filepath.Join(disk, "archives")}
			}
			small := f.mustMake(t)
			f.write(t, stateOf(2, 60000, "l")) // packs to about a megabyte
			before, _ := os.ReadFile(f.state)
			_, err := f.Make(context.Background(), f.src, ForPlan)
			if verdict.Reason(err) != "backup-unproven" || !strings.Contains(err.Error(), "no space left on device") {
				t.Fatalf("got %v", err)
			}
			full := Dir{filepath.Join(disk, "archives")}
			entries, _ := os.ReadDir(full.Path)
			for _, e := range entries {
				if e.Name() != ".lock" && e.Name() != small.Manifest.Name {
					t.Errorf("%s was left on the full disk", e.Name())
				}
			}
			if now, _ := os.ReadFile(f.state); !bytes.Equal(now, before) {
				t.Error("the state was changed")
			}
			if err := f.Verify(context.Background(), small.Manifest.Name, small.Manifest.Archive.SHA256); err != nil {
				t.Errorf("the archive from before: %v", err)
			}
		})
	}
}
