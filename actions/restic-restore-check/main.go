// Command restic-restore-check is the action of that name: do the bytes come
// back, are they right, and how long did it take?
package main

import (
	_ "embed" // the action.yml below
	"os"

	"edge-actions/internal/action"
	"edge-actions/internal/agent"
	"edge-actions/internal/evidence"
)

//go:embed action.yml
var metadata []byte

func main() {
	if agent.Called(os.Args) {
		os.Exit(agent.Serve(serve))
	}
	os.Exit(action.Main(metadata, run, evidence.Record))
}
