// Command backup-validate is the action of that name: do the recovery contracts
// hold today?
package main

import (
	_ "embed" // the action.yml below
	"os"

	"edge-actions/internal/action"
)

//go:embed action.yml
var metadata []byte

func main() { os.Exit(action.Main(metadata, run)) }
