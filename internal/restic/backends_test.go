package restic

import (
	"crypto/sha1" // the format of a htpasswd file
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/sshdtest"
)

// restServer is a real one that takes no deletion, as BorgBase's.
type restServer struct {
	address string
	dir     string
}

func newRestServer(t testing.TB) *restServer {
	t.Helper()
	dir := t.TempDir()
	sum := sha1.Sum([]byte("hunter2"))
	users := write(t, filepath.Join(dir, "users"), "edge:{SHA}"+base64.StdEncoding.EncodeToString(sum[:])+"\n")
	s := &restServer{address: freeAddress(t), dir: filepath.Join(dir, "data")}
	log := &lockedBuffer{}
	cmd := exec.Command(realtools.Path(t, "rest-server"), "--append-only", "--path", s.dir, "--listen", s.address, "--htpasswd-file", users)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the server said:\n%s", log)
		}
	})
	listens(t, s.address)
	return s
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

func listens(t testing.TB, address string) {
	t.Helper()
	for end := time.Now().Add(generous); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody listens at %s", address)
		}
	}
}

// everything asks for all that this package can.
func everything(t *testing.T, c *Client, id, target string) {
	t.Helper()
	if config, err := c.Config(t.Context()); err != nil || config.ID == "" {
		t.Errorf("%+v, %v", config, err)
	}
	if all, err := c.Snapshots(t.Context()); err != nil || len(all) != 1 || all[0].ID != id {
		t.Errorf("%+v, %v", all, err)
	}
	n := 0
	if err := c.Ls(t.Context(), id, func(Node) error { n++; return nil }); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	if stats, err := c.RestoreSize(t.Context(), id); err != nil || stats.Files != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
	if _, err := c.Restore(t.Context(), id, target, RestoreOptions{Verify: true}); err != nil {
		t.Error(err)
	}
	if _, err := c.Check(t.Context(), All); err != nil {
		t.Error(err)
	}
	if locks, err := c.Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Errorf("%+v, %v", locks, err)
	}
}

func TestRestServer(t *testing.T) {
	t.Parallel()
	s := newRestServer(t)
	p := newPlace(t)
	p.location = "rest:http://edge:hunter2@" + s.address + "/edge/"
	p.owner("init")
	id := p.backup("data", map[string]string{"a": "abc"})
	everything(t, p.client(), id, filepath.Join(p.dir, "out"))

	wrong := Repository{URL: "rest:http://edge:hunter3@" + s.address + "/edge/", PasswordFile: p.password}
	_, err := newClient(t, Local{Env: Environ(p.env)}, wrong, Options{Timeout: generous}).Config(t.Context())
	refused(t, err, Failed, "401", "edge:***@")
	nothing := Repository{URL: "rest:http://edge:hunter2@" + s.address + "/other/", PasswordFile: p.password}
	_, err2 := newClient(t, Local{Env: Environ(p.env)}, nothing, Options{Timeout: generous}).Config(t.Context())
	refused(t, err2, NoRepository)
	if all := errors.Join(err, err2).Error(); strings.Contains(all, "hunter") {
		t.Error(all)
	}
}

// A server that stops answering half-way: restic is ended in time, and leaves
// nothing behind that would stop anybody else.
func TestRestServerThatStalls(t *testing.T) {
	t.Parallel()
	s := newRestServer(t)
	stall := newStall(t, s.address)
	p := newPlace(t)
	p.location = "rest:http://edge:hunter2@" + s.address + "/edge/"
	p.owner("init")
	id := p.backup("data", map[string]string{"a": strings.Repeat("abc", 1<<20)})
	path, pid := recording(t, p.dir, "restic")
	c := newClient(t, Local{Path: path, Env: Environ(p.env)}, Repository{URL: "rest:http://edge:hunter2@" + stall.address + "/edge/", PasswordFile: p.password}, Options{Timeout: generous})
	if _, err := c.Snapshots(t.Context()); err != nil {
		t.Fatal(err)
	}
	stall.after(4 << 10)
	_, err := c.WithTimeout(4*time.Second).Restore(t.Context(), id, filepath.Join(p.dir, "out"), RestoreOptions{Verify: true})
	refused(t, err, Timeout, "received, cleaning up")
	gone(t, pid)
	if locks, err := p.client().Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Errorf("%+v, %v", locks, err)
	}
}

// stall is a proxy that falls silent after so many bytes of answers.
type stall struct {
	address string
	mu      sync.Mutex
	left    int // -1: no limit
}

func newStall(t testing.TB, to string) *stall {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stall{address: l.Addr().String(), left: -1}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			t.Cleanup(func() { in.Close(); out.Close() })
			go func() {
				io.Copy(out, in)
				out.Close()
			}()
			go s.answers(in, out)
		}
	}()
	return s
}

func (s *stall) after(bytes int) {
	s.mu.Lock()
	s.left = bytes
	s.mu.Unlock()
}

func (s *stall) answers(to, from net.Conn) {
	buf := make([]byte, 1<<10)
	for {
		n, err := from.Read(buf)
		s.mu.Lock()
		silent := s.left == 0
		if s.left > 0 {
			s.left = max(0, s.left-n)
		}
		s.mu.Unlock()
		if silent {
			return // both ends stay open
		}
		to.Write(buf[:n])
		if err != nil {
			to.Close()
			return
		}
	}
}

func TestSFTP(t *testing.T) {
	t.Parallel()
	// Its sessions have a variable that would hide snapshots.
	h := sshdtest.Start(t, "Subsystem sftp internal-sftp", "SetEnv RESTIC_HOST=nobody RESTIC_PASSWORD=hunter2 STRANGER=hunter2")
	p := newPlace(t)
	where := p.location
	command := "sftp.command=ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=" + write(t, filepath.Join(p.dir, "known_hosts"), h.KnownHosts("127.0.0.1")) +
		" -o IdentitiesOnly=yes -i " + h.Identity + " -p " + strconv.Itoa(h.Port) + " 127.0.0.1 -s sftp"
	p.owner("init")
	id := p.backup("data", map[string]string{"a": "abc"})
	repo := Repository{URL: "sftp:127.0.0.1:" + where, PasswordFile: p.password, Options: []string{command}}
	c := newClient(t, Local{Env: Environ(p.env)}, repo, Options{Timeout: generous})
	everything(t, c, id, filepath.Join(p.dir, "out"))

	repo.URL += "/nothing"
	_, err := newClient(t, Local{Env: Environ(p.env)}, repo, Options{Timeout: generous}).Config(t.Context())
	refused(t, err, NoRepository)
	h.Stop()
	_, err = c.Config(t.Context())
	refused(t, err, Unreachable)
	if _, err := os.Stat(filepath.Join(where, "config")); err != nil {
		t.Error(err)
	}
}
