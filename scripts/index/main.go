// Command index keeps action-index.yaml and the tables in the actions'
// READMEs equal to the action.yml files, and holds those to the rules that
// work on every runner.
//
//	go run ./scripts/index          writes what has changed
//	go run ./scripts/index -check   fails if anything would change
//
// Both hold CHANGELOG.md against what changed for a workflow since the last
// release, whose inputs and outputs are in released.yaml:
//
//	go run ./scripts/index -release 1.2.3   makes the actions as they are those
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	check := flag.Bool("check", false, "write nothing, fail if anything is out of date")
	version := flag.String("release", "", "keep the inputs and outputs as those of this version")
	flag.Parse()
	err := error(nil)
	if *version != "" {
		err = release(".", *version)
	}
	if err == nil {
		err = run(".", *check)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
