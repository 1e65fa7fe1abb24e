//go:build !linux

package assert

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// socketsPrefix begins the name of a directory beside which nothing is left but
// by a SIGKILL; the process that made it is the next part of its name.
const socketsPrefix = "edge-actions-etcd-"

// newSockets makes a directory for etcd's sockets, 0700. The path of a socket
// has room for 103 bytes, and a scratch lies deeper than that, so it is in the
// directory for temporary files. What a killed process left there is removed.
func newSockets(string) (*sockets, error) {
	old, err := filepath.Glob(filepath.Join(os.TempDir(), socketsPrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range old {
		var pid int
		rest := strings.TrimPrefix(filepath.Base(dir), socketsPrefix)
		if _, err := fmt.Sscanf(rest, "%d-", &pid); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			os.RemoveAll(dir) // another user's stays
		}
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", socketsPrefix, os.Getpid()))
	if err != nil {
		return nil, err
	}
	return &sockets{dir: dir, client: filepath.Join(dir, etcdSocket), remove: func() { os.RemoveAll(dir) }}, nil
}
