package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/evidence"
	"edge-actions/internal/testing/jobtest"
)

func right(t *testing.T) *jobtest.Job {
	j := newJob(t)
	j.add("node-validate", "edge-1", good())
	j.write(filepath.Join(j.Home, "junk"), "hunter2")
	j.write(filepath.Join(j.Home, "other"), "* namespaces=\"git\" "+read(t, j.key+".pub"))
	return j.Job
}

func TestWrongInputs(t *testing.T) {
	jobtest.RefusesEach(t, right, []jobtest.Wrong{
		{Input: "ledger", Value: "ledger", Wanted: "an absolute path that outlives the job"},
		{Input: "allowed_signers", Value: "signers", Wanted: "an absolute path that outlives the job"},
		{Input: "allowed_signers", Value: "~/nowhere", Wanted: "the public keys that may sign the ledger"},
		{Input: "allowed_signers", Value: "~/junk", Wanted: "the public keys that may sign the ledger"},
		{Input: "allowed_signers", Value: "~/other", Wanted: "the public keys that may sign the ledger"},
		{Input: "expect", Value: "restic-restore-check", Wanted: "lines ACTION[/SUBJECT] MAX_AGE"},
		{Input: "expect", Value: "restic-restore-check 8 days", Wanted: "lines ACTION[/SUBJECT] MAX_AGE"},
		{Input: "waive", Value: "Node/x", Wanted: "lines ACTION[/SUBJECT]"},
		{Input: "max_percent_of_median", Value: "100", Wanted: "a whole number from 101"},
		{Input: "rto_slack", Value: "60", Wanted: "with its unit"},
		{Input: "max_skew", Value: "2h", Wanted: "a time from 0s to 1h0m0s"},
		{Input: "title", Value: "a\nb", Wanted: "one line of at most 100 bytes"},
		{Input: "title", Value: strings.Repeat("a", 101), Wanted: "one line of at most 100 bytes"},
		{Input: "output_dir", Value: "../pages", Wanted: "a directory in the checkout, or an absolute path"},
		{Input: "state_dir", Value: "state", Wanted: "an absolute path that outlives the job"},
		{Input: "comment_on", Value: "first", Wanted: "the number of a pull request or an issue"},
		{Input: "comment_status", Value: "maybe", Wanted: "one of true, false"},
	}, jobtest.Wrong{Input: "comment_url"}, jobtest.Wrong{Input: "comment_token_file"}) // package review tries these
}

func TestWrongInputsTogether(t *testing.T) {
	jobtest.RefusesTogether(t, right(t), map[string]string{"ledger": "x", "allowed_signers": "x", "expect": "x", "waive": "X", "rto_slack": "x", "title": "a\nb", "output_dir": "..", "comment_on": "x"})
}

// Without a ledger nothing is green, and what is missing is named.
func TestNoLedger(t *testing.T) {
	j := newJob(t)
	j.Env = nil
	r := j.Do()
	if r.Code != 1 || r.Outputs["failure_reason"] != "input-ledger" {
		t.Errorf("%d %v", r.Code, r.Outputs)
	}
	r.Says(evidence.DirVar, evidence.KeyVar, "input-allowed_signers")
	// The ledger and its signers may not come with the checkout.
	j.Env = []string{evidence.DirVar + "=" + filepath.Join(j.Workspace, "ledger"), evidence.KeyVar + "=" + filepath.Join(j.Workspace, "key")}
	must(t, os.WriteFile(filepath.Join(j.Workspace, "key.pub"), []byte(read(t, j.key+".pub")), 0o600))
	r = j.Do()
	r.Says("input-ledger", "input-allowed_signers", "which the runner deletes")
	if r.Code != 1 {
		t.Error("it is green")
	}
	// Set, and not there.
	j = newJob(t)
	r = j.Do()
	if r.Code != 1 || r.Outputs["verdict"] != "unproven" || r.Outputs["failure_reason"] != "ledger-read" {
		t.Errorf("%d %v", r.Code, r.Outputs)
	}
	if !strings.Contains(read(t, r.Outputs["html_path"]), "The ledger is not proven") {
		t.Error("the page does not say so")
	}
}
