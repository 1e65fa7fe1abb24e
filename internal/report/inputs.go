package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/evidence"
	"edge-actions/internal/files"
	"edge-actions/internal/signature"
)

// Read reads the inputs of a report. What is wrong with them is recorded in in.
func Read(in *action.Inputs, a *action.Action, now time.Time) (Config, *Reading) {
	c := Config{
		Title: in.Text("title"), Now: now, Skew: in.Duration("max_skew", 0, time.Hour),
		Slower: float64(in.Int("max_percent_of_median", 101, 10000)) / 100, Slack: in.Duration("rto_slack", 0, 24*time.Hour),
	}
	if strings.ContainsFunc(c.Title, func(r rune) bool { return r < ' ' }) || len(c.Title) > 100 {
		in.Wrong("title", "one line of at most 100 bytes", fmt.Sprintf("%.120q", c.Title), "correct the input title")
	}
	for _, line := range in.Lines("expect") {
		if line == "none" {
			continue
		}
		e, err := ParseExpectation(line)
		if err != nil {
			in.Wrong("expect", "lines ACTION[/SUBJECT] MAX_AGE, such as restic-restore-check/edge-node 8d", err.Error(), "correct the input expect")
		}
		c.Expect = append(c.Expect, e)
	}
	for _, line := range in.Lines("waive") {
		n, err := ParseName(line)
		if err != nil {
			in.Wrong("waive", "lines ACTION[/SUBJECT]", err.Error(), "correct the input waive")
		}
		c.Waive = append(c.Waive, n)
	}
	return c, readLedger(in, a)
}

// readLedger reads where the ledger is. What a checkout brings along can be
// neither the ledger nor the list of those who may sign it.
func readLedger(in *action.Inputs, a *action.Action) *Reading {
	r := &Reading{Dir: in.RunnerPath("ledger"), StateDir: in.RunnerPath("state_dir")}
	if in.Text("ledger") == "" {
		r.Dir = lasting(in, a, "ledger", evidence.DirVar, a.Getenv(evidence.DirVar))
	}
	signers := in.RunnerPath("allowed_signers")
	if in.Text("allowed_signers") == "" {
		public := a.Getenv(evidence.KeyVar)
		if public != "" {
			public += ".pub"
		}
		signers = lasting(in, a, "allowed_signers", evidence.KeyVar, public)
	}
	if signers == "" {
		return r
	}
	const wanted = "a file with the public keys that may sign the ledger, in the form of allowed_signers or of a .pub file"
	text, err := os.ReadFile(signers)
	if err == nil {
		r.Signers, err = signature.ParseSigners(string(text), evidence.Namespace)
	}
	switch {
	case err != nil:
		in.Wrong("allowed_signers", wanted, fmt.Sprintf("%.300q", err.Error()), "correct the file or the input allowed_signers")
	case len(r.Signers) == 0:
		in.Wrong("allowed_signers", wanted, "none that is for "+evidence.Namespace, "list the public half of the runner's key")
	}
	return r
}

// lasting is a path from the runner's environment, for an input that is empty.
func lasting(in *action.Inputs, a *action.Action, input, variable, path string) string {
	if path == "" {
		in.Wrong(input, "a value, or "+variable+" in the runner's environment", "neither", "set "+variable+" on the runner, or the input "+input)
		return ""
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok && a.Getenv("HOME") != "" {
		path = filepath.Join(a.Getenv("HOME"), rest)
	}
	if err := a.CheckLasting(path); err != nil {
		in.Wrong(input, "an absolute path that outlives the job", fmt.Sprintf("%q, which %v", path, err), "correct "+variable+" on the runner, or set the input "+input)
		return ""
	}
	return filepath.Clean(path)
}

// ReadDir reads where the pages go: in the checkout, on the runner, or to a
// place that goes with the job.
func ReadDir(in *action.Inputs, a *action.Action) string {
	dir := in.Text("output_dir")
	if rest, ok := strings.CutPrefix(dir, "~/"); ok && a.Getenv("HOME") != "" {
		dir = filepath.Join(a.Getenv("HOME"), rest)
	}
	if dir == "" || filepath.IsAbs(dir) {
		return dir
	}
	path := filepath.Join(a.Workspace(), dir)
	if !files.Inside(a.Workspace(), path) {
		in.Wrong("output_dir", "a directory in the checkout, or an absolute path", fmt.Sprintf("%q", dir), "correct the input output_dir")
		return ""
	}
	return path
}
