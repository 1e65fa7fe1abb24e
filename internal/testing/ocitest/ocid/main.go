// Command ocid serves the double of OCI's API as a process of its own, for
// jobs whose steps are processes too: the world is in a file, so it outlives
// the server, and a command can set a real packet filter to what the rules let
// through.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:forbidigo // the entrance of a program is where the terminal belongs
}
