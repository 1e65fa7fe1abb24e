// Command tofu-state-restore answers: can the state come back, and does it
// match the cloud?
package main

import (
	_ "embed"
	"os"

	"edge-actions/internal/action"
	"edge-actions/internal/evidence"
	"edge-actions/internal/stack"
)

//go:embed action.yml
var metadata []byte

func main() {
	if len(os.Args) == 3 && os.Args[1] == stack.SuperviseArg {
		os.Exit(stack.Supervise(os.Args[2]))
	}
	os.Exit(action.Main(metadata, run, evidence.Record))
}
