package main

import (
	"testing"

	"edge-actions/internal/testing/jobtest"
)

func rightJob(t *testing.T) *jobtest.Job {
	t.Helper()
	j := newJob(t)
	j.Inputs["nodes"] = "edge-1"
	return j.Job
}

func TestWrongInputs(t *testing.T) {
	jobtest.RefusesEach(t, rightJob, append([]jobtest.Wrong{
		{Input: "system_path", Value: "/run/current-system", Wanted: "system_path of colmena-deploy"},
		{Input: "generation", Value: "first", Wanted: "a whole number"},
		{Input: "public_address", Value: "edge-1.example.org", Wanted: "give the address, not a name"},
		{Input: "age_key_path", Value: "key.txt", Wanted: "the absolute path of a file in a directory"},
		{Input: "age_key_path", Value: "/var/lib/*/key.txt", Wanted: "sops.age.keyFile"},
		{Input: "public_port", Value: "70000", Wanted: "from 1 to 65535"},
		{Input: "shutdown_timeout", Value: "5", Wanted: "with its unit"},
		{Input: "boot_timeout", Value: "24h", Wanted: "from 1s to 2h"},
		{Input: "ready_timeout", Value: "0s", Wanted: "from 1s to 2h"},
		{Input: "stable_for", Value: "100ms", Wanted: "from 1s to 1h"},
	}, jobtest.WrongWays...))
}

func TestWrongInputsTogether(t *testing.T) {
	jobtest.RefusesTogether(t, rightJob(t), map[string]string{
		"nodes": "edge-*", "max_parallel": "0", "ports": "x", "waive": "x", "user": "a b", "system_path": "x", "boot_timeout": "x", "public_port": "0",
	})
}
