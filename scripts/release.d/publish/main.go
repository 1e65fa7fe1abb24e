// Command publish puts a release that was built and signed into the forge. It
// can be ended at any moment and run again: what is there is compared and not
// sent again, and the list is sent last, so that nobody who looks for the
// release finds a part of it. See scripts/release.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"edge-actions/internal/forge"
)

// tokenVariable has the token: an argument could be seen in the list of
// processes.
const tokenVariable = "EDGE_ACTIONS_RELEASE_TOKEN"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := publication{logf: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }}
	var url, repository string
	// The defaults are those of a job that runs for the tag.
	flag.StringVar(&p.dir, "dir", "", "directory of the release")
	flag.StringVar(&p.changelog, "changelog", "CHANGELOG.md", "change log, whose part of this version is shown with the release")
	flag.StringVar(&p.tag, "tag", os.Getenv("GITHUB_REF_NAME"), "tag of the release")
	flag.StringVar(&p.commit, "commit", os.Getenv("GITHUB_SHA"), "commit that the tag has to be of")
	flag.StringVar(&url, "forge", os.Getenv("GITHUB_SERVER_URL"), "address of the forge")
	flag.StringVar(&repository, "repository", os.Getenv("GITHUB_REPOSITORY"), "owner/name")
	flag.Parse()
	if err := realMain(ctx, &p, url, repository); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func realMain(ctx context.Context, p *publication, url, repository string) error {
	c, err := forge.New(url, os.Getenv(tokenVariable), forge.Options{Logf: p.logf})
	if err != nil {
		return err
	}
	if p.repo, err = open(c, repository); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	return p.run(ctx)
}
