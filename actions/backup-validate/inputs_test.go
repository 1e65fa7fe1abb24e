package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/contracts"
	"edge-actions/internal/testing/jobtest"
)

// right is a job with a contract that is looked at on a host.
func right(t *testing.T) *jobtest.Job {
	t.Helper()
	j := without(t)
	j.write(strings.Replace(snapshots, "    max_age", "    host: edge-1\n    max_age", 1))
	return j.Job
}

func TestWrongInputs(t *testing.T) {
	jobtest.RefusesEach(t, right, append([]jobtest.Wrong{
		{Input: "contracts", Value: "nowhere.yaml", Wanted: "a file in the checkout"},
		{Input: "state_dir", Value: "checks", Wanted: "an absolute path that outlives the job"},
		{Input: "timeout", Value: "5", Wanted: "with its unit"},
		{Input: "max_parallel", Value: "0", Wanted: "a whole number from 1"},
	}, jobtest.WrongRoads()...))
}

func TestWrongInputsTogether(t *testing.T) {
	jobtest.RefusesTogether(t, right(t), map[string]string{"contracts": "x", "state_dir": "x", "timeout": "x", "agent_dir": "x", "max_parallel": "0", "user": "a b"})
}

// The contracts of the README are what the action reads.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(text), "<!-- contracts -->\n```yaml\n")
	block, _, end := strings.Cut(rest, "```\n<!-- /contracts -->")
	if !ok || !end {
		t.Fatal("no contracts in the README")
	}
	f, err := contracts.Parse([]byte(block), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	must(t, err)
	if len(f.Contracts) != 4 || len(f.Waivers) != 1 || !slices.Equal(f.Hosts(), []string{"forgejo-pi", "edge-1"}) {
		t.Errorf("%+v", f)
	}
}
