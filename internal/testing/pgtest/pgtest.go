// Package pgtest runs a real PostgreSQL for a test: on a free port of loopback,
// in a directory that goes with it, as a user without rights, since initdb
// refuses root. It can be stopped as a crash would and started again at the
// same port. A machine without PostgreSQL fails the test.
package pgtest

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
)

// User owns everything in the server.
const User = "operator"

// Server is a PostgreSQL of one test.
type Server struct {
	// Password is User's; another one for each server.
	Password string
	Port     int

	t        testing.TB
	bin, dir string
	as       *syscall.Credential // nil: as this process
	words    io.WriteCloser      // to the lifeline
	answers  *bufio.Scanner
}

// lifeline starts and stops the server at a word on stdin, and ends it and
// removes its directory when nobody holds the other end any more: a test binary
// that is killed leaves nothing behind. $1 is postgres, $2 the directory, $3
// the port. SIGQUIT is the immediate shutdown: no client is heard, nothing is
// written, and the next start recovers as after a crash.
const lifeline = `pid=
while read -r word; do
	case $word in
	start) "$1" -D "$2/data" -p "$3" >>"$2/log" 2>&1 </dev/null & pid=$! ;;
	stop) [ -z "$pid" ] || { kill -QUIT "$pid"; wait "$pid"; }; pid= ;;
	esac
	echo "$word"
done
[ -z "$pid" ] || { kill -QUIT "$pid"; wait "$pid"; }
rm -rf "$2"`

// fsync is for machines that lose power, which no test can do.
const config = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
shared_buffers = 16MB
max_connections = 30
`

// New starts a server. It ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{Password: rand.Text(), t: t, bin: binaries(t)}
	s.as = credential(t)
	var err error
	// Not t.TempDir: what is above that belongs to this user alone.
	if s.dir, err = os.MkdirTemp("", "pgtest-"); err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(s.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.as != nil {
		for _, path := range []string{s.dir, password} {
			if err := os.Chown(path, int(s.as.Uid), int(s.as.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	data := filepath.Join(s.dir, "data")
	initdb := s.command("initdb", "-D", data, "-U", User, "--pwfile="+password, "--auth=scram-sha-256", "--no-sync", "--locale=C", "--encoding=UTF8")
	if out, err := initdb.CombinedOutput(); err != nil {
		os.RemoveAll(s.dir)
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	f, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		if _, err = f.WriteString(config); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Port = freePort(t)
	s.hold()
	s.Start()
	return s
}

// hold starts the lifeline.
func (s *Server) hold() {
	s.t.Helper()
	cmd := s.command("/bin/sh", "-c", lifeline, "sh", filepath.Join(s.bin, "postgres"), s.dir, strconv.Itoa(s.Port))
	cmd.SysProcAttr.Setsid = true // a kill of the test's process group is no end of the one that cleans up
	var err error
	if s.words, err = cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.answers = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		s.words.Close()
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("ending PostgreSQL: %v", err)
		}
	})
}

func (s *Server) tell(word string) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.words, word); err != nil || !s.answers.Scan() || s.answers.Text() != word {
		s.t.Fatalf("PostgreSQL did not %s (%v)", word, err)
	}
}

// Start starts a stopped server, at the port that it had, and waits until it
// answers.
func (s *Server) Start() {
	s.t.Helper()
	s.tell("start")
	var said error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var out []byte
		if out, said = s.psql("postgres", "SELECT 1").CombinedOutput(); said == nil {
			return
		}
		said = fmt.Errorf("%w: %s", said, out)
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	s.t.Fatalf("PostgreSQL does not answer within a minute: %v\n%s", said, log)
}

// Stop ends the server at once, in the middle of whatever it is at.
func (s *Server) Stop() {
	s.t.Helper()
	s.tell("stop")
}

// Database makes an empty database and returns how it is reached.
func (s *Server) Database(name string) (conn string) {
	s.t.Helper()
	s.Query("postgres", `CREATE DATABASE "`+name+`"`)
	return s.Conn(name)
}

// Conn is the URL of a database, with the password in it.
func (s *Server) Conn(name string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(User, s.Password), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)), Path: name, RawQuery: "sslmode=disable"}
	return u.String()
}

// Query has the server do something and returns the rows, without titles.
func (s *Server) Query(database, sql string) string {
	s.t.Helper()
	cmd := s.psql(database, sql)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", sql, err, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// Log is what the server has said.
func (s *Server) Log() string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

func (s *Server) psql(database, sql string) *exec.Cmd {
	cmd := s.command("psql", "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-U", User, "-d", database, "-c", sql)
	cmd.Env = append(cmd.Env, "PGPASSWORD="+s.Password, "PGCONNECT_TIMEOUT=5")
	return cmd
}

// command is one of PostgreSQL's programs, or another one by its path, as the
// server's user.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	if !filepath.IsAbs(name) {
		name = filepath.Join(s.bin, name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	// PG* of this machine would lead elsewhere.
	cmd.Env = slices.DeleteFunc(realtools.Environ("HOME="+s.dir), func(kv string) bool { return strings.HasPrefix(kv, "PG") })
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

// binaries is where PostgreSQL's programs are. Debian keeps those of the server
// off PATH, in a directory for each major version.
func binaries(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err == nil && len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	path, err := exec.LookPath("postgres")
	if err == nil {
		path, err = filepath.EvalSymlinks(path) // the others are beside the program itself
	}
	if err != nil {
		t.Fatal("PostgreSQL is not on this machine: run the tests with ./scripts/test, which installs it (Debian: apt-get install postgresql)")
	}
	return filepath.Dir(path)
}

// credential is who the server runs as: this user, or one without rights if
// this is root.
func credential(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	t.Fatal("there is no user postgres and no user nobody, and PostgreSQL does not run as root")
	return nil
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
