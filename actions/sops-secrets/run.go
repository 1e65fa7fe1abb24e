package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"edge-actions/internal/action"
	"edge-actions/internal/sopsx"
	"edge-actions/internal/verdict"
)

func run(ctx context.Context, a *action.Action) error {
	c, err := parse(a)
	if err != nil {
		return err
	}
	if err := sweep(ctx, a, c.mode == modeSweep); err != nil || c.mode == modeSweep {
		return err
	}
	a.Report.Subject = c.path
	file, err := sopsx.Read(c.data, c.format)
	if err != nil {
		return err
	}
	a.Report.Prove("sops-file", fmt.Sprintf("a file that sops encrypted, as %s", c.format), fmt.Sprintf("one with %d values", len(file.Entries())))
	for name, words := range map[string][]string{"names": file.Names(), "recipients": file.Recipients()} {
		if text := list(words); len(text) <= maxWords {
			a.SetOutput(name, text)
		} else {
			a.Logf("The output %s is left out: it has %d bytes, more than %d.", name, len(text), maxWords)
		}
	}
	checks := file.Judge(c.want)
	a.Report.Add(checks...)
	if verdict.Of(checks) != verdict.Proven || c.mode == modeCheck {
		return nil // red by these checks, or done
	}
	secrets, err := file.Decrypt(c.identities)
	if err != nil {
		return err
	}
	a.Report.Prove("sops-key", "an identity that opens the file", "one")
	a.Report.Prove("sops-mac", "a file as sops wrote it", "its mac is of these values")
	return write(ctx, a, c, secrets)
}

// sweep removes what earlier jobs left, and what this one did if own is set.
func sweep(ctx context.Context, a *action.Action, own bool) error {
	wanted := "no secret files of jobs that are over"
	if own {
		wanted = "no secret files of this job, nor of jobs that are over"
	}
	removed, left, err := a.SweepSecretFiles(ctx, own)
	if err != nil {
		return verdict.CannotTell("secrets-swept", wanted, err, "look at RUNNER_TEMP and at ~/.local/state/edge-actions/secret-files, then run it again")
	}
	a.Report.Prove("secrets-swept", wanted, fmt.Sprintf("none; %d directories removed, %d left to other jobs", removed, left))
	return nil
}

// write puts the picked values into files. Until all of them are there, none
// is: whatever goes wrong takes the directory away.
func write(ctx context.Context, a *action.Action, c config, secrets *sopsx.Secrets) (err error) {
	wanted := fmt.Sprintf("%d files, mode 0600, below RUNNER_TEMP", len(c.picks))
	values := make([][]byte, len(c.picks))
	for i, p := range c.picks {
		if values[i], err = secrets.Value(p.name); err != nil {
			return err
		}
		a.Mask(maskable(values[i]))
	}
	cannot := func(err error) error {
		return verdict.CannotTell("written", wanted, err, "look at the space and the modes in RUNNER_TEMP, then run it again")
	}
	dir, err := a.KeepSecretFiles(ctx, c.keepFor)
	if err != nil {
		return cannot(err)
	}
	defer func() {
		if closeErr := dir.Close(); closeErr != nil {
			err = errors.Join(err, cannot(closeErr))
		}
	}()
	paths := map[string]string{}
	for i, p := range c.picks {
		if err := ctx.Err(); err != nil {
			return cannot(err)
		}
		path, err := dir.Write(p.file, values[i])
		if err != nil {
			return cannot(err)
		}
		paths[p.given] = path
	}
	if err := dir.Keep(); err != nil {
		return cannot(err)
	}
	a.Report.Prove("written", wanted, "in "+dir.Dir)
	a.SetOutput("dir", dir.Dir)
	a.SetOutput("paths", list(paths))
	if len(c.picks) == 1 {
		a.SetOutput("path", paths[c.picks[0].given])
	}
	return nil
}

// maxWords is how much of the file's own words goes into an output. Runners
// lose lines of 64 KiB, and a key of a file may be as long.
const maxWords = 48 << 10

// list is JSON. What a runner might take for an expression is escaped in it:
// the names are the file's.
func list(v any) string {
	data, _ := json.MarshalIndent(v, "", " ") // text and lists of text can't fail
	return strings.ReplaceAll(string(data), "${{", `\u0024{{`)
}

// maxMask is the length from which a line is masked in pieces. Runners break
// or drop lines of 64 KiB, and a mask that is broken shows what it was to hide.
const maxMask = 4 << 10

// maskable breaks the long lines of a secret.
func maskable(secret []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(secret) {
		for len(line) > maxMask {
			b.Write(line[:maxMask])
			b.WriteByte('\n')
			line = line[maxMask:]
		}
		b.Write(line)
	}
	return b.String()
}
