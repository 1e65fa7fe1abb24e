// Package forgetest runs a real Gitea, the forge that Forgejo grew from, for the
// tests of a package: on a free port of loopback, with SQLite, in a directory
// that goes with it. One server is shared by all tests of a binary; each test
// makes its own repositories and tokens. What Forgejo answers differently is a
// double of it, see Forgejo.
package forgetest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
)

// User owns every repository, and is an administrator.
const User = "operator"

// Forge is a running Gitea.
type Forge struct {
	URL string

	// password is another one for each: whoever answers at the port in its place
	// does not know it.
	password string
	stdin    io.Closer // ends it
	ended    chan struct{}
	names    atomic.Int64
}

// shared is started by the first test that needs it.
var shared struct {
	sync.Once
	forge *Forge
	err   error
}

// New returns the forge of this test binary.
func New(t testing.TB) *Forge {
	t.Helper()
	gitea := realtools.Path(t, "gitea")
	realtools.Path(t, "git")
	shared.Do(func() {
		for range 3 { // somebody else may take the port before it does
			if shared.forge, shared.err = start(gitea); shared.err == nil {
				return
			}
		}
	})
	if shared.err != nil {
		t.Fatalf("starting a forge: %v", shared.err)
	}
	return shared.forge
}

// Main runs the tests of a package that uses New, and ends what it started.
func Main(m *testing.M) int {
	code := m.Run()
	if f := shared.forge; f != nil { // no test runs any more
		f.stop()
	}
	return code
}

// config is the app.ini. Hashing a password is as cheap as it gets, and nobody
// but this machine is served or asked.
const config = `RUN_MODE = prod
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = %[1]s
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %[2]d
ROOT_URL = http://127.0.0.1:%[2]d/
STATIC_ROOT_PATH = %[3]s
OFFLINE_MODE = true
DISABLE_SSH = true
[database]
DB_TYPE = sqlite3
PATH = %[1]s/gitea.db
SQLITE_JOURNAL_MODE = WAL
[repository]
ROOT = %[1]s/repositories
[security]
INSTALL_LOCK = true
SECRET_KEY = of-a-test
INTERNAL_TOKEN = of-a-test-too
PASSWORD_HASH_ALGO = pbkdf2$1$50
PASSWORD_COMPLEXITY = off
[migrations]
ALLOW_LOCALNETWORKS = true
[mirror]
MIN_INTERVAL = 1m
[actions]
ENABLED = true
[cron]
ENABLED = false
[picture]
DISABLE_GRAVATAR = true
[log]
LEVEL = Warn
[indexer]
ISSUE_INDEXER_TYPE = db
`

// lifeline runs the server for as long as somebody holds the other end of its
// stdin: a test binary that is killed leaves nothing behind. $1 is gitea, $2
// the configuration, $3 the directory. It is ended with KILL: at a TERM, Gitea 1.25
// hangs for good if connections are being closed just then (its log says "negative
// WaitGroup counter"), and nothing of it is kept.
const lifeline = `exec 3<&0
"$1" web --config "$2" 3<&- & pid=$!
{ read -r _ <&3; kill -KILL "$pid"; } & reader=$!
wait "$pid"
kill "$reader"
rm -rf "$3"`

func start(gitea string) (f *Forge, err error) {
	static, err := staticRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "forgetest-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	ini := filepath.Join(dir, "app.ini")
	if err := os.WriteFile(ini, fmt.Appendf(nil, config, dir, port, static), 0o600); err != nil {
		return nil, err
	}
	// git of the server's, and the server's of nothing that lies in a home.
	env := realtools.Environ("HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "USER="+User)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	server := exec.Command("/bin/sh", "-c", lifeline, "sh", gitea, ini, dir)
	server.Env, server.Stdout, server.Stderr = env, log, log
	// A kill of the test's process group is no end of the one that cleans up.
	server.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	f = &Forge{URL: fmt.Sprintf("http://127.0.0.1:%d", port), password: rand.Text(), ended: make(chan struct{})}
	if f.stdin, err = server.StdinPipe(); err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, err
	}
	go func() {
		server.Wait() //nolint:errcheck // how it ends is of no interest
		close(f.ended)
	}()
	setup := exec.Command(gitea, "admin", "user", "create", "--config", ini, "--admin", "--username", User, "--password", f.password, "--email", User+"@example.org", "--must-change-password=false")
	setup.Env = env
	err = f.answers("/api/v1/version") // with its tables made
	if err == nil {
		var out []byte
		if out, err = setup.CombinedOutput(); err != nil {
			err = fmt.Errorf("gitea admin user create: %w\n%s", err, out)
		}
	}
	if err == nil {
		err = f.answers("/api/v1/user") // and it is this one
	}
	if err != nil {
		f.stop()
		text, _ := io.ReadAll(io.NewSectionReader(log, 0, 1<<20))
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	return f, nil
}

// staticRoot is the module's own directory: its templates are not in the binary.
func staticRoot() (string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("looking for this module: %w", err)
	}
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "code.gitea.io/gitea")
	cmd.Dir = filepath.Join(strings.TrimSpace(string(root)), "scripts", "tools", "gitea")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.CombinedOutput()
	dir := strings.TrimSpace(string(out))
	if err == nil && !filepath.IsAbs(dir) { // it is known, and not there
		err = errors.New("it is not downloaded")
	}
	if err != nil {
		return "", fmt.Errorf("looking for Gitea's module, which scripts/tools/install gitea downloads: %w\n%s", err, out)
	}
	return dir, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// answers waits until the forge answers well, to its administrator.
func (f *Forge) answers(path string) error {
	deadline := time.Now().Add(time.Minute)
	for {
		req, err := http.NewRequest(http.MethodGet, f.URL+path, nil)
		if err != nil {
			return err
		}
		req.SetBasicAuth(User, f.password)
		if path == "/api/v1/version" { // there is no administrator yet
			req.Header.Del("Authorization")
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			if err = errors.New(res.Status); res.StatusCode < 500 {
				return err
			}
		}
		select {
		case <-f.ended:
			return errors.New("it ended at once")
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer within a minute: %w", err)
		}
	}
}

func (f *Forge) stop() {
	f.stdin.Close()
	<-f.ended
}

// name is one that no other test has.
func (f *Forge) name(what string) string { return fmt.Sprintf("%s-%d", what, f.names.Add(1)) }

// API asks the forge as its administrator, and wants it to be done.
func (f *Forge) API(t testing.TB, method, path string, body, into any) {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, f.URL+"/api/v1"+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(User, f.password)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s %v\n%s", method, path, res.Status, err, out)
	}
	if into != nil {
		if err := json.Unmarshal(out, into); err != nil {
			t.Fatalf("%s %s: %v\n%s", method, path, err, out)
		}
	}
}

// Token makes an access token of User's with the scopes.
func (f *Forge) Token(t testing.TB, scopes ...string) string {
	t.Helper()
	var made struct{ SHA1 string }
	f.API(t, http.MethodPost, "/users/"+User+"/tokens", map[string]any{"name": f.name("token"), "scopes": scopes}, &made)
	return made.SHA1
}
