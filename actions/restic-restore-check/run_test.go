package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"edge-actions/internal/testing/restictest"
)

func TestRehearsal(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.backup()
	r := j.Do()
	r.Want("")
	if r.Code != 0 || r.Outputs["verdict"] != "proven" || len(r.Outputs["snapshot_id"]) != 64 || r.Outputs["rto_seconds"] == "" {
		t.Fatalf("%d %v\n%s", r.Code, r.Outputs, r.Log)
	}
	if n, err := strconv.Atoi(r.Outputs["restored_bytes"]); err != nil || n != 1002*len(secret) {
		t.Errorf("%s bytes, want %d", r.Outputs["restored_bytes"], 1002*len(secret))
	}
	if r.Outputs["restored_whole"] != "true" || r.Outputs["host"] != j.Inputs["host"] || r.Outputs["repository_id"] != j.Inputs["repository_id"] || !strings.Contains(r.Outputs["paths"], strconv.Quote(j.data)) {
		t.Errorf("what it is of: %v", r.Outputs)
	}
	j.clean(r)
	if r.Outputs["rto_whole_estimate_seconds"] != "" {
		t.Error("an estimate for what was measured")
	}
	// A part, with an estimate for the whole.
	j.Inputs["include"] = filepath.Join(j.data, "data")
	r = j.Do()
	r.Want("")
	if r.Says("an ESTIMATE for the whole snapshot"); r.Outputs["restored_whole"] != "false" {
		t.Errorf("a part is called the whole: %v", r.Outputs)
	}
	if r.Outputs["rto_whole_estimate_seconds"] == "" {
		t.Errorf("%v", r.Outputs)
	}
	j.clean(r)
}

// What came back is held against what the operator knows of it.
func TestAssertions(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.backup()
	file := func(text string) {
		write(t, filepath.Join(j.Workspace, "recovery.yaml"), strings.ReplaceAll(text, "DATA", j.data))
	}
	j.Inputs["assertions"] = "recovery.yaml"
	file("assertions:\n  - name: configuration\n    file: {path: DATA/app.conf, min_size: 10}\n")
	r := j.Do()
	r.Want("")
	j.clean(r)
	file("assertions:\n  - name: database\n    sqlite: {path: DATA/data/one}\n  - name: configuration\n    file: {path: DATA/none.conf}\n")
	r = j.Do()
	if r.Code != 1 || len(r.Not()) < 2 {
		t.Errorf("%v\n%s", r.Not(), r.Log)
	}
	j.clean(r)
	file("assertions:\n  - name: x\n    mystery: {}\n")
	r = j.Do()
	if r.Outputs["failure_reason"] != "input-assertions" {
		t.Errorf("%v\n%s", r.Outputs, r.Log)
	}
}

// Every case in which a plain restic says that all is well, or picks another
// snapshot.
func TestFalseGreens(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(*job)
		want []string
		says []string
	}{
		"an empty repository":     {func(*job) {}, []string{"snapshot=unproven"}, []string{"no snapshot at all"}},
		"another host's is newer": {func(j *job) { j.backup(); j.restic("backup", "--host", "edge-1", j.data) }, nil, []string{"forgejo-pi"}},
		"only another host's":     {func(j *job) { j.restic("backup", "--host", "edge-1", j.data) }, []string{"snapshot=disproven"}, []string{`"edge-1"`}},
		"one from the future":     {func(j *job) { j.backup(); j.backup("--time", tomorrow()) }, []string{"snapshot-future=disproven"}, []string{"planted"}},
		"a path is missing":       {func(j *job) { j.Inputs["paths"] += "\n/var/lib/missing"; j.backup() }, []string{"snapshot=disproven"}, []string{"/var/lib/missing"}},
		"too old":                 {func(j *job) { j.backup("--time", "2020-01-01 00:00:00") }, []string{"snapshot-age=disproven"}, []string{"timer"}},
		"a repository made anew":  {func(j *job) { must(j.t, os.RemoveAll(j.repo)); j.restic("init"); j.backup() }, []string{"repository-id=disproven"}, []string{"made anew"}},
		"no repository":           {func(j *job) { must(j.t, os.RemoveAll(j.repo)) }, []string{"restic-repository=disproven"}, nil},
		"a wrong password":        {func(j *job) { j.backup(); write(j.t, j.key, "wrong\n") }, []string{"restic-password=disproven"}, nil},
		"bytes flipped in a pack": {func(j *job) { j.backup(); restictest.Flip(j.t, j.repo) }, []string{"restic-failed=unproven"}, nil},
		"an include of nothing":   {func(j *job) { j.backup(); j.Inputs["include"] = filepath.Join(j.data, "nothing") }, []string{"restic-failed=unproven"}, nil},
		"most of it is gone": {func(j *job) {
			j.backup()
			j.backup()
			must(j.t, os.RemoveAll(filepath.Join(j.data, "data")))
			j.backup()
			j.Inputs["min_percent_of_median"] = "50"
		}, []string{"snapshot-size=disproven"}, []string{"median of 2"}},
		"too few files":           {func(j *job) { j.backup(); j.Inputs["min_files"] = "1000" }, []string{"snapshot-size=disproven"}, nil},
		"an unknown snapshot":     {func(j *job) { j.backup(); j.Inputs["snapshot_id"] = strings.Repeat("a", 64) }, []string{"snapshot=disproven"}, []string{"snapshot_id"}},
		"the scratch in the data": {func(j *job) { j.backup(); j.Inputs["scratch_dir"] = filepath.Join(j.data, "scratch") }, []string{"scratch=disproven"}, []string{"the snapshot has"}},
		"no room":                 {func(j *job) { j.backup(); j.Inputs["scratch_dir"] = small(j.t, "36k") }, []string{"scratch-room=disproven"}, []string{"fifth"}},
		"no restic":               {func(j *job) { j.Inputs["restic_path"] = "/nowhere/restic" }, []string{"restic-missing=unproven"}, nil},
		"without a summary, as of an old restic": {func(j *job) {
			j.backup()
			var all []struct{ ID string }
			must(j.t, json.Unmarshal([]byte(j.restic("snapshots", "--json")), &all))
			var snapshot map[string]any
			must(j.t, json.Unmarshal([]byte(j.restic("cat", "snapshot", all[0].ID)), &snapshot))
			delete(snapshot, "summary")
			must(j.t, os.Remove(filepath.Join(j.repo, "snapshots", all[0].ID)))
			restictest.Seal(j.t, j.repo, "snapshots", snapshot)
		}, nil, nil},
		"a lock of a killed check": {func(j *job) { j.backup(); write(j.t, filepath.Join(j.repo, "locks", strings.Repeat("b", 64)), "junk") }, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			tt.do(j)
			before := digest(t, j.repo) + digest(t, j.data)
			r := j.Do()
			r.Want("", tt.want...)
			r.Says(tt.says...)
			j.clean(r)
			if after := digest(t, j.repo) + digest(t, j.data); after != before {
				t.Errorf("repository or live data changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}
