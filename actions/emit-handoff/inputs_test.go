package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/cloud"
	"edge-actions/internal/testing/jobtest"

	"github.com/google/go-cmp/cmp"
)

// Every input has a value that is wrong, and the message names the input and
// the way out.
func TestWrongInputs(t *testing.T) {
	tried := map[string]bool{}
	type wrong struct {
		input, value, wanted, do string
		prepare                  func(*job)
		check                    string // "input-" and the input's name if empty
	}
	all := []wrong{
		{"path", "nowhere", "a directory in the checkout", "check it out before this step", nil, ""},
		{"path", "/", "a directory in the checkout", "correct the input path", nil, ""},
		{"workspace", "../edge", "letters, digits", "correct the input workspace", nil, ""},
		{"data_dir", ".terraform", "an absolute path that outlives the job", "put it elsewhere on the runner", nil, ""},
		{"tofu_path", "no-such-tofu", "the tofu binary on PATH", "install OpenTofu before this step", func(j *job) { delete(j.inputs, "outputs_json") }, ""},
		{"tofu_path", "./tofu", "the tofu binary on PATH", "set tofu_path", func(j *job) {
			delete(j.inputs, "outputs_json")
			// It is there, but each tool would take the path from another directory.
			j.t.Chdir(j.workspace)
			if err := os.Chmod(j.write("tofu", "#!/bin/sh\necho '{}'\n"), 0o700); err != nil {
				j.t.Fatal(err)
			}
		}, ""},
		{"outputs_json", "nowhere.json", "a file with what `tofu output -json` printed", "leave outputs_json empty", nil, ""},
		{"outputs_json", "/dev/null", "a file with what `tofu output -json` printed", "leave outputs_json empty", nil, ""},
		{"outputs_json", ".", "a file with what `tofu output -json` printed", "write it in an earlier step", nil, ""},
		{"output", "edge nodes", "the name of an output", "for example edge_nodes", nil, ""},
		{"mapping", "nodes: {form: x}", "only from, fields in nodes", "correct the input mapping", nil, ""},
		{"state_lineage", "", "Lineage of the state", "set the input state_lineage", nil, ""},
		{"state_lineage", "a b", "the state's lineage", "pass the output of the step that applied the stack", nil, ""},
		{"state_serial", "", "Serial of the state", "set the input state_serial", nil, ""},
		{"state_serial", "seven", "a whole number", "correct the input state_serial", nil, ""},
		{"state_serial", "0", "a whole number from 1", "correct the input state_serial", nil, ""},
		{"state_serial", "-1", "a whole number from 1", "correct the input state_serial", nil, ""},
		{"signing_key", "key", "an absolute path that outlives the job", "put it elsewhere on the runner", nil, ""},
		{"signing_key", "~/nowhere", "a file that only the runner's user can read", "correct the file", nil, ""},
		{"signing_key", "~/open", "a file that only the runner's user can read", "correct the file", func(j *job) {
			path := j.write(filepath.Join(j.runner, "open"), "hunter2")
			if err := os.Chmod(path, 0o644); err != nil {
				j.t.Fatal(err)
			}
		}, ""},
		{"signing_key", "~/junk", "a private SSH key without a passphrase", "not of the .pub file", func(j *job) { j.write(filepath.Join(j.runner, "junk"), "hunter2") }, ""},
		{"handoff_dir", "handoffs", "an absolute path that outlives the job", "put it elsewhere on the runner", nil, ""},
		{"handoff_dir", "~/file", "a directory that only the runner's user can write to", "correct the directory", func(j *job) { j.write(filepath.Join(j.runner, "file"), "") }, ""},
		{"handoff_dir", "~/open", "a directory that only the runner's user can write to", "chmod go-w", func(j *job) {
			path := filepath.Join(j.runner, "open")
			if err := os.Mkdir(path, 0o700); err != nil {
				j.t.Fatal(err)
			}
			if err := os.Chmod(path, 0o777); err != nil {
				j.t.Fatal(err)
			}
		}, ""},
		{"verify", "maybe", "one of none, oci", "correct the input verify", nil, ""},
		{"deliver", "", "the repository for which", "set the input deliver", delivers, ""},
		{"deliver", "runtime", "a repository as owner/name", "correct the input deliver", delivers, ""},
		{"deliver_url", "http://forge.example.org", "https://, or http:// on loopback", "correct the input deliver_url", delivers, ""},
		{"deliver_url", "https://hunter2@forge.example.org", "the address of a forge", "correct the input deliver_url", delivers, ""},
		{"deliver_token_file", "", "a token of the forge", "a file of mode 0600", delivers, ""},
		{"deliver_token_file", "~/nowhere", "a file that only the runner's user can read", "correct the file", delivers, ""},
		{"deliver_branch", "-main", "the name of a branch", "correct the input deliver_branch", delivers, ""},
		{"deliver_path", "../handoff.json", "the path of a .json file", "correct the input deliver_path", delivers, ""},
		{"deliver_path", "handoff", "the path of a .json file", "correct the input deliver_path", delivers, ""},
		{"deliver_workflow", ".forgejo/workflows/deploy.yml", "the name of a workflow's file", "correct the input deliver_workflow", delivers, ""},
		{"deliver_wait", "60", "with its unit", "correct the input deliver_wait", delivers, ""},
		{"deliver_again", "a week", "with its unit", "correct the input deliver_again", delivers, ""},
		{"deliver_status", "yes", "one of true, false", "correct the input deliver_status", delivers, ""},
		{"deliver_dir", "deliveries", "an absolute path that outlives the job", "put it elsewhere on the runner", delivers, ""},
		{"signing_key", "", "a handoff that is delivered is signed", "ssh-keygen -t ed25519", delivers, ""},
	}
	// With verify: none nobody is asked, and so nothing of it may be set.
	for _, name := range cloud.Inputs() {
		value := "x"
		if name == "oci_auth" {
			value = "instance_principal"
		}
		all = append(all, wrong{name, value, "nothing without verify: oci", "set verify: oci, or take it away", nil, ""})
	}
	for _, w := range jobtest.WrongCloud {
		all = append(all, wrong{w.Input, w.Value, w.Wanted, "", func(j *job) { newCloud(j, 1) }, w.Check})
	}
	for _, tt := range all {
		t.Run(tt.input+" "+tt.value, func(t *testing.T) {
			tried[tt.input] = true
			j := newJob(t)
			j.outputsJSON(many(1))
			j.inputs[tt.input] = tt.value
			if tt.prepare != nil {
				tt.prepare(j)
				j.inputs[tt.input] = tt.value
			}
			id := "input-" + tt.input
			if tt.check != "" {
				id = tt.check
			}
			r := j.do()
			if r.code != 1 || r.outputs["failure_reason"] != id {
				t.Errorf("exit code %d, failure_reason %q", r.code, r.outputs["failure_reason"])
			}
			for _, want := range []string{id, tt.wanted, tt.do} {
				if !strings.Contains(r.log, want) {
					t.Errorf("the log does not say %q:\n%s", want, r.log)
				}
			}
			if r.outputs["handoff_path"] != "" || r.outputs["matrix"] != "" || r.outputs["report"] == "" || strings.Contains(r.log, "hunter2") {
				t.Errorf("wrong outputs or a secret: %v\n%s", r.outputs, r.log)
			}
		})
	}
	meta, err := action.ParseMetadata(metadata)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(meta.Inputs)), slices.Sorted(maps.Keys(tried))); diff != "" {
		t.Errorf("inputs without a wrong value here (-action.yml +tried):\n%s", diff)
	}
}

