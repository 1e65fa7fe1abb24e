// Command tofu-plan-with-state-backup answers: what would change, and can we
// get back?
package main

import (
	_ "embed"
	"os"

	"edge-actions/internal/action"
	"edge-actions/internal/evidence"
)

//go:embed action.yml
var metadata []byte

func main() { os.Exit(action.Main(metadata, run, evidence.Record)) }
