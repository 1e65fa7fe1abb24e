package main

import (
	"testing"

	"edge-actions/internal/testing/jobtest"
)

func right(t *testing.T) *jobtest.Job { return newJob(t).Job }

func TestWrongInputs(t *testing.T) {
	jobtest.RefusesEach(t, right, append([]jobtest.Wrong{
		{Input: "nsg_ids", Value: "edge-ssh", Wanted: "OCIDs of network security groups"},
		{Input: "compartment_ids", Value: "ocid1.instance.oc1..x", Wanted: "OCIDs of compartments"},
		{Input: "instance_ids", Value: "edge-1", Wanted: "OCIDs of instances"},
		{Input: "instance_ids", Value: "", Wanted: "groups, compartments, instances or a handoff", Check: "input-nsg_ids"},
		{Input: "handoff_path", Value: "/nowhere/handoff.json", Wanted: "the handoff's sha256", Check: "input-handoff_sha256"},
		{Input: "handoff_sha256", Value: "abc", Wanted: "64 lower-case hex digits"},
		{Input: "handoff_signer", Value: "ssh-ed25519 x", Wanted: "the handoff that handoff_sha256 or handoff_signer is of", Check: "input-handoff_path"},
		{Input: "probe", Value: "yes", Wanted: "one of true, false"},
		{Input: "probe_timeout", Value: "1s", Wanted: "a time from 3s"},
		{Input: "poll", Value: "1", Wanted: "with its unit"},
		{Input: "waive", Value: "everything", Wanted: "some of foreign-doors"},
		{Input: "runner_dir", Value: "state", Wanted: "an absolute path that outlives the job"},
	}, jobtest.WrongCloud...))
}

func TestWrongInputsTogether(t *testing.T) {
	jobtest.RefusesTogether(t, right(t), map[string]string{"nsg_ids": "x", "probe": "x", "poll": "x", "waive": "x", "runner_dir": "x", "oci_auth": "x"})
}
