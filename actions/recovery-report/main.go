// Command recovery-report is the action of that name: what has been proven,
// when, and is it getting worse?
package main

import (
	_ "embed" // the action.yml below
	"os"

	"edge-actions/internal/action"
	"edge-actions/internal/evidence"
)

//go:embed action.yml
var metadata []byte

func main() { os.Exit(action.Main(metadata, run, evidence.Record)) }
