package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
)

// The runner is killed while an assertion has a program at work. No program is
// left, the next run removes what they had, and neither the repository nor the
// live data has changed.
func TestKilledWhileAsserting(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "restic-restore-check")
	realtools.Output(t, "go", "build", "-o", binary, ".")
	const (
		etcd    = "k3s: {token: DATA/token, server_ca: DATA/ca.crt, etcd_snapshot: DATA/snapshot}"
		fsck    = "forgejo: {database: DATA/forgejo.db, repositories: DATA/repositories}"
		command = `command: {argv: [sh, -c, 'touch "$HOME/up"; sleep 600 & sleep 600']}`
	)
	data := t.TempDir()
	restored(t, data)
	for name, tt := range map[string]struct {
		assertion, file string
		alone           bool // nothing but our own process is killed
	}{
		"etcd":          {etcd, "s-*/localhost:1", false},
		"git":           {fsck, "fsck", false},
		"command":       {command, "home/up", false},
		"etcd alone":    {etcd, "s-*/localhost:1", true},
		"command alone": {command, "home/up", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			must(t, os.CopyFS(j.data, os.DirFS(data)))
			slowGit(j)
			j.backup()
			before := digest(t, j.repo) + digest(t, j.data)
			j.Inputs["assertions"] = "recovery.yaml"
			write(t, filepath.Join(j.Workspace, "recovery.yaml"), strings.ReplaceAll("assertions:\n  - name: slow\n    "+tt.assertion+"\n", "DATA", j.data))
			s := j.step(binary)
			s.Start()
			at := filepath.Join(j.Inputs["scratch_dir"], "edge-actions-rehearsal-*/work/assert-*", tt.file)
			if tt.alone {
				for deadline := time.Now().Add(s.Timeout); len(glob(at)) == 0 && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond)
				}
				s.Signal(syscall.SIGKILL)
			} else {
				s.KillOnFile(at)
			}
			if left := programs(j.Inputs["scratch_dir"]); left != "" {
				t.Errorf("left at work:\n%s", left)
			}
			if tt.alone {
				s.Wait()
			}
			if left := glob(filepath.Join(j.Inputs["scratch_dir"], "*")); len(left) != 1 {
				t.Errorf("the kill was meant to leave one scratch: %v", left)
			}
			delete(j.Inputs, "assertions")
			r := j.Do()
			r.Want("")
			r.Says("removed what 1 killed rehearsals left")
			j.clean(r)
			if after := digest(t, j.repo) + digest(t, j.data); after != before {
				t.Error("repository or live data changed")
			}
		})
	}
}

func glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern) // only a bad pattern is an error
	return paths
}

// restored makes what the assertions look at.
func restored(t *testing.T, data string) {
	t.Helper()
	// The database of an etcd that has ended, with the hash that makes it a
	// snapshot.
	dir := t.TempDir()
	cmd := exec.Command(realtools.Path(t, "etcd"), "--data-dir", "data", "--listen-client-urls", "unix://localhost:1", "--advertise-client-urls", "unix://localhost:1",
		"--listen-peer-urls", "unix://localhost:2", "--initial-advertise-peer-urls", "unix://localhost:2", "--initial-cluster", "default=unix://localhost:2", "--unsafe-no-fsync")
	cmd.Dir = dir
	says, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	for s := bufio.NewScanner(says); s.Scan(); {
		if strings.Contains(s.Text(), "ready to serve client requests") {
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	_ = cmd.Wait() // a signal is its end
	db, err := os.ReadFile(filepath.Join(dir, "data/member/snap/db"))
	must(t, err)
	sum := sha256.Sum256(db)
	write(t, filepath.Join(data, "snapshot"), string(db)+string(sum[:]))

	realtools.Output(t, "git", "init", "--quiet", "--bare", filepath.Join(data, "repositories/alice/site.git"))
	realtools.Output(t, "sqlite3", filepath.Join(data, "forgejo.db"), `CREATE TABLE repository (id INTEGER PRIMARY KEY, owner_name TEXT, lower_name TEXT, is_empty INTEGER);
		CREATE TABLE branch (id INTEGER PRIMARY KEY, repo_id INTEGER, name TEXT, commit_id TEXT, is_deleted INTEGER); INSERT INTO repository VALUES (1, 'alice', 'site', 1);`)
}

// slowGit is a git that takes its time to check a repository, as it does for a
// large one, and says when it has begun.
func slowGit(j *job) {
	j.t.Helper()
	dir := j.t.TempDir()
	write(j.t, filepath.Join(dir, "git"), fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *' fsck '*) touch \"$HOME/fsck\"; sleep 600 ;; esac\nexec %s \"$@\"\n", realtools.Path(j.t, "git")))
	must(j.t, os.Chmod(filepath.Join(dir, "git"), 0o700))
	j.Env = append(j.Env, "PATH="+dir+":"+os.Getenv("PATH"))
}

// programs are the processes that have anything to do with a directory, once the
// kernel has had the time to end those that it ends.
func programs(dir string) (left string) {
	for range 100 {
		if left = now(dir); left == "" {
			return ""
		}
		time.Sleep(20 * time.Millisecond)
	}
	return left
}

func now(dir string) (out string) {
	for _, proc := range glob("/proc/[0-9]*") {
		if proc == fmt.Sprintf("/proc/%d", os.Getpid()) {
			continue
		}
		stat, _ := os.ReadFile(proc + "/stat")
		if _, state, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
			continue
		}
		args, _ := os.ReadFile(proc + "/cmdline")
		env, _ := os.ReadFile(proc + "/environ")
		cwd, _ := os.Readlink(proc + "/cwd")
		if text := string(args) + string(env) + cwd; strings.Contains(text, dir) {
			out += fmt.Sprintf("%s: %q in %s\n", proc, args, cwd)
		}
	}
	return out
}
