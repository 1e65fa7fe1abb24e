package rclone

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"

	"github.com/google/go-cmp/cmp"
)

// place is a remote of the real rclone and the directory behind it.
type place struct {
	*Remote
	dir    string
	server *exec.Cmd // nil for a directory
}

var threeFiles = []string{"data", "SUMS", "last"}

// configure writes an rclone.conf and returns the environment with it. Retries
// are few: these tests break things that will not mend.
func configure(t *testing.T, text string) []string {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "rclone.conf")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(conf), "RCLONE_CONFIG=" + conf, "RCLONE_RETRIES=1", "RCLONE_LOW_LEVEL_RETRIES=1"}
}

// newDirectory makes a remote that is a directory of this machine.
func newDirectory(t *testing.T) *place {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "the remote")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	env := configure(t, "[offsite]\ntype = alias\nremote = "+dir+"\n")
	return &place{Remote: &Remote{Path: realtools.Path(t, "rclone"), Base: "offsite:archives", Env: Environ(env), Files: threeFiles, Timeout: time.Minute}, dir: filepath.Join(dir, "archives")}
}

var served = regexp.MustCompile(`http://127\.0\.0\.1:\d+/`)

// newServer makes a remote that is a real WebDAV server, rclone's own.
func newServer(t *testing.T) *place {
	t.Helper()
	p := newDirectory(t)
	root := filepath.Dir(p.dir)
	said, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	p.server = exec.Command(p.Path, "serve", "webdav", root, "--addr", "127.0.0.1:0", "--dir-cache-time", "0s")
	p.server.Env, p.server.Stderr = p.Env, said
	if err := p.server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.server.Process.Kill()
		p.server.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		log, _ := os.ReadFile(said.Name())
		if url := served.FindString(string(log)); url != "" {
			p.Env = Environ(configure(t, "[offsite]\ntype = webdav\nvendor = other\nurl = "+url+"\n"))
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server did not start:\n%s", log)
		}
	}
}

