// Command nixos-bootstrap is the action of that name: is it NixOS, reachable,
// with its key in place? With the argument "post" it is the action's last
// phase, which shuts what the step before it left open.
package main

import (
	_ "embed" // the action.yml below
	"os"

	"edge-actions/internal/action"
	"edge-actions/internal/evidence"
)

//go:embed action.yml
var metadata []byte

func main() {
	phase := run
	if len(os.Args) > 1 && os.Args[1] == "post" {
		phase = post
	}
	os.Exit(action.Main(metadata, phase, evidence.Record))
}
