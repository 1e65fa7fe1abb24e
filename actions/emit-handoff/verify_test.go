package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/ocitest"
)

// newCloud has the job verify n nodes that are in a cloud, as its outputs have
// them.
func newCloud(j *job, n int) *ocitest.Server {
	j.t.Helper()
	var nodes []any
	s := ocitest.New(j.t, func(w *ocitest.World) {
		for _, v := range many(n) {
			v := v.(map[string]any)
			name := v["name"].(string)
			made := w.AddNode(name, ocitest.WithPrivateIP(v["private_ip"].(string)), ocitest.WithPublicIP(""))
			v["instance_id"], v["subnet_id"], v["region"] = made.InstanceID, made.SubnetID, "eu-frankfurt-1"
			v["volume_attachments"] = []any{map[string]any{
				"attachment_type": "paravirtualized", "device": "/dev/oracleoci/oraclevdb", "volume_id": w.AddVolume(made, name+"-data", "paravirtualized", "/dev/oracleoci/oraclevdb"), "is_read_only": false,
			}}
			nodes = append(nodes, v)
		}
	})
	j.outputsJSON(nodes)
	config, err := s.WriteConfig(j.runner)
	if err != nil {
		j.t.Fatal(err)
	}
	j.inputs["verify"], j.inputs["oci_config_file"], j.inputs["oci_endpoint"] = "oci", config, s.URL
	return s
}

func TestVerify(t *testing.T) {
	j := newJob(t)
	s := newCloud(j, 3)
	j.inputs["handoff_dir"] = filepath.Join(j.runner, "handoffs")
	r := j.do()
	if r.code != 0 || r.outputs["node_count"] != "3" || r.outputs["handoff_sha256"] == "" || !strings.Contains(r.log, "cloud-match: 30 facts of 3 nodes, in 7 calls") {
		t.Fatalf("exit code %d, %v\n%s", r.code, r.outputs, r.log)
	}
	if n := len(s.Requests()); n != 7 {
		t.Errorf("%d requests", n)
	}
	path := r.outputs["handoff_path"]
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	// What is wrong never leaves: the last good handoff stays, and no output
	// names it.
	s.Change(func(w *ocitest.World) {
		w.Instances[1].LifecycleState = "STOPPED"
		w.VolumeAttachments[2].IsReadOnly = true
	})
	j.inputs["state_serial"] = "8" // so it would be another document
	for what, dir := range map[string]string{"with a handoff_dir": j.inputs["handoff_dir"], "without": ""} {
		j.inputs["handoff_dir"] = dir
		j.write(filepath.Join(j.temp, "output"), "")
		r = j.do()
		if r.code != 1 || r.outputs["failure_reason"] != "instance-state" {
			t.Errorf("%s: exit code %d, %q\n%s", what, r.code, r.outputs["failure_reason"], r.log)
		}
		for _, want := range []string{`edge-1: instance-state`, `found   "STOPPED"`, `edge-2: instance-volumes`, `is_read_only "false"`, "Nothing was written"} {
			if !strings.Contains(r.log, want) {
				t.Errorf("%s: the log does not say %q:\n%s", what, want, r.log)
			}
		}
		for name, value := range r.outputs {
			if name != "report" && name != "failure_reason" && value != "" {
				t.Errorf("%s: the output %s is %q", what, name, value)
			}
		}
	}
	after, err := os.ReadFile(path)
	if err != nil || string(before) != string(after) {
		t.Errorf("the last handoff was changed: %v", err)
	}
	err = filepath.WalkDir(j.temp, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), "handoff.json") {
			t.Errorf("written all the same: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A cloud that can't be asked has proven nothing, and nothing is written.
func TestVerifyCannotTell(t *testing.T) {
	for name, tt := range map[string]struct {
		reason string
		fault  ocitest.Fault
	}{
		"forbidden":       {"oci-missing-or-forbidden", ocitest.Fault{Kind: ocitest.Fail, Times: -1, Status: 404, Code: "NotAuthorizedOrNotFound"}},
		"bad credentials": {"oci-credentials", ocitest.Fault{Kind: ocitest.Fail, Times: -1, Status: 401, Code: "NotAuthenticated"}},
	} {
		j := newJob(t)
		newCloud(j, 2).Inject(tt.fault)
		r := j.do()
		if r.code != 1 || r.outputs["failure_reason"] != tt.reason || r.outputs["handoff_path"] != "" || !strings.Contains(r.log, "emit-handoff: UNPROVEN") {
			t.Errorf("%s: exit code %d, %v\n%s", name, r.code, r.outputs, r.log)
		}
	}
}

// A node of another provider's can't be verified, and that is said.
func TestVerifyOthers(t *testing.T) {
	j := newJob(t)
	newCloud(j, 1)
	j.outputsJSON(many(1))
	r := j.do()
	if r.code != 1 || r.outputs["failure_reason"] != "instance-id" || !strings.Contains(r.log, `found   "i-0"`) {
		t.Errorf("exit code %d, %v\n%s", r.code, r.outputs, r.log)
	}
}

// Without verify nobody is asked, no credentials are read, and the report has
// nothing of it.
func TestVerifyNone(t *testing.T) {
	j := newJob(t)
	s := newCloud(j, 1)
	s.Change(func(w *ocitest.World) { w.Instances[0].LifecycleState = "STOPPED" })
	for _, name := range []string{"verify", "oci_config_file", "oci_endpoint"} {
		delete(j.inputs, name)
	}
	r := j.do()
	report, err := os.ReadFile(r.outputs["report"])
	if err != nil || r.code != 0 || len(s.Requests()) > 0 || strings.Contains(string(report), "cloud") {
		t.Errorf("exit code %d, %d requests, %v\n%s\n%s", r.code, len(s.Requests()), err, r.log, report)
	}
}

// The API key is masked even where it is refused.
func TestVerifyNoneWithAKey(t *testing.T) {
	j := newJob(t)
	j.outputsJSON(many(1))
	j.inputs["oci_key"] = "hunter2hunter2"
	r := j.do()
	if r.outputs["failure_reason"] != "input-oci_key" || !strings.Contains(r.log, "::add-mask::hunter2hunter2") || strings.Count(r.log, "hunter2") != 2 {
		t.Errorf("%v\n%s", r.outputs, r.log)
	}
}
