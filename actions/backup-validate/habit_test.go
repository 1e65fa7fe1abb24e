package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/backuphost"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/restictest"
	"edge-actions/internal/testing/runnertest"
)

// habit is one case in which what the field does about backups says that all is
// well, and what is said here.
type habit struct {
	name string
	// make makes the case.
	make func(*job)
	// does is what an operator's script does, for bash with pipefail off, as most
	// are; says is how it ends: 0 is green.
	does string
	ends string
	// restores asks restic-restore-check and not backup-validate.
	restores bool
	// want are the checks that do not hold, as id=verdict.
	want []string
}

// The variables of a script: R is restic with the repository's flags, DATA, DB and
// the rest the case's.
func habits(t testing.TB, l *lab.Lab) []habit {
	var host *backuphost.Host
	onHost := func(j *job) {
		if host == nil {
			host = backuphost.New(t, l.Hosts[0])
		}
		host.Fresh()
		j.onHost(l, host)
	}
	return []habit{
		{name: "wrong host on a shared repository", make: func(j *job) { j.restic("backup", "--host", "edge-1", j.data) },
			does: `$R snapshots latest`, ends: "0", want: []string{"snapshot=disproven"}},
		{name: "empty repository", make: func(j *job) {},
			does: `$R snapshots`, ends: "0", want: []string{"snapshot=unproven"}},
		{name: "snapshot from the future", make: func(j *job) { j.backup(); j.backup("--time", tomorrow()) },
			does: `$R snapshots latest`, ends: "0", want: []string{"snapshot-future=disproven"}},
		{name: "missing path", make: func(j *job) {
			j.write(strings.Replace(snapshots, `["DATA"]`, `["DATA", /var/lib/missing]`, 1))
			j.backup()
		},
			does: `$R snapshots latest`, ends: "0", want: []string{"snapshot=disproven"}},
		{name: "re-initialised repository", make: func(j *job) { must(j.t, os.RemoveAll(j.repo)); j.restic("init"); j.backup() },
			does: `$R snapshots latest && $R check`, ends: "0", want: []string{"repository-id=disproven"}},
		{name: "flipped bytes in a pack", make: func(j *job) {
			j.write(strings.Replace(snapshots, "check_parts: 2", "check_parts: 1", 1))
			noise(j)
			j.backup()
			restictest.Flip(j.t, j.repo)
		},
			does: `$R check`, ends: "0", want: []string{"repository-check=disproven"}},
		{name: "stale lock", make: func(j *job) { j.backup(); staleLock(j) },
			does: `$R snapshots --no-lock`, ends: "0", want: []string{"repository-locks=disproven"}},
		{name: "lost branch", make: func(j *job) { repository(j); j.backup("--exclude", j.data+"/**/tmp") },
			does: `$R check && git -C "$DATA/repositories/ops/site.git" fsck`, ends: "0", want: []string{"coverage=disproven"}},
		{name: "wrong password", make: func(j *job) { j.backup(); put(j.t, j.key, "wrong\n") },
			does: `$R snapshots 2>/dev/null | wc -l`, ends: "0", want: []string{"restic-password=disproven"}},
		{name: "slow server past the deadline", make: func(j *job) { silent(j) },
			does: `timeout 3 restic -r "$SLOW" --password-file "$KEY" snapshots`, ends: "124", want: []string{"restic-timeout=unproven"}},
		{name: "empty LFS source", make: func(j *job) {
			j.write(objects)
			j.lfs(48*time.Hour, "one")
			must(j.t, os.RemoveAll(filepath.Join(j.mirror)))
			must(j.t, os.MkdirAll(j.mirror, 0o755))
		}, does: `rclone --config "$RCLONE" lsd mirror: && rclone --config "$RCLONE" check mirror: mirror:gone`, ends: "0", want: []string{"lfs-content=unproven", "lfs-present=disproven"}},
		{name: "full disk", restores: true, make: func(j *job) { noise(j); j.backup(); j.scratch = full(j) },
			does: `$R restore latest --target "$SCRATCH/x" --json 2>/dev/null | tail -1 | grep -o '"files_restored":[0-9]*'; rm -rf "$SCRATCH/x"`, ends: "0", want: []string{"scratch-room=disproven"}},
		{name: "database of 0 bytes", restores: true, make: func(j *job) {
			put(j.t, filepath.Join(j.data, "app.db"), "")
			j.backup()
			j.assert("sqlite: {path: DATA/app.db}")
		}, does: `$R check && sqlite3 "$DATA/app.db" "PRAGMA integrity_check"`, ends: "0", want: []string{"sqlite-file=disproven"}},
		{name: "write-ahead log of another moment", restores: true, make: func(j *job) {
			hotCopy(j)
			j.backup()
			j.assert("sqlite: {path: DATA/app.db}")
		}, does: `$R check`, ends: "0", want: []string{"sqlite-integrity=disproven"}},
		{name: "disabled timer", make: func(j *job) { onHost(j); host.Do("systemctl disable restic-backups-pi.timer") },
			does: `$SSH systemctl is-active restic-backups-pi.timer`, ends: "0", want: []string{"unit-timer=unproven"}},
		{name: "refused sudo", make: func(j *job) { onHost(j); noSudo(j, host) },
			does: `$SSH "sudo -n restic-pi snapshots | tail -1"`, ends: "0", want: []string{"sudo-refused=unproven"}},
		{name: "ssh down", make: func(j *job) { onHost(j); must(j.t, host.Cut()); j.t.Cleanup(func() { host.Mend() }) },
			does: `$SSH restic-pi snapshots 2>/dev/null | tail -1`, ends: "0", want: []string{"unreachable=unproven"}},
	}
}

