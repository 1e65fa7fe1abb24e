package assert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"edge-actions/internal/command"
)

// The restored etcd listens on sockets in a private directory and on no port: a
// cluster's secrets are in it, and a port of loopback is everybody's on this
// machine. etcd calls a socket by the host and the port of its URL.
const (
	etcdMember = "rehearsal"
	etcdClient = "unix://localhost:1"
	etcdPeer   = "unix://localhost:2"
	etcdSocket = "localhost:1"
	// etcdStart is how long it may take until it answers.
	etcdStart = 2 * time.Minute
	// socketPath is the longest path of a socket on macOS, with its NUL.
	socketPath = 104
)

func etcdEnviron(j *judge) []string {
	return command.Environ(j.tools.Env, []string{"PATH"}, map[string]string{"HOME": j.temp, "TMPDIR": j.temp})
}

// etcdServer is a real etcd on a restored data directory.
type etcdServer struct {
	cmd     *exec.Cmd
	ended   chan struct{}
	sockets string
	client  *http.Client
}

// startEtcd starts etcd and waits until it answers. It stays in this process'
// group, so that what ends a cancelled step ends it too.
func startEtcd(ctx context.Context, program, data string, j *judge) (*etcdServer, error) {
	sockets, err := os.MkdirTemp(j.temp, "s-")
	if err == nil && len(filepath.Join(sockets, etcdSocket)) >= socketPath {
		sockets, err = os.MkdirTemp("", "etcd-") // 0700, and for sockets only
	}
	if err != nil {
		return nil, err
	}
	s := &etcdServer{ended: make(chan struct{}), sockets: sockets}
	s.cmd = exec.Command(program, "--name", etcdMember, "--data-dir", data,
		"--listen-client-urls", etcdClient, "--advertise-client-urls", etcdClient,
		"--listen-peer-urls", etcdPeer, "--initial-advertise-peer-urls", etcdPeer, "--initial-cluster", etcdMember+"="+etcdPeer,
		"--log-level", "error")
	s.cmd.Dir, s.cmd.Env = sockets, etcdEnviron(j) // its output goes to /dev/null
	if err := s.cmd.Start(); err != nil {
		os.RemoveAll(sockets)
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	s.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(sockets, etcdSocket))
		},
	}}
	if err := s.ready(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *etcdServer) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, etcdStart, fmt.Errorf("etcd did not answer within %s", etcdStart))
	defer cancel()
	for {
		if _, _, err := s.count(ctx, ""); err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return errors.New("etcd ended at once")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stop ends etcd by its process id and waits until it is gone.
func (s *etcdServer) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // gone already is as good
	select {
	case <-s.ended:
	case <-time.After(5 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	os.RemoveAll(s.sockets)
}

// count asks for the revision and for how many keys there are: all of them, or
// the one that is named. No value leaves etcd.
func (s *etcdServer) count(ctx context.Context, key string) (revision, keys int64, err error) {
	question := struct {
		Key       []byte `json:"key"`
		RangeEnd  []byte `json:"range_end,omitempty"`
		CountOnly bool   `json:"count_only"`
	}{Key: []byte(key), CountOnly: true}
	if key == "" { // from the first to the last
		question.Key, question.RangeEnd = []byte{0}, []byte{0}
	}
	body, err := json.Marshal(question)
	if err != nil {
		return 0, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://etcd/v3/kv/range", bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("etcd answered with the status %d", resp.StatusCode)
	}
	var answer struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
		Count string `json:"count"` // not there for 0
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return 0, 0, errors.New("etcd's answer is not what it should be")
	}
	if revision, err = strconv.ParseInt(answer.Header.Revision, 10, 64); err == nil && answer.Count != "" {
		keys, err = strconv.ParseInt(answer.Count, 10, 64)
	}
	if err != nil {
		return 0, 0, errors.New("etcd's answer is not what it should be")
	}
	return revision, keys, nil
}
