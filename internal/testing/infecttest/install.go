package infecttest

import (
	_ "embed" // the doubles
	"os"
	"path/filepath"
	"testing"
)

//go:embed nixos-infect
var infect []byte

//go:embed nixos-anywhere
var anywhere []byte

// Install puts nixos-infect, for a host, and nixos-anywhere, for PATH, into a
// directory.
func Install(t testing.TB, dir string) {
	t.Helper()
	for name, text := range map[string][]byte{"nixos-infect": infect, "nixos-anywhere": anywhere} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			t.Fatalf("installing the double of %s: %v", name, err)
		}
	}
}

// Infect is the content of nixos-infect.
func Infect() []byte { return append([]byte(nil), infect...) }
