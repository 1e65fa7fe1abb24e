package main

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"edge-actions/internal/testing/lab"

	"golang.org/x/crypto/ssh"
)

// bastion is a double of OCI's bastion host: whoever has the key of a session
// that is ACTIVE in the cloud may log in as the session's id, and gets nothing
// but a connection to that session's target. It leaves out managed SSH
// sessions and SOCKS.
type bastion struct {
	hostKey string
	port    int
	through int // connections that were made
}

func newBastion(t *testing.T, j *job) *bastion {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	target := func(user string, key ssh.PublicKey) string {
		for _, s := range j.cloud.World().Sessions {
			k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.KeyDetails["publicKeyContent"]))
			if s.ID == user && s.LifecycleState == "ACTIVE" && err == nil && string(k.Marshal()) == string(key.Marshal()) {
				return net.JoinHostPort(s.Target.PrivateIP, strconv.Itoa(s.Target.Port))
			}
		}
		return ""
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		to := target(c.User(), key)
		if to == "" {
			return nil, fmt.Errorf("no session")
		}
		return &ssh.Permissions{Extensions: map[string]string{"to": to}}, nil
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &bastion{hostKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), port: l.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(c, config)
		}
	}()
	return b
}

func (b *bastion) serve(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		var to struct {
			Host       string
			Port       uint32
			OriginHost string
			OriginPort uint32
		}
		want := conn.Permissions.Extensions["to"]
		if ch.ChannelType() != "direct-tcpip" || ssh.Unmarshal(ch.ExtraData(), &to) != nil || net.JoinHostPort(to.Host, fmt.Sprint(to.Port)) != want {
			ch.Reject(ssh.Prohibited, "not in this session")
			continue
		}
		out, err := net.Dial("tcp", want)
		if err != nil {
			ch.Reject(ssh.ConnectionFailed, "no answer")
			continue
		}
		in, reqs, err := ch.Accept()
		if err != nil {
			out.Close()
			continue
		}
		b.through++
		go ssh.DiscardRequests(reqs)
		go func() { io.Copy(out, in); out.(*net.TCPConn).CloseWrite() }()
		go func() { io.Copy(in, out); in.Close(); out.Close() }()
	}
}

// Without any public ingress: all of it goes through a session of a bastion,
// ssh and nixos-rebuild too.
func TestLabBastion(t *testing.T) {
	t.Parallel()
	l := lab.NewBare(t, 1)
	h := l.Hosts[0]
	j := newJob(t, l, h)
	b := newBastion(t, j)
	j.Inputs["access"], j.Inputs["bastion_id"], j.Inputs["bastion_host_key"] = "bastion", j.cloud.World().Bastions[0].ID, b.hostKey
	j.Inputs["bastion_host"], j.Inputs["bastion_port"] = "127.0.0.1", strconv.Itoa(b.port)
	delete(j.Inputs, "source")
	r := j.Do()
	r.Want("converged", direct)
	if r.Outputs["public_ssh"] != "closed" || j.opened() != 0 || b.through < 3 {
		t.Errorf("%v; opened %d times, %d connections\n%s", r.Outputs, j.opened(), b.through, r.Log)
	}
	for _, s := range j.cloud.World().Sessions {
		if s.LifecycleState != "DELETED" {
			t.Errorf("a session is left: %+v", s)
		}
	}
	// Another host in the bastion's place.
	j.Inputs["bastion_host_key"] = otherKey
	r = j.Do()
	r.Want("", "host-key-changed=disproven")
	j.shut()
}
