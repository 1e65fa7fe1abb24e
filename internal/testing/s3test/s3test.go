// Package s3test runs a real S3 server for a test, that of rclone over a
// directory: on a free port of loopback, with a key of its own. It honours
// conditional writes, on which OpenTofu's lock file stands. It has one region
// and does not know versions of objects.
package s3test

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
)

// Server is an S3 server of one test.
type Server struct {
	URL               string
	AccessKey, Secret string

	t   testing.TB
	dir string
}

// listed is for how long the server believes its last look into a directory.
// With 0 a timer of its own would keep a processor busy (rclone 1.76).
const listed = 20 * time.Millisecond

// lifeline runs the server for as long as somebody holds the other end of its
// stdin: a test binary that is killed leaves nothing behind.
const lifeline = `exec 3<&0
"$@" 3<&- </dev/null & pid=$!
{ read -r _ <&3; kill "$pid"; } & reader=$!
wait "$pid"
kill "$reader" 2>/dev/null
exit 0`

// New starts a server. It ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	rclone := realtools.Path(t, "rclone-s3")
	base := t.TempDir()
	s := &Server{AccessKey: "AK" + rand.Text()[:14], Secret: rand.Text(), t: t, dir: filepath.Join(base, "buckets")}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(base, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	addr := freeAddress(t)
	s.URL = "http://" + addr
	// The key is in the environment: in an argument every process would see it.
	cmd := exec.Command("/bin/sh", "-c", lifeline, "sh", rclone, "serve", "s3", s.dir, "--addr", addr, "--config", "", "--dir-cache-time", listed.String(), "--cache-dir", filepath.Join(base, "cache"))
	cmd.Env = realtools.Environ("HOME="+base, "RCLONE_AUTH_KEY=\""+s.AccessKey+","+s.Secret+"\"") // a line of CSV
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() //nolint:errcheck // how it ends is of no interest
		close(ended)
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-ended
	})
	for end := time.Now().Add(time.Minute); ; {
		res, err := http.Get(s.URL)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusForbidden { // without the key
				return s
			}
			err = fmt.Errorf("it answers %s to a stranger", res.Status)
		}
		select {
		case <-ended:
			err = fmt.Errorf("it ended at once (%w)", err)
			end = time.Now()
		case <-time.After(20 * time.Millisecond):
		}
		if !time.Now().Before(end) {
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("the S3 server does not answer: %v\n%s", err, said)
		}
	}
}

// Bucket makes an empty bucket.
func (s *Server) Bucket(name string) {
	s.t.Helper()
	if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

// Object returns the bytes of an object, "" if there is none.
func (s *Server) Object(bucket, key string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, bucket, filepath.FromSlash(key)))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(data)
}

// Remove removes an object behind the server's back, and waits until it must
// have noticed.
func (s *Server) Remove(bucket, key string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, bucket, filepath.FromSlash(key))); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(2 * listed)
}

// Keys lists the objects of a bucket.
func (s *Server) Keys(bucket string) []string {
	s.t.Helper()
	var out []string
	root := filepath.Join(s.dir, bucket)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		out = append(out, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
