// Command doctor.d says what this machine needs to be a runner for the actions
// that the given workflows use, one line each, and how to mend what is not
// there. scripts/doctor starts it; see there.
//
// What an action needs is asked of the code that the action itself asks, with
// the inputs that the workflow gives: the same search, the same version
// constraints, the same words. Nothing is sent anywhere, apart from one question
// for the time to the server that is named.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"edge-actions/scripts/workflows"
)

const usage = `Usage: scripts/doctor [--var NAME=VALUE]... [--var-file FILE] [--server URL] [WORKFLOW...]

What this machine needs for the actions of this suite that the workflows use.
Without a WORKFLOW: all in .forgejo/workflows and .github/workflows.

  --var NAME=VALUE   the value of a variable of the repository (vars.NAME) or of
                     an input of the workflow; empty if it is not set there
  --var-file FILE    such lines, # begins a comment
  --server URL       whose clock this one is held against; without it that of
                     GITHUB_SERVER_URL

Run it as the runner's user and with the runner's environment, best as a step.
Exit code: 0 all is there, 1 something is not or can't be told, 2 a wrong call.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(realMain(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// realMain is main with its effects passed in.
func realMain(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	d := &doctor{environ: os.Environ(), vars: map[string]string{}, now: time.Now()}
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	flags.StringVar(&d.root, "root", ".", "")
	flags.BoolVar(&d.released, "released", false, "")
	flags.StringVar(&d.server, "server", os.Getenv("GITHUB_SERVER_URL"), "")
	flags.Func("var", "", d.set)
	flags.Func("var-file", "", d.setAll)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	var err error
	if d.dir, err = os.Getwd(); err == nil {
		err = d.read(flags.Args())
	}
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 2
	}
	findings := d.look(ctx)
	return show(stdout, findings, d.who())
}

// set takes NAME=VALUE.
func (d *doctor) set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || strings.TrimSpace(name) == "" {
		return fmt.Errorf("wanted NAME=VALUE, found %q", text)
	}
	d.vars[strings.ToUpper(strings.TrimSpace(name))] = value // a forge's variables have no case
	return nil
}

func (d *doctor) setAll(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := d.set(line); err != nil {
			return fmt.Errorf("%s, line %d: %w", path, n, err)
		}
	}
	return lines.Err()
}

// read reads the workflows. None is a wrong call: nothing would be missing.
func (d *doctor) read(paths []string) error {
	if len(paths) == 0 {
		var err error
		if paths, err = workflows.Find(filepath.Join(".forgejo", "workflows"), filepath.Join(".github", "workflows")); err != nil {
			return err
		}
		if len(paths) == 0 {
			return fmt.Errorf("wanted workflows in .forgejo/workflows or .github/workflows of %s, found none; name some", d.dir)
		}
	}
	for _, path := range paths {
		w, err := workflows.Read(path)
		if err != nil {
			return err
		}
		d.workflows = append(d.workflows, w)
	}
	return d.collect()
}