// The field's habit beside what is said here, for every false green: the table is
// printed with -v.
func TestLabHabit(t *testing.T) {
	l := lab.New(t, 1)
	restore := filepath.Join(t.TempDir(), "restic-restore-check")
	realtools.Output(t, "go", "build", "-o", restore, "../restic-restore-check")
	var table strings.Builder
	fmt.Fprintf(&table, "%-34s  %-46s  %-5s  %s\n", "case", "the habit", "ends", "here")
	for _, h := range habits(t, l) {
		t.Run(h.name, func(t *testing.T) {
			j := newJob(t)
			j.write(snapshots)
			h.make(j)
			ends := j.habit(t, l, h.does)
			if ends != h.ends {
				t.Errorf("the habit ends with %s, not %s: %s", ends, h.ends, h.does)
			}
			got := j.here(t, l, h, restore)
			if h.name == "ssh down" { // how soon the network says so is its own affair
				got = []string{strings.Replace(got[0], "ssh-timeout", "unreachable", 1)}
			}
			if !slices.Equal(got, h.want) {
				t.Errorf("here it is %q, want %q", got, h.want)
			}
			fmt.Fprintf(&table, "%-34s  %-46.46s  %-5s  %s\n", h.name, h.does, ends, strings.Join(got, ", "))
		})
	}
	t.Log("\n" + table.String())
}

// here runs the action and returns the checks that do not hold.
func (j *job) here(t *testing.T, l *lab.Lab, h habit, restore string) []string {
	t.Helper()
	if !h.restores {
		r := j.Do()
		if r.Code == 0 || r.Outputs["failure_reason"] == "" {
			t.Errorf("green:\n%s", r.Log)
		}
		j.quiet(r)
		return r.Not()
	}
	runner := runnertest.New(t)
	for _, kv := range j.Environ() {
		if name, value, _ := strings.Cut(kv, "="); name == "PATH" || name == "HOME" {
			runner.Env[name] = value
		}
	}
	runner.Workspace = j.Workspace
	inputs := map[string]string{
		"repository": j.repo, "password_file": j.key, "repository_id": j.id, "host": "forgejo-pi", "paths": j.data, "timeout": "60s", "allow_tmpfs": "true",
		"scratch_dir": j.scratchDir(), "assertions": j.assertions,
	}
	r := runner.Step([]string{restore}, inputs).Run()
	if r.Green() || strings.Contains(r.RawLog, secret) {
		t.Errorf("green, or a secret was said:\n%s", r.Log)
	}
	reason, verdict := r.Outputs["failure_reason"], r.Outputs["verdict"]
	return []string{reason + "=" + verdict}
}

