package tailnetlab

import (
	"io"
	"net"
	"testing"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/tailnet"

	"golang.org/x/crypto/ssh"
	"tailscale.com/tailcfg"
)

// pipe is what a child says and is told, as a connection.
type pipe struct {
	io.Reader
	io.WriteCloser
	net.Conn // the rest, which nobody calls
}

func (p pipe) Read(b []byte) (int, error)  { return p.Reader.Read(b) }
func (p pipe) Write(b []byte) (int, error) { return p.WriteCloser.Write(b) }
func (p pipe) Close() error                { return p.WriteCloser.Close() }
func (pipe) LocalAddr() net.Addr           { return &net.TCPAddr{} }
func (pipe) RemoteAddr() net.Addr          { return &net.TCPAddr{} }
func (pipe) SetDeadline(time.Time) error   { return nil }

// The keys that the tailnet tells are the ones that the node shows.
func TestHostKeysAreTheOnesThatTheNodeShows(t *testing.T) {
	n := New(t)
	n.Control.SSHPolicy = &tailcfg.SSHPolicy{}
	a, plain, b := n.Join("edge-1"), n.Join("edge-2"), n.Start("edge-3")
	b.Up("--ssh", "--accept-risk=all")
	s := a.Await("host keys", func(s *tailnet.Status) bool {
		p, err := s.Peer("edge-3")
		return err == nil && len(p.HostKeys()) > 0
	})
	if p, err := s.Peer(plain.Name); err != nil || len(p.HostKeys()) != 0 {
		t.Errorf("keys of a node without Tailscale SSH: %+v, %v", p, err)
	}
	known := map[string]bool{}
	p, err := s.Peer("edge-3")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range p.HostKeys() {
		key, err := sshx.ParseHostKey(line)
		if err != nil {
			t.Fatal(err)
		}
		known[string(key.Marshal())] = true
	}
	nc := a.Command("nc", b.IP().String(), "22")
	stdin, err := nc.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := nc.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close()
		nc.Process.Kill()
		_ = nc.Wait()
	}()
	var shown ssh.PublicKey
	_, _, _, err = ssh.NewClientConn(pipe{Reader: stdout, WriteCloser: stdin}, "edge-3", &ssh.ClientConfig{
		User:            "nobody",
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { shown = key; return nil },
	})
	if shown == nil {
		t.Fatalf("no key was shown: %v", err)
	}
	if !known[string(shown.Marshal())] {
		t.Errorf("it showed %s, and the tailnet knows %q", shown.Type(), p.HostKeys())
	}
}
