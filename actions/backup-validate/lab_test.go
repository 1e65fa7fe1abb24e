package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/backuphost"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/restictest"
	"edge-actions/internal/testing/runnertest"
)

// onHost has a contract looked at on the host.
func (j *job) onHost(l *lab.Lab, h *backuphost.Host) {
	j.t.Helper()
	j.id = h.ID
	j.Inputs["host_keys"], j.Inputs["hosts"] = h.Name+" "+h.HostKey, h.Name+"="+h.Address
	j.Inputs["identity_file"], j.Inputs["ssh_config"], j.Inputs["connect_timeout"], j.Inputs["user"] = l.Key, "none", "5s", "nixos"
	j.write(`contracts:
  - name: control-plane
    host: ` + h.Name + `
    user: root
    max_age: 26h
    units: [restic-backups-pi]
    restic:
      program: restic-pi
      repository_id: "@ID@"
      snapshot_host: ` + backuphost.Snapshots + `
      paths: [` + backuphost.Data + `]
      check_parts: 1
`)
}

func TestLabHost(t *testing.T) {
	l := lab.New(t, 1)
	h := backuphost.New(t, l.Hosts[0])
	before := h.Digest()
	j := newJob(t)
	j.onHost(l, h)
	well := func() {
		t.Helper()
		r := j.Do()
		r.Want("")
		if strings.Contains(r.Log, backuphost.Secret) || strings.Contains(r.Log, restictest.Password) {
			t.Errorf("a secret was said:\n%s", r.Log)
		}
		if left := h.Left(j.Inputs["agent_dir"], "/var/tmp/edge-actions"); left != "" {
			t.Errorf("left on the host:\n%s", left)
		}
		if after := h.Digest(); after != before {
			t.Errorf("repository or data changed:\n%s\n%s", before, after)
		}
	}
	well()
	// As the backup's own user, who may read the repository and the data.
	h.Do("chown -R " + backuphost.User + " " + backuphost.Data)
	before = h.Digest()
	h.Do("systemctl start restic-backups-pi.service && chown -R " + backuphost.User + " /var/lib/backup")
	before = h.Digest()
	j.write(strings.Replace(j.contracts, "user: root", "user: "+backuphost.User, 1))
	well()
	// A user who may not read all of it proves nothing about coverage.
	h.Do("chown root " + backuphost.Data + "/data && chmod 700 " + backuphost.Data + "/data")
	before = h.Digest()
	r := j.Do()
	r.Want("", "coverage=unproven")
	r.Says("permission denied", "set the contract's user")
	h.Do("chown " + backuphost.User + " " + backuphost.Data + "/data")

	// The runner is killed while the host is looked at: nothing of it stays there,
	// and the next run is as if it had not been.
	before = h.Digest()
	binary := filepath.Join(t.TempDir(), "backup-validate")
	realtools.Output(t, "go", "build", "-o", binary, ".")
	for _, at := range []string{"connected", "contract control-plane", "reading part"} {
		s := j.step(binary)
		s.Start()
		s.KillAt(at)
		h.Do("for i in $(seq 300); do ps -eo args | grep -qE '(^| |/)(agent|restic) ' || exit 0; sleep 0.1; done; ps -eo args; exit 1")
		well()
	}
}

// step is the action as the runner starts it.
func (j *job) step(binary string) *runnertest.Step {
	j.t.Helper()
	r := runnertest.New(j.t)
	for _, kv := range j.Environ() {
		if name, value, _ := strings.Cut(kv, "="); name == "PATH" || name == "HOME" {
			r.Env[name] = value
		}
	}
	r.Workspace = j.Workspace
	if _, err := os.Stat(j.Workspace); err != nil {
		j.t.Fatal(err)
	}
	return r.Step([]string{binary}, j.Inputs)
}
