package main

import (
	"testing"

	"edge-actions/internal/testing/jobtest"
)

func right(t *testing.T) *jobtest.Job { return without(t).Job }

// rightOnHost restores on a host.
func rightOnHost(t *testing.T) *jobtest.Job {
	j := without(t).Job
	j.Inputs["run_on"], j.Inputs["tailnet"] = "edge-1", "off"
	return j
}

// here are wrong values of what a restore on the runner reads.
func here() []jobtest.Wrong {
	return []jobtest.Wrong{
		{Input: "run_on", Value: "edge 1", Wanted: "the name of a host"},
		{Input: "run_as", Value: "root", Wanted: "the name of a user on the host run_on"},
		{Input: "repository", Value: "", Wanted: "both or neither"},
		{Input: "repository_file", Value: "/nowhere", Wanted: "a file that only the runner's user can read"},
		{Input: "repository_id", Value: "0f2c", Wanted: "64 hex digits"},
		{Input: "password_file", Value: "", Wanted: "a file with the repository's password"},
		{Input: "password_file", Value: "/nowhere", Wanted: "a file that only the runner's user can read"},
		{Input: "cacert", Value: "ca.pem", Wanted: "an absolute path", Check: "input-repository"},
		{Input: "restic_options", Value: "no option", Wanted: "backend.name=value", Check: "input-repository"},
		{Input: "pass_environment", Value: "SECRET_*", Wanted: "some of AWS_*"},
		{Input: "host", Value: "forgejo pi", Wanted: "the host name of the snapshot"},
		{Input: "paths", Value: "srv", Wanted: "absolute paths"},
		{Input: "paths", Value: "/srv/*", Wanted: "without patterns"},
		{Input: "snapshot_id", Value: "latest", Wanted: "a whole id"},
		{Input: "max_age", Value: "a day", Wanted: "with its unit"},
		{Input: "max_skew", Value: "2h", Wanted: "a time from"},
		{Input: "min_files", Value: "x", Wanted: "a whole number"},
		{Input: "min_mib", Value: "-1", Wanted: "a whole number"},
		{Input: "min_percent_of_median", Value: "101", Wanted: "a whole number from 1 to 100"},
		{Input: "include", Value: "/etc", Wanted: "paths below one of paths"},
		{Input: "scratch_dir", Value: "scratch", Wanted: "an absolute path that outlives the job"},
		{Input: "allow_tmpfs", Value: "yes", Wanted: "one of true, false"},
		{Input: "limit_download_kib", Value: "0", Wanted: "a whole number from 1"},
		{Input: "assertions", Value: "nowhere.yaml", Wanted: "a file in the checkout"},
		{Input: "timeout", Value: "2", Wanted: "with its unit"},
		{Input: "waive", Value: "repository-id", Wanted: "some of snapshot-age"},
		{Input: "restic_path", Value: "/nowhere/restic", Wanted: "restic", Check: "restic-missing"},
		{Input: "restic_path", Value: "restic-pi", Wanted: "beside a wrapper", Check: "input-repository"},
	}
}

func TestWrongInputs(t *testing.T) { jobtest.RefusesEach(t, right, here(), jobtest.WrongRoads()...) }

func TestWrongInputsOnAHost(t *testing.T) {
	jobtest.RefusesEach(t, rightOnHost, append([]jobtest.Wrong{
		{Input: "run_as", Value: "a b", Wanted: "the name of a user on the host run_on"},
		{Input: "password_file", Value: "key", Wanted: "an absolute path on the host"},
		{Input: "repository_file", Value: "../location", Wanted: "an absolute path on the host"},
		{Input: "scratch_dir", Value: "scratch", Wanted: "an absolute path on the host"},
	}, jobtest.WrongRoads()...), here()...)
}

func TestWrongInputsTogether(t *testing.T) {
	jobtest.RefusesTogether(t, right(t), map[string]string{"repository_id": "x", "host": "a b", "paths": "x", "max_age": "x", "scratch_dir": "x", "waive": "x"})
}
