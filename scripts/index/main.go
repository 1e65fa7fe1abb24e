// Command index keeps action-index.yaml and the tables in the actions'
// READMEs equal to the action.yml files, and holds those to the rules that
// work on every runner.
//
//	go run ./scripts/index          writes what has changed
//	go run ./scripts/index -check   fails if anything would change
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	check := flag.Bool("check", false, "write nothing, fail if anything is out of date")
	flag.Parse()
	if err := run(".", *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
