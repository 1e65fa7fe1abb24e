package restic

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A target that is too small: the summary counts all files as restored.
func TestRestoreToAFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("a full disk needs a mount, and a mount needs root: run ./scripts/test as root")
	}
	p := newRepository(t)
	big := make([]byte, 3<<20)
	rand.Read(big)
	id := p.backup("data", map[string]string{"big": string(big), "small": "x"})
	small := filepath.Join(p.dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("small", small, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })
	got, err := p.client().Restore(t.Context(), id, filepath.Join(small, "out"), RestoreOptions{Verify: true})
	refused(t, err, Failed, "no space left on device")
	if got.Errors == 0 || len(got.Messages) == 0 || !strings.Contains(got.Messages[0].Text, "no space left") || got.Messages[0].During != "restore" {
		t.Errorf("%+v", got)
	}
}
