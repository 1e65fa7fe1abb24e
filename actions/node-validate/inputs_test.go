package main

import (
	"path/filepath"
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
		{Input: "kubeconfig_path", Value: "config", Wanted: "absolute path that outlives the job"},
		{Input: "kubeconfig_server", Value: "https://edge-1", Wanted: "without a port", Check: "input-kubeconfig_path"},
	}, jobtest.WrongWays...))
}

func TestWrongInputsTogether(t *testing.T) {
	jobtest.RefusesTogether(t, rightJob(t), map[string]string{
		"nodes": "edge-*", "max_parallel": "0", "ports": "x", "waive": "x", "user": "a b", "system_path": "x", "kubeconfig_path": "config", "public_port": "0",
	})
}

func TestKubeconfigIsOfOneNode(t *testing.T) {
	j := rightJob(t)
	j.Inputs["nodes"], j.Inputs["kubeconfig_path"], j.Inputs["public_address"] = "edge-1 edge-2", filepath.Join(j.Home, "config"), "203.0.113.1"
	j.Do().Says("input-kubeconfig_path", "input-public_address", "2 nodes")
}
