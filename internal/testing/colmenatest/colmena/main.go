// Command colmena is a double of colmena, and of nixos-rebuild when it is
// called by that name; see package double.
package main

import (
	"os"
	"path/filepath"

	"edge-actions/internal/testing/colmenatest/double"
)

func main() {
	p := double.Program{Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
	os.Exit(p.Main(filepath.Base(os.Args[0]), os.Args[1:]))
}
