// Command backup-validate is the action of that name: do the recovery contracts
// hold today?
package main

import (
	"context"
	_ "embed" // the action.yml below
	"os"

	"edge-actions/internal/action"
	"edge-actions/internal/agent"
	"edge-actions/internal/contracts"
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

// serve answers on a host.
func serve(ctx context.Context, q contracts.Request, logf func(string, ...any)) (contracts.Response, error) {
	return contracts.Serve(ctx, q, os.Environ(), logf), nil
}