// habit runs an operator's script and returns its exit code.
func (j *job) habit(t *testing.T, l *lab.Lab, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Env = realtools.Environ(
		"R=restic --repo "+j.repo+" --password-file "+j.key+" --no-cache", "DATA="+j.data, "DB="+j.database, "RCLONE="+j.rclone, "KEY="+j.key, "SLOW="+j.slow,
		"SCRATCH="+j.scratchDir(), fmt.Sprintf("SSH=ssh -n -i %s -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=3 -o LogLevel=ERROR nixos@%s", l.Key, l.Hosts[0].Address))
	out, err := cmd.CombinedOutput()
	t.Logf("%s\n%s", script, out)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return fmt.Sprint(cmd.ProcessState.ExitCode())
}

func noSudo(j *job, host *backuphost.Host) {
	j.t.Helper()
	host.Do("mv /etc/sudoers.d/nixos /root/")
	j.t.Cleanup(func() { host.Run("mv /root/nixos /etc/sudoers.d/") })
}

// noise is a file whose pack is the largest.
func noise(j *job) {
	j.t.Helper()
	b := make([]byte, 1<<20)
	rand.Read(b)
	put(j.t, filepath.Join(j.data, "noise"), string(b))
}

// repository makes the repository a real one, with a branch called tmp.
func repository(j *job) {
	j.t.Helper()
	dir := filepath.Join(j.data, "repositories/ops/site.git")
	must(j.t, os.RemoveAll(dir))
	script := `set -e; git init -q --bare "$1"; cd "$1"; c=$(git -c user.name=o -c user.email=o@localhost commit-tree -m first "$(git mktree </dev/null)"); git update-ref refs/heads/main "$c"; git update-ref refs/heads/tmp "$c"`
	realtools.Output(j.t, "bash", "-c", script, "-", dir)
}

// silent puts a server that never answers into the contract.
func silent(j *job) {
	j.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(j.t, err)
	j.t.Cleanup(func() { listener.Close() })
	j.slow, j.Inputs["timeout"] = "rest:http://"+listener.Addr().String()+"/", "3s"
	j.write(strings.Replace(snapshots, "REPO", j.slow, 1))
}

// full is a place without room for the snapshot.
func full(j *job) string {
	j.t.Helper()
	dir := filepath.Join(j.t.TempDir(), "full")
	must(j.t, os.Mkdir(dir, 0o700))
	realtools.Output(j.t, "mount", "-t", "tmpfs", "-o", "size=200k,mode=0700", "tmpfs", dir)
	j.t.Cleanup(func() { realtools.Output(j.t, "umount", dir) })
	return dir
}

// hotCopy makes what a copy of a live database is: the database as it was, and
// the log as it became after a checkpoint in between.
func hotCopy(j *job) {
	j.t.Helper()
	live, to := filepath.Join(j.t.TempDir(), "app.db"), filepath.Join(j.data, "app.db")
	db, err := sql.Open("sqlite", live)
	must(j.t, err)
	defer db.Close()
	do := func(script string) {
		j.t.Helper()
		_, err := db.Exec(script)
		must(j.t, err)
	}
	fill := "INSERT INTO t SELECT hex(randomblob(200)) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 500) SELECT i FROM n);"
	do("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t (x); CREATE INDEX i ON t (x);" + fill + "PRAGMA wal_checkpoint(TRUNCATE)")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(live + suffix)
		must(j.t, err)
		put(j.t, to+suffix, string(data))
		if suffix == "" {
			do(fill + fill + "PRAGMA wal_checkpoint(TRUNCATE); DELETE FROM t WHERE rowid % 7 = 0")
		}
	}
}

// assert writes a file with one assertion about what comes back.
func (j *job) assert(text string) {
	j.t.Helper()
	put(j.t, filepath.Join(j.Workspace, "assertions.yaml"), "assertions:\n  - name: database\n    "+strings.ReplaceAll(text, "DATA", j.data)+"\n")
	j.assertions = "assertions.yaml"
}

func (j *job) scratchDir() string {
	if j.scratch != "" {
		return j.scratch
	}
	return filepath.Join(j.Home, "scratch")
}
