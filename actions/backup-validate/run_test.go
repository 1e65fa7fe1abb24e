package main

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/restictest"
)

func TestSnapshots(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.write(snapshots)
	j.backup()
	r := j.Do()
	r.Want("")
	j.quiet(r)
	var out []map[string]any
	must(t, json.Unmarshal([]byte(r.Outputs["contracts"]), &out))
	if r.Outputs["verdict"] != "proven" || len(out) != 1 || out[0]["name"] != "control-plane" || len(out[0]["snapshot_id"].(string)) != 64 {
		t.Errorf("%v %v", r.Outputs, out)
	}
	// What recovery-report holds rehearsals against.
	if out[0]["kind"] != "restic" || out[0]["repository_id"] != j.id || out[0]["snapshot_host"] == nil || out[0]["max_age_seconds"] == nil || len(out[0]["paths"].([]any)) != 1 || out[0]["paths"].([]any)[0] != j.data {
		t.Errorf("what it is of: %v", out[0])
	}
	r.Says("part 1 of 2", "none of 2 parts was read before")
	r = j.Do()
	r.Want("")
	r.Says("part 2 of 2", "1 of 2 parts were read before")
	r = j.Do()
	r.Want("")
	r.Says("part 1 of 2", "2 of 2 parts were read before")
}

// Each way in which a repository looks well and is not what was promised.
func TestSnapshotsFalseGreens(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		do   func(*job)
		want []string
		says []string
	}{
		"an empty repository":     {func(*job) {}, []string{"snapshot=unproven"}, []string{"no snapshot at all"}},
		"another host's is newer": {func(j *job) { j.backup(); j.restic("backup", "--host", "edge-1", j.data) }, nil, nil},
		"only another host's":     {func(j *job) { j.restic("backup", "--host", "edge-1", j.data) }, []string{"snapshot=disproven"}, []string{`"edge-1"`}},
		"one from the future":     {func(j *job) { j.backup(); j.backup("--time", tomorrow()) }, []string{"snapshot-future=disproven"}, []string{"planted"}},
		"a path is missing": {func(j *job) {
			j.write(strings.Replace(snapshots, "[\"DATA\"]", "[\"DATA\", /var/lib/missing]", 1))
			j.backup()
		}, []string{"snapshot=disproven"}, []string{"/var/lib/missing"}},
		"too old":                {func(j *job) { j.backup("--time", "2020-01-01 00:00:00") }, []string{"snapshot-age=disproven"}, []string{"timer"}},
		"a repository made anew": {func(j *job) { must(j.t, os.RemoveAll(j.repo)); j.restic("init"); j.backup() }, []string{"repository-id=disproven"}, []string{"made anew"}},
		"no repository":          {func(j *job) { must(j.t, os.RemoveAll(j.repo)) }, []string{"restic-repository=disproven"}, nil},
		"a wrong password":       {func(j *job) { j.backup(); put(j.t, j.key, "wrong\n") }, []string{"restic-password=disproven"}, nil},
		"a stale lock":           {func(j *job) { j.backup(); staleLock(j) }, []string{"repository-locks=disproven"}, []string{"restic unlock"}},
		"somebody prunes it": {func(j *job) {
			j.backup()
			restictest.Seal(j.t, j.repo, "locks", map[string]any{"time": time.Now(), "exclusive": true, "hostname": "forgejo-pi", "username": "root", "pid": 4711})
		}, []string{"repository-check=unproven"}, []string{"when nothing prunes"}},
		"the snapshot's time is before that of the backup": {func(j *job) {
			j.backup("--exclude", "two", "--time", time.Now().Add(-time.Hour).Format("2006-01-02 15:04:05"))
		}, []string{"coverage=disproven"}, []string{"data/two"}},
		"no restic":                  {func(j *job) { j.write(snapshots + "      program: /nowhere/restic\n") }, []string{"restic-missing=unproven"}, nil},
		"a file that is not in it":   {func(j *job) { j.backup("--exclude", "two") }, []string{"coverage=disproven"}, []string{"data/two"}},
		"a branch that was excluded": {func(j *job) { j.backup("--exclude", j.data+"/**/tmp") }, []string{"coverage=disproven"}, []string{"site.git/refs/heads/tmp"}},
		"a branch, excluded by pattern": {func(j *job) {
			j.write(snapshots + "      exclude: [\"DATA/**/tmp\"]\n")
			j.backup("--exclude", j.data+"/**/tmp")
		}, []string{"coverage=disproven"}, []string{"site.git/refs/heads/tmp"}},
		"an owner, excluded by pattern": {func(j *job) {
			put(j.t, filepath.Join(j.data, "repositories/cache/site.git/HEAD"), secret)
			j.write(snapshots + "      exclude: [\"DATA/**/cache\"]\n")
			j.backup("--exclude", j.data+"/**/cache")
		}, []string{"coverage=disproven"}, []string{"cache/site.git"}},
		"excluded on purpose": {func(j *job) {
			put(j.t, filepath.Join(j.data, "cache/one/two"), secret)
			j.write(snapshots + "      exclude: [\"DATA/**/cache\", \"DATA/data/t*\"]\n")
			j.backup("--exclude", j.data+"/**/cache", "--exclude", "two")
		}, nil, []string{"left out"}},
		"an empty path": {func(j *job) {
			must(j.t, os.MkdirAll(filepath.Join(j.data, "../empty"), 0o755))
			j.write(strings.Replace(snapshots, "[\"DATA\"]", "[\"DATA\", \""+filepath.Join(j.data, "../empty")+"\"]", 1))
			j.backup(filepath.Join(j.data, "../empty"))
		}, []string{"snapshot-paths=unproven"}, []string{"/empty"}},
		"no data here":  {func(j *job) { j.backup(); must(j.t, os.RemoveAll(j.data)) }, []string{"coverage=unproven"}, []string{"set the contract's host"}},
		"too few files": {func(j *job) { j.write(snapshots + "      min_files: 1000\n"); j.backup() }, []string{"snapshot-size=disproven"}, nil},
		"a unit, where there is no systemd": {func(j *job) {
			j.backup()
			j.write(snapshots + "    units: [restic-backups-pi]\n")
			j.Env = append(j.Env, "PATH="+filepath.Dir(tool(j, "restic")))
		}, []string{"unit-service=unproven", "unit-timer=unproven"}, []string{"set its host"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.write(snapshots)
			tt.do(j)
			r := j.Do()
			r.Want("", tt.want...)
			r.Says(tt.says...)
			j.quiet(r)
		})
	}
}

