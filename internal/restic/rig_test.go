package restic

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/restictest"
	"edge-actions/internal/verdict"
)

func TestMain(m *testing.M) { os.Exit(restictest.Main(m)) }

// generous is a deadline that a passing test does not come near.
const generous = 2 * time.Minute

// place is a repository of the real restic's, made and filled by its owner,
// who may do everything.
type place struct {
	t        testing.TB
	dir      string
	location string
	password string
	env      []string // of the owner
	flags    []string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{t: t, dir: dir, location: filepath.Join(dir, "repository"), password: write(t, filepath.Join(dir, "password"), restictest.Password+"\n")}
	p.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	p.flags = []string{"--no-cache"}
	return p
}

// newRepository makes one with its keys.
func newRepository(t testing.TB) *place {
	t.Helper()
	p := newPlace(t)
	restictest.New(t, p.location)
	return p
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// command is the owner's restic.
func (p *place) command(args ...string) *exec.Cmd {
	cmd := exec.Command(realtools.Path(p.t, "restic"), append(args, p.flags...)...)
	cmd.Env = append([]string{"RESTIC_REPOSITORY=" + p.location, "RESTIC_PASSWORD_FILE=" + p.password}, p.env...)
	return cmd
}

func (p *place) owner(args ...string) string {
	p.t.Helper()
	cmd := p.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("restic %q: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

// backup writes files below a directory of this name and makes a snapshot. It
// returns the snapshot's id.
func (p *place) backup(name string, files map[string]string, flags ...string) string {
	p.t.Helper()
	root := filepath.Join(p.dir, name)
	for file, text := range files {
		write(p.t, filepath.Join(root, file), text)
	}
	cmd := p.command(append([]string{"backup", "--json", name}, flags...)...)
	cmd.Dir = p.dir
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("backup of %s: %v", name, err)
	}
	_, id, found := strings.Cut(string(out), `"snapshot_id":"`)
	if !found {
		p.t.Fatalf("backup of %s: %s", name, out)
	}
	return id[:64]
}

func (p *place) repository() Repository {
	return Repository{URL: p.location, PasswordFile: p.password}
}

// client reads the repository on this machine.
func (p *place) client() *Client {
	p.t.Helper()
	return newClient(p.t, Local{Env: Environ(p.env)}, p.repository(), Options{Timeout: generous})
}

func newClient(t testing.TB, r Local, repo Repository, o Options) *Client {
	t.Helper()
	c, err := New(r, repo, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refused fails the test unless err is the refusal id, with all of the words.
func refused(t testing.TB, err error, id string, words ...string) {
	t.Helper()
	if verdict.Reason(err) != id || len(verdict.ChecksOf(err)) != 1 {
		t.Errorf("wanted %s, found %v", id, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("wanted %q in %v", word, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("foreign text that is not quoted: %q", err.Error())
	}
}

// double is a restic that says what a test wants it to: it follows restic's
// manual, "Scripting", for what a real one does only when its repository or its
// network breaks at the right moment, and for versions that are not here. It
// knows no repository. script is for a POSIX sh; $1 is the subcommand.
func double(t testing.TB, version, script string) *Client {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "restic")
	text := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = version ]; then echo '{\"message_type\":\"version\",\"version\":\"%s\"}'; exit 0; fi\n%s\n", version, script)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return newClient(t, Local{Path: path, Env: []string{"PATH=" + os.Getenv("PATH")}},
		Repository{URL: "rest:http://user:hunter2@127.0.0.1:1/", PasswordFile: write(t, filepath.Join(dir, "password"), "x")}, Options{Timeout: generous})
}

// anywhere is an id that no snapshot has.
var anywhere = strings.Repeat("0123456789abcdef", 4)

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