// delivers has the job deliver to a forge that nobody asks.
func delivers(j *job) {
	j.write(filepath.Join(j.runner, "token"), "0123456789abcdef0123456789abcdef01234567")
	maps.Copy(j.inputs, map[string]string{"deliver": "example/runtime", "deliver_url": "https://forge.example.org", "deliver_token_file": "~/token", "signing_key": "~/key"})
	j.write(filepath.Join(j.runner, "key"), "hunter2")
}

// All that is wrong with the inputs is said at once.
func TestWrongInputsTogether(t *testing.T) {
	j := newJob(t)
	maps.Copy(j.inputs, map[string]string{
		"path": "nowhere", "workspace": "a/b", "data_dir": "x", "output": "1st", "mapping": "x: y", "state_lineage": "", "state_serial": "x", "signing_key": "x", "handoff_dir": "x", "verify": "x",
	})
	r := j.do()
	for name := range j.inputs {
		if !strings.Contains(r.log, "input-"+name) {
			t.Errorf("nothing about %s:\n%s", name, r.log)
		}
	}
}

// The metadata, the step's environment and the code name the same inputs, and
// each is read.
func TestEveryInputIsRead(t *testing.T) {
	meta, err := action.ParseMetadata(metadata)
	if err != nil {
		t.Fatal(err)
	}
	j := newJob(t)
	j.outputsJSON(many(1))
	r := j.do()
	for name := range meta.Inputs {
		if !r.read[name] {
			t.Errorf("input %s is never read", name)
		}
		if line := fmt.Sprintf("        INPUT_%s: ${{ inputs.%s }}\n", strings.ToUpper(name), name); !strings.Contains(string(metadata), line) {
			t.Errorf("action.yml does not pass the input %s on", name)
		}
	}
	for name, out := range meta.Outputs {
		if _, set := r.outputs[name]; !set {
			t.Errorf("output %s is never set", name)
		}
		if want := "${{ steps.run.outputs." + name + " }}"; out.Value != want {
			t.Errorf("output %s is %q, wanted %q", name, out.Value, want)
		}
	}
}