// flipped is a part of the data that can't be read any more: restic's own check
// finds nothing of it unless it reads that part.
func TestAFlippedByte(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.write(strings.Replace(snapshots, "check_parts: 2", "check_parts: 1", 1))
	noise := make([]byte, 1<<20)
	rand.Read(noise)
	put(t, filepath.Join(j.data, "noise"), string(noise)) // the largest pack is one of data
	j.backup()
	restictest.Flip(j.t, j.repo)
	j.restic("check") // green
	r := j.Do()
	r.Want("", "repository-check=disproven")
	r.Says("its owner repairs it")
	// What was not whole was not read.
	if left, _ := filepath.Glob(filepath.Join(j.Inputs["state_dir"], "*")); len(left) > 0 {
		t.Errorf("remembered as read: %v", left)
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for name, tt := range map[string]struct {
		do   func(*job)
		want []string
		says []string
	}{
		"well":                         {func(j *job) { j.lfs(48*hour, "one", "two") }, nil, []string{"2 by the remote's hashes"}},
		"one is younger than the copy": {func(j *job) { j.lfs(48*hour, "one"); j.lfs(hour, "two"); must(j.t, os.Remove(j.object("two"))) }, nil, []string{"1 younger"}},
		"the database is in use, with a log": {func(j *job) {
			j.lfs(48*hour, "one")
			pragma(j, "journal_mode=WAL")
			j.lfs(48*hour, "two")
		}, nil, []string{"2 by the remote's hashes"}},
		"none yet, and all are young": {func(j *job) { j.lfs(hour, "one"); must(j.t, os.Remove(j.object("one"))) }, []string{"lfs-content=unproven", "lfs-present=unproven"}, []string{"look again"}},
		"an oid that is none":         {func(j *job) { j.lfs(48*hour, "one"); j.sql(`UPDATE lfs_meta_object SET oid = '../../etc'`) }, []string{"lfs-expected=unproven"}, []string{"is no SHA-256"}},
		"an old one, and again in another repository": {func(j *job) {
			j.lfs(48*hour, "one", "two")
			j.lfs(hour, "two")
			must(j.t, os.Remove(j.object("two")))
		}, []string{"lfs-present=disproven"}, nil},
		"one is missing": {func(j *job) { j.lfs(48*hour, "one", "two"); must(j.t, os.Remove(j.object("two"))) }, []string{"lfs-present=disproven"}, []string{"1 missing or cut"}},
		"the copy is empty": {func(j *job) {
			j.lfs(48*hour, "one")
			must(j.t, os.RemoveAll(j.mirror))
			must(j.t, os.MkdirAll(j.mirror, 0o755))
		}, []string{"lfs-content=unproven", "lfs-present=disproven"}, []string{"empty source"}},
		"there is no copy":        {func(j *job) { j.lfs(48*hour, "one"); must(j.t, os.RemoveAll(j.mirror)) }, []string{"rclone-directory=disproven"}, []string{"empty source"}},
		"the forge has none":      {func(j *job) { j.lfs(0) }, []string{"lfs-expected=unproven"}, nil},
		"no database":             {func(j *job) {}, []string{"lfs-expected=unproven"}, nil},
		"a database of 0 bytes":   {func(j *job) { j.lfs(48*hour, "one"); must(j.t, os.Truncate(j.database, 0)) }, []string{"lfs-expected=unproven"}, []string{"0 bytes"}},
		"another content":         {func(j *job) { j.lfs(48*hour, "one", "two"); put(j.t, j.object("two"), "owt") }, []string{"lfs-content=disproven"}, []string{"has the content"}},
		"another size":            {func(j *job) { j.lfs(48*hour, "one", "two"); put(j.t, j.object("two"), "more") }, []string{"lfs-content=disproven", "lfs-present=disproven"}, []string{"4 bytes, not 3"}},
		"a remote without hashes": {func(j *job) { j.lfs(48*hour, "one", "two"); webdav(j) }, nil, []string{"2 downloaded of 2"}},
		"another content, without hashes": {func(j *job) {
			j.lfs(48*hour, "one", "two")
			put(j.t, j.object("two"), "owt")
			webdav(j)
		}, []string{"lfs-content=disproven"}, nil},
		"no such remote": {func(j *job) { j.lfs(48*hour, "one"); put(j.t, j.rclone, "") }, []string{"rclone-failed=unproven"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.write(objects)
			tt.do(j)
			r := j.Do()
			r.Want("", tt.want...)
			r.Says(tt.says...)
		})
	}
}

func TestWaivers(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.backup("--exclude", "two")
	day := func(d time.Duration) string { return time.Now().UTC().Add(d).Format(time.DateOnly) }
	waiver := func(until string) string {
		return snapshots + "waivers:\n  - {contract: control-plane, check: coverage, reason: the disk is being replaced, until: " + until + "}\n"
	}
	j.write(waiver(day(0)))
	r := j.Do()
	r.Want("", "coverage=disproven (waived)")
	r.Says("until "+day(0), "the disk is being replaced")
	j.write(waiver(day(-24 * time.Hour)))
	r = j.Do()
	r.Want("", "coverage=disproven")
	r.Says("it was waived until " + day(-24*time.Hour))
}

// The file tells everything that is wrong with it at once.
func TestAWrongFile(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.write(`contracts:
  - name: Upper
    max_age: 1s
    restic: {repository: "rest:https://user:password@host/", repository_id: abc, paths: [relative], exclude: ["**"]}
  - name: both
    max_age: 1h
    units: [a.service]
    lfs: {remote: nowhere, database: relative}
    state: {stack: Edge}
waivers:
  - {contract: nobody, check: A, until: 2099-01-01}
`)
	r := j.Do()
	if r.Code != 1 || r.Outputs["failure_reason"] != "input-contracts" {
		t.Errorf("%v\n%s", r.Outputs, r.Log)
	}
	r.Says("lower-case letters", "max_age", "without a password in it", "restic.password_file", "64 hex digits", "snapshot_host", "restic.paths", "restic.exclude",
		"exactly one of", "units", "lfs.remote", "lfs.database", "state.stack", "state.runner_dir", "state.age_identity_file", "state.offsite", "contract, the name", "check, the id", "reason", "until")
	if strings.Contains(r.Log, "user:password") {
		t.Error("a password was said")
	}
	for _, text := range []string{"", "contracts: []", "contracts: [{name: a, mystery: 1}]", "{", "contracts:\n  - {name: a, max_age: 8x}"} {
		j.write(text)
		if r := j.Do(); r.Code != 1 || r.Outputs["failure_reason"] != "input-contracts" {
			t.Errorf("%q: %v\n%s", text, r.Outputs, r.Log)
		}
	}
}
