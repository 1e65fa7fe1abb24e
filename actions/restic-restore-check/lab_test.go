package main

import (
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/backuphost"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/restictest"
)

// The rehearsal is made on the host that has the wrapper, the password and root:
// the runner knows neither.
func TestLabHost(t *testing.T) {
	l := lab.New(t, 1)
	h := backuphost.New(t, l.Hosts[0])
	j := without(t)
	for name, value := range map[string]string{
		"run_on": h.Name, "run_as": "root", "repository": "", "password_file": "", "repository_id": h.ID, "host": backuphost.Snapshots, "paths": backuphost.Data, "restic_path": "restic-pi",
		"scratch_dir": "/var/lib/rehearsals", "allow_tmpfs": "false", "hosts": h.Name + "=" + h.Address, "host_keys": h.Name + " " + h.HostKey,
		"identity_file": l.Key, "ssh_config": "none", "user": "nixos", "connect_timeout": "5s", "tailnet": "off", "assertions": "recovery.yaml",
	} {
		j.Inputs[name] = value
	}
	write(t, filepath.Join(j.Workspace, "recovery.yaml"), "assertions:\n  - name: configuration\n    file: {path: "+backuphost.Data+"/app.conf, min_size: 10}\n")
	before := h.Digest()
	well := func() {
		t.Helper()
		r := j.Do()
		r.Want("")
		if r.Outputs["verdict"] != "proven" || len(r.Outputs["snapshot_id"]) != 64 || r.Outputs["restored_files"] == "" || r.Outputs["rto_seconds"] == "" {
			t.Errorf("%v", r.Outputs)
		}
		if strings.Contains(r.Log, backuphost.Secret) || strings.Contains(r.Log, restictest.Password) {
			t.Errorf("a secret was said:\n%s", r.Log)
		}
		if left := h.Left("/var/lib/rehearsals", "/var/tmp/edge-actions"); left != "" {
			t.Errorf("left on the host:\n%s", left)
		}
		if after := h.Digest(); after != before {
			t.Errorf("repository or data changed:\n%s\n%s", before, after)
		}
	}
	well()

	// What was restored and is not right.
	write(t, filepath.Join(j.Workspace, "recovery.yaml"), "assertions:\n  - name: configuration\n    file: {path: "+backuphost.Data+"/none}\n")
	r := j.Do()
	r.Want("", "file=disproven")
	write(t, filepath.Join(j.Workspace, "recovery.yaml"), "assertions:\n  - name: configuration\n    file: {path: "+backuphost.Data+"/app.conf}\n")
	// Into the data.
	j.Inputs["scratch_dir"] = backuphost.Data + "/scratch"
	r = j.Do()
	r.Want("", "scratch=disproven")
	j.Inputs["scratch_dir"] = "/var/lib/rehearsals"
	// As a user who may not give files away.
	h.Do("chown -R " + backuphost.User + " /var/lib/backup && mkdir -p /var/lib/others && chown " + backuphost.User + " /var/lib/others")
	before = h.Digest()
	j.Inputs["run_as"], j.Inputs["scratch_dir"] = backuphost.User, "/var/lib/others"
	j.Do().Want("", "restored-owners=unproven")
	j.Inputs["run_as"], j.Inputs["scratch_dir"] = "root", "/var/lib/rehearsals"

	// The runner is killed in each phase: the host cleans up by itself, and if it
	// is cut off as well, the next run does.
	binary := filepath.Join(t.TempDir(), "restic-restore-check")
	realtools.Output(t, "go", "build", "-o", binary, ".")
	for _, at := range []string{"connected", "restoring", "assertion"} {
		s := j.step(binary)
		s.Start()
		s.KillAt(at)
		h.Do("for i in $(seq 300); do ps -eo args | grep -qE '(^| |/)(agent|restic) ' || exit 0; sleep 0.1; done; ps -eo args; exit 1")
		if left := h.Left("/var/lib/rehearsals", "/var/tmp/edge-actions"); left != "" {
			t.Errorf("killed at %q, left on the host:\n%s", at, left)
		}
		well()
	}
}
