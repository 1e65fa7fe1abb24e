package main

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/agent"
	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/restictest"

	_ "modernc.org/sqlite"
)

// secret is in every file that is backed up, and must be nowhere else.
const secret = "what-the-operator-keeps-to-himself"

func TestMain(m *testing.M) {
	if agent.Called(os.Args) { // this binary, on a host
		os.Exit(agent.Serve(serve))
	}
	os.Exit(restictest.Main(m))
}

// job is a job beside a real restic repository and a real rclone remote, with a
// file of contracts that is filled in by write.
type job struct {
	*jobtest.Job
	t testing.TB
	// repo, key and id are the repository; data is what is backed up.
	repo, key, id, data string
	// mirror is the directory behind the rclone remote "mirror:", database what
	// should be in it.
	mirror, database, rclone string
	contracts                string
	// slow is a server that never answers; scratch and assertions are for a
	// restore.
	slow, scratch, assertions string
}

func newJob(t testing.TB) *job {
	t.Helper()
	j := without(t)
	j.id = restictest.New(t, j.repo)
	return j
}

// without is a job without the repository.
func without(t testing.TB) *job {
	t.Helper()
	j := &job{Job: jobtest.New(t, metadata, run), t: t}
	dir := t.TempDir()
	j.repo, j.key, j.data = filepath.Join(dir, "repo"), filepath.Join(j.Home, "password"), filepath.Join(dir, "srv")
	j.mirror, j.database, j.rclone = filepath.Join(dir, "mirror"), filepath.Join(dir, "forgejo.db"), filepath.Join(j.Home, "rclone.conf")
	put(t, j.key, restictest.Password+"\n")
	put(t, j.rclone, "[mirror]\ntype = alias\nremote = "+j.mirror+"\n")
	j.id = strings.Repeat("a", 64)
	for name, text := range map[string]string{"app.conf": secret, "data/one": strings.Repeat(secret, 1000), "data/two": secret, "repositories/ops/site.git/refs/heads/tmp": secret} {
		put(t, filepath.Join(j.data, name), text)
	}
	must(t, os.Symlink("/etc/passwd", filepath.Join(j.data, "link")))
	for name, value := range map[string]string{"contracts": "recovery.yaml", "state_dir": filepath.Join(j.Home, "checks"), "timeout": "60s", "tailnet": "off"} {
		j.Inputs[name] = value
	}
	j.Env = append(j.Env, "PATH="+os.Getenv("PATH"))
	return j
}

// write makes the file of contracts; REPO, KEY, ID, DATA, DATABASE and RCLONE
// are the job's.
func (j *job) write(text string) {
	j.t.Helper()
	j.contracts = text
	put(j.t, filepath.Join(j.Workspace, "recovery.yaml"), strings.NewReplacer("REPO", j.repo, "KEY", j.key, "@ID@", j.id, "DATABASE", j.database, "DATA", j.data, "RCLONE", j.rclone).Replace(text))
}

// snapshots is a contract for a restic repository.
const snapshots = `contracts:
  - name: control-plane
    max_age: 26h
    restic:
      repository: "REPO"
      password_file: "KEY"
      repository_id: @ID@
      snapshot_host: forgejo-pi
      paths: ["DATA"]
      check_parts: 2
`

// objects is a contract for LFS objects.
const objects = `contracts:
  - name: lfs
    max_age: 26h
    lfs:
      remote: "mirror:"
      database: "DATABASE"
      config: "RCLONE"
`

// restic runs the real one, as a host would.
func (j *job) restic(args ...string) string {
	j.t.Helper()
	cmd := exec.Command(realtools.Path(j.t, "restic"), append([]string{"--repo", j.repo, "--password-file", j.key, "--no-cache", "--quiet"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		j.t.Fatalf("restic %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (j *job) backup(args ...string) {
	j.t.Helper()
	j.restic(append([]string{"backup", "--host", "forgejo-pi", j.data}, args...)...)
}

// lfs puts objects into the database and onto the remote, the given time ago.
func (j *job) lfs(old time.Duration, texts ...string) {
	j.t.Helper()
	db, err := sql.Open("sqlite", j.database)
	must(j.t, err)
	defer db.Close()
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS lfs_meta_object (id INTEGER PRIMARY KEY, oid TEXT, size INTEGER, repository_id INTEGER, created_unix INTEGER)`)
	must(j.t, err)
	must(j.t, os.MkdirAll(j.mirror, 0o755))
	for _, text := range texts {
		oid := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
		_, err := db.Exec(`INSERT INTO lfs_meta_object (oid, size, repository_id, created_unix) VALUES (?, ?, 1, ?)`, oid, len(text), time.Now().Add(-old).Unix())
		must(j.t, err)
		put(j.t, j.object(text), text)
	}
}

func (j *job) sql(script string) {
	j.t.Helper()
	db, err := sql.Open("sqlite", j.database)
	must(j.t, err)
	defer db.Close()
	_, err = db.Exec(script)
	must(j.t, err)
}

// object is where the object of a text is behind the remote.
func (j *job) object(text string) string {
	oid := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	return filepath.Join(j.mirror, oid[:2], oid[2:4], oid[4:])
}

func put(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quiet fails if what is in a file was said.
func (j *job) quiet(r *jobtest.Result) {
	j.t.Helper()
	if strings.Contains(r.Log+fmt.Sprint(r.Report, r.Outputs), secret) {
		j.t.Errorf("the content of a file was said:\n%s", r.Log)
	}
}

func tomorrow() string { return time.Now().Add(24 * time.Hour).Format("2006-01-02 15:04:05") }

// staleLock is that of a check that was killed an hour ago.
func staleLock(j *job) {
	j.t.Helper()
	restictest.Seal(j.t, j.repo, "locks", map[string]any{"time": time.Now().Add(-time.Hour), "exclusive": true, "hostname": "forgejo-pi", "username": "root", "pid": 4711})
	cmd := exec.Command(realtools.Path(j.t, "restic"), "--repo", j.repo, "--password-file", j.key, "--no-cache", "check")
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != 11 && !strings.Contains(string(out), "lock") {
		j.t.Fatalf("restic does not take it for a lock: %v\n%s", err, out)
	}
}

func tool(j *job, name string) string { return realtools.Path(j.t, name) }

func pragma(j *job, text string) {
	j.t.Helper()
	db, err := sql.Open("sqlite", j.database)
	must(j.t, err)
	j.t.Cleanup(func() { db.Close() })
	_, err = db.Exec("PRAGMA " + text)
	must(j.t, err)
}

// webdav puts a real WebDAV server between rclone and the directory: it knows no
// hashes.
func webdav(j *job) {
	j.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(j.t, err)
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(realtools.Path(j.t, "rclone"), "serve", "webdav", "--addr", address, j.mirror)
	must(j.t, cmd.Start())
	j.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			j.t.Fatal("rclone serve does not listen")
		}
	}
	put(j.t, j.rclone, "[mirror]\ntype = webdav\nurl = http://"+address+"/\nvendor = other\n")
}