// each runs a test against every kind of remote.
func each(t *testing.T, test func(t *testing.T, p *place)) {
	for name, make := range map[string]func(*testing.T) *place{"directory": newDirectory, "webdav": newServer} {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}

// source makes a local directory with the three files.
func source(t *testing.T, data string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"data": data, "SUMS": "sums", "last": "last"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (p *place) read(t *testing.T, name, file string) string {
	t.Helper()
	r, err := p.Open(t.Context(), name, file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (p *place) names(t *testing.T) []string {
	t.Helper()
	names, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestPutListOpenRemove(t *testing.T) {
	each(t, func(t *testing.T, p *place) {
		ctx := t.Context()
		if names := p.names(t); len(names) != 0 {
			t.Fatalf("a place that is not there holds %q", names)
		}
		for _, name := range []string{"b", "a with blanks"} {
			if err := p.Put(ctx, name, source(t, "data of "+name)); err != nil {
				t.Fatal(err)
			}
			if got := p.read(t, name, "data"); got != "data of "+name {
				t.Errorf("%s came back as %q", name, got)
			}
		}
		if diff := cmp.Diff([]string{"a with blanks", "b"}, p.names(t)); diff != "" {
			t.Error(diff)
		}
		if err := p.Remove(ctx, "b"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"a with blanks"}, p.names(t)); diff != "" {
			t.Error(diff)
		}
		if _, err := os.Stat(filepath.Join(p.dir, "b")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory is still there: %v", err)
		}
	})
}

// What is there already is the proof of an earlier run.
func TestPutNeverOverwrites(t *testing.T) {
	each(t, func(t *testing.T, p *place) {
		if err := p.Put(t.Context(), "a", source(t, "first")); err != nil {
			t.Fatal(err)
		}
		err := p.Put(t.Context(), "a", source(t, "second"))
		if err == nil || !strings.Contains(err.Error(), "already holds") || !strings.Contains(err.Error(), p.Location("a")) {
			t.Errorf("got %v", err)
		}
		if got := p.read(t, "a", "data"); got != "first" {
			t.Errorf("it now holds %q", got)
		}
		// Half of one is enough to refuse.
		os.Remove(filepath.Join(p.dir, "a", "last"))
		if err := p.Put(t.Context(), "a", source(t, "third")); err == nil {
			t.Error("a directory that is not complete was overwritten")
		}
	})
}

// An upload that ends half-way leaves nothing that is taken for complete.
func TestPutThatFails(t *testing.T) {
	each(t, func(t *testing.T, p *place) {
		dir := source(t, "data")
		os.Remove(filepath.Join(dir, "last"))
		err := p.Put(t.Context(), "a", dir)
		if err == nil {
			t.Fatal("no error")
		}
		if _, err := os.Stat(filepath.Join(p.dir, "a")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it was left there: %v", err)
		}
		if err := p.Put(t.Context(), "a", source(t, "data")); err != nil {
			t.Errorf("the next one: %v", err)
		}
	})
}

func TestListShowsOnlyWhatIsComplete(t *testing.T) {
	each(t, func(t *testing.T, p *place) {
		if err := p.Put(t.Context(), "whole", source(t, "data")); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"cut/data", "cut2/SUMS", "deeper/still/last", "last"} {
			path = filepath.Join(p.dir, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"whole"}, p.names(t)); diff != "" {
			t.Error(diff)
		}
	})
}

// A directory can be incomplete: a kill has cut the upload, or the removal.
func TestRemoveWhatIsIncomplete(t *testing.T) {
	each(t, func(t *testing.T, p *place) {
		for _, missing := range [][]string{{"last"}, {"data"}, {"last", "SUMS"}, {"data", "SUMS", "last"}} {
			if err := p.Put(t.Context(), "a", source(t, "data")); err != nil {
				t.Fatal(err)
			}
			for _, file := range missing {
				if err := os.Remove(filepath.Join(p.dir, "a", file)); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Remove(t.Context(), "a"); err != nil {
				t.Errorf("without %q: %v", missing, err)
			}
			if _, err := os.Stat(filepath.Join(p.dir, "a")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("without %q: the directory is still there", missing)
			}
		}
		if err := p.Remove(t.Context(), "never there"); err != nil {
			t.Error(err)
		}
	})
}

// Somebody else's file is left, and said.
func TestRemoveLeavesOtherFiles(t *testing.T) {
	each(t, func(t *testing.T, p *place) {
		if err := p.Put(t.Context(), "a", source(t, "data")); err != nil {
			t.Fatal(err)
		}
		notes := filepath.Join(p.dir, "a", "notes.txt")
		if err := os.WriteFile(notes, []byte("keep"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := p.Remove(t.Context(), "a")
		if _, stat := os.Stat(notes); stat != nil {
			t.Errorf("the other file is gone (%v)", stat)
		}
		if err == nil {
			t.Error("nobody was told that the directory is still there")
		}
		if len(p.names(t)) != 0 {
			t.Error("it is still taken for complete")
		}
	})
}

func TestErrorsAreReadable(t *testing.T) {
	p := newDirectory(t)
	p.Base = "offsit:archives" // a slip of the pen
	for what, err := range map[string]error{
		"List": second(p.List(t.Context())), "Put": p.Put(t.Context(), "a", source(t, "")), "Remove": p.Remove(t.Context(), "a"),
	} {
		if err == nil || !strings.Contains(err.Error(), "offsit:") || !strings.Contains(err.Error(), "didn't find section in config file") {
			t.Errorf("%s: %v", what, err)
		}
	}
	r, _ := p.Open(t.Context(), "a", "data")
	if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "didn't find section") {
		t.Errorf("Read: %v", err)
	}
	if err := r.Close(); err == nil {
		t.Error("Close: no error")
	}

	// A server that is not there must not look like a place that is empty.
	p = newServer(t)
	if err := p.Put(t.Context(), "a", source(t, "data")); err != nil {
		t.Fatal(err)
	}
	p.server.Process.Kill()
	p.server.Wait()
	names, err := p.List(t.Context())
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("the server is down: %q, %v", names, err)
	}
}

func second(_ []string, err error) error { return err }

func TestOpenOfWhatIsMissing(t *testing.T) {
	each(t, func(t *testing.T, p *place) {
		if err := p.Put(t.Context(), "a", source(t, "")); err != nil {
			t.Fatal(err)
		}
		if got := p.read(t, "a", "data"); got != "" {
			t.Errorf("an empty file came back as %q", got)
		}
		for _, name := range []string{"a", "b"} {
			r, err := p.Open(t.Context(), name, "nothing")
			if err != nil {
				t.Fatal(err)
			}
			if data, err := io.ReadAll(r); err == nil {
				t.Errorf("%s/nothing reads as %q", name, data)
			}
			if err := r.Close(); err == nil {
				t.Errorf("%s/nothing: no error from Close", name)
			}
		}
	})
}

// bigFile puts a file on the remote that does not fit into any buffer on the way.
func (p *place) bigFile(t *testing.T) []byte {
	t.Helper()
	data := make([]byte, 64<<20)
	rand.Read(data)
	dir := filepath.Join(p.dir, "big")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return data
}

// The server dies while it is being read from.
func TestDownloadThatBreaksOff(t *testing.T) {
	p := newServer(t)
	data := p.bigFile(t)
	r, err := p.Open(t.Context(), "big", "data")
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 1<<20)
	if _, err := io.ReadFull(r, head); err != nil || !bytes.Equal(head, data[:len(head)]) {
		t.Fatalf("the beginning: %v", err)
	}
	p.server.Process.Kill()
	p.server.Wait()
	n, err := io.Copy(io.Discard, r)
	if err == nil {
		t.Errorf("%d of %d bytes and no error", n+int64(len(head)), len(data))
	}
	if err := r.Close(); err == nil {
		t.Error("no error from Close")
	}
}

// A reader that has seen enough gets away at once, from a server that does not
// answer too, and leaves neither a goroutine nor a process behind.
func TestCloseBeforeTheEnd(t *testing.T) {
	p := newServer(t)
	p.bigFile(t)
	before := runtime.NumGoroutine()
	for _, hung := range []bool{false, false, true, true} {
		r, err := p.Open(t.Context(), "big", "data")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if hung {
			p.server.Process.Signal(syscall.SIGSTOP)
		}
		start := time.Now()
		for range 2 { // as a deferred Close after an explicit one
			if err := r.Close(); err != nil {
				t.Errorf("hung: %v: %v", hung, err)
			}
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("hung: %v: it took %s", hung, took)
		}
		p.server.Process.Signal(syscall.SIGCONT)
	}
	// Never read from at all.
	r, err := p.Open(t.Context(), "big", "data")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

func TestDeadline(t *testing.T) {
	p := newServer(t)
	p.bigFile(t)
	p.server.Process.Signal(syscall.SIGSTOP)
	defer p.server.Process.Signal(syscall.SIGCONT)
	p.Timeout = time.Second
	if _, err := p.List(t.Context()); err == nil || !strings.Contains(err.Error(), "no end after 1s") {
		t.Errorf("List: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the job was cancelled"))
	if _, err := p.List(ctx); err == nil || !strings.Contains(err.Error(), "the job was cancelled") {
		t.Errorf("List after a cancel: %v", err)
	}
}

// recorder is a double of rclone: it writes down its arguments and its
// environment and becomes the real one.
const recorder = `#!/bin/sh
{ printf 'arg %%s\n' "$@"; env; } >>'%s'
exec '%s' "$@"
`

// Nothing secret of the job reaches rclone, and nothing secret of rclone's
// stands in its arguments, where every process of the machine can read it.
func TestWhatRcloneSees(t *testing.T) {
	p := newDirectory(t)
	log := filepath.Join(t.TempDir(), "seen")
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "rclone"), fmt.Appendf(nil, recorder, log, p.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	path, err := Find("rclone")
	if err != nil || filepath.Dir(path) != bin {
		t.Fatalf("found %s, %v", path, err)
	}
	p.Path = path
	p.Env = Environ(append(p.Env,
		"RCLONE_CONFIG_PASS=pass-of-the-config", "GITHUB_TOKEN=hunter2", "INPUT_TOKEN=hunter2", "OCI_CLI_KEY_CONTENT=hunter2", "AWS_SECRET_ACCESS_KEY=hunter2",
		"TF_VAR_password=hunter2", "ACTIONS_RUNTIME_TOKEN=hunter2", "XRCLONE_A=hunter2"))
	if err := p.Put(t.Context(), "a", source(t, "data")); err != nil {
		t.Fatal(err)
	}
	p.names(t)
	p.read(t, "a", "data")
	if err := p.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	seen := string(data)
	for _, command := range []string{"lsf", "copyto", "cat", "deletefile", "rmdir"} {
		if !strings.Contains(seen, "arg "+command+"\n") {
			t.Errorf("rclone %s was not run", command)
		}
	}
	if strings.Contains(seen, "hunter2") {
		t.Errorf("a secret of the job reached rclone:\n%s", seen)
	}
	if !strings.Contains(seen, "\nRCLONE_CONFIG_PASS=pass-of-the-config\n") {
		t.Error("rclone did not get the password of its configuration")
	}
	for line := range strings.Lines(seen) {
		if strings.HasPrefix(line, "arg ") && strings.Contains(line, "pass-of-the-config") {
			t.Errorf("a secret in an argument: %s", line)
		}
	}
}

// A connection string is a remote whose options, passwords among them, stand
// in the argument.
func TestIsRemote(t *testing.T) {
	for s, want := range map[string]bool{
		"pcloud:": true, "pcloud:state/edge": true, "my remote-1.0@home:x": true,
		"": false, "/var/archives": false, "./a:b": false, ":sftp,host=h,pass=hunter2:x": false, "pcloud,pass=hunter2:x": false, "-v:x": false, " a:x": false,
	} {
		if got := IsRemote(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestLocation(t *testing.T) {
	for base, want := range map[string]string{"a:": "a:n", "a:b": "a:b/n", "a:b/": "a:b/n", "a:/b": "a:/b/n"} {
		if got := (&Remote{Base: base}).Location("n"); got != want {
			t.Errorf("%s: %s, not %s", base, got, want)
		}
	}
}

func TestEnvironHasNoOthers(t *testing.T) {
	env := Environ([]string{"RCLONE_CONFIG=/c", "RCLONE_CONFIG_PASS=p", "SSH_AUTH_SOCK=/s", "TOKEN=x", "GITHUB_TOKEN=x"})
	for _, kv := range env {
		if strings.HasSuffix(kv, "=x") {
			t.Errorf("%s got through", kv)
		}
	}
	if !slices.Contains(env, "RCLONE_CONFIG_PASS=p") || !slices.Contains(env, "SSH_AUTH_SOCK=/s") {
		t.Errorf("%q", env)
	}
}
