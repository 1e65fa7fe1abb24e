// Package colmenatest gives tests a colmena and a nixos-rebuild to find on
// PATH, and hives for them. Both are doubles, made by package double, which
// says whose contracts they follow and what they leave out; what they start is
// real: the machine's nix-bin and ssh, and the hosts of package lab.
package colmenatest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"edge-actions/internal/testing/realtools"
)

// Install returns a directory for PATH with colmena and nixos-rebuild. They
// are linked once and again only when their source has changed.
func Install(t testing.TB) string {
	t.Helper()
	dir, err := install()
	if err != nil {
		t.Fatalf("building the doubles of colmena and nixos-rebuild: %v", err)
	}
	return dir
}

func install() (string, error) {
	source, err := exec.Command("go", "list", "-f", "{{.Dir}}", "edge-actions/internal/testing/colmenatest/colmena").Output()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	// Of a name of its own: another checkout's doubles are others.
	dir := filepath.Join(cache, "edge-actions", fmt.Sprintf("colmenatest-%x", sha256.Sum256(source))[:20])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	// go build leaves a binary alone that is of this source already.
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, "colmena"), "edge-actions/internal/testing/colmenatest/colmena")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	link := filepath.Join(dir, "nixos-rebuild")
	if to, err := os.Readlink(link); err == nil && to == "colmena" {
		return dir, nil
	}
	return dir, os.Symlink("colmena", link)
}

// Home returns a home directory whose nix.conf lets Nix build on this machine
// as a test does: as root, without users for builds, without a network. What
// colmena is given with --nix-option does not reach nix-copy-closure; this
// does.
func Home(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"nix-instantiate", "nix-store", "nix-copy-closure"} {
		realtools.Path(t, name)
	}
	home := t.TempDir()
	dir := filepath.Join(home, ".config", "nix")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nix.conf"), []byte("sandbox = false\nbuild-users-group =\nsubstituters =\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return home
}
