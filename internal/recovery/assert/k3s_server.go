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
	"os/exec"
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
)

func etcdEnviron(j *judge) []string {
	return command.Environ(j.tools.Env, []string{"PATH"}, map[string]string{"HOME": j.temp, "TMPDIR": j.temp})
}

// etcdServer is a real etcd on a restored data directory.
type etcdServer struct {
	cmd     *exec.Cmd
	ended   chan struct{}
	sockets *sockets
	client  *http.Client
}

// sockets is a directory of nobody else's for etcd's sockets.
type sockets struct {
	dir    string
	client string // the path by which we reach the one for clients
	remove func()
}

// startEtcd starts etcd and waits until it answers. It ends with this process,
// however that ends.
func startEtcd(ctx context.Context, program, data string, j *judge) (*etcdServer, error) {
	at, err := newSockets(j.temp)
	if err != nil {
		return nil, err
	}
	s := &etcdServer{ended: make(chan struct{}), sockets: at}
	s.cmd = exec.Command(program, "--name", etcdMember, "--data-dir", data,
		"--listen-client-urls", etcdClient, "--advertise-client-urls", etcdClient,
		"--listen-peer-urls", etcdPeer, "--initial-advertise-peer-urls", etcdPeer, "--initial-cluster", etcdMember+"="+etcdPeer,
		"--unsafe-no-fsync", "--log-level", "error") // it is thrown away afterwards
	s.cmd.Dir, s.cmd.Env = at.dir, etcdEnviron(j) // its output goes to /dev/null
	end, err := tether(s.cmd)
	if err == nil {
		if err = s.cmd.Start(); err != nil {
			end()
		}
	}
	if err != nil {
		at.remove()
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		end()
		close(s.ended)
	}()
	s.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", at.client)
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
	s.sockets.remove()
}

// count asks for the revision and for how many keys there are: all of them, or
// the one that is named.
func (s *etcdServer) count(ctx context.Context, key string) (revision, keys int64, err error) {
	if key == "" { // from the first to the last
		return s.ask(ctx, etcdRange{Key: []byte{0}, End: []byte{0}, CountOnly: true}, nil)
	}
	return s.ask(ctx, etcdRange{Key: []byte(key), CountOnly: true}, nil)
}

func (s *etcdServer) bootstraps(ctx context.Context) (int64, error) {
	_, n, err := s.ask(ctx, etcdRange{Key: []byte(bootstrapPrefix), End: []byte(bootstrapEnd), CountOnly: true}, nil)
	return n, err
}

// value is the one value that leaves etcd, and it goes no further than to its
// key.
func (s *etcdServer) value(ctx context.Context, key string) (value []byte, err error) {
	_, _, err = s.ask(ctx, etcdRange{Key: []byte(key)}, &value)
	return value, err
}

// etcdRange is a question for keys.
type etcdRange struct {
	Key       []byte `json:"key"`
	End       []byte `json:"range_end,omitempty"`
	CountOnly bool   `json:"count_only"`
}

// maxAnswer is more than etcd lets a request have.
const maxAnswer = 16 << 20

// ask puts a question, and the value of the first key into value if there is
// one.
func (s *etcdServer) ask(ctx context.Context, question etcdRange, value *[]byte) (revision, keys int64, err error) {
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
		KVs   []struct {
			Value []byte `json:"value"`
		} `json:"kvs"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return 0, 0, errEtcdAnswer
	}
	if revision, err = strconv.ParseInt(answer.Header.Revision, 10, 64); err == nil && answer.Count != "" {
		keys, err = strconv.ParseInt(answer.Count, 10, 64)
	}
	if err != nil {
		return 0, 0, errEtcdAnswer
	}
	if value != nil && len(answer.KVs) > 0 {
		*value = append([]byte{}, answer.KVs[0].Value...)
	}
	return revision, keys, nil
}

var errEtcdAnswer = errors.New("etcd's answer is not what it should be")
