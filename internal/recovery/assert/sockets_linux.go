package assert

import (
	"fmt"
	"os"
	"path/filepath"
)

// newSockets makes a directory for etcd's sockets, 0700 and below temp. The path
// of a socket has room for 107 bytes, and a scratch lies deeper than that: etcd
// is in the directory and calls them by their names, and we go by the directory
// that we hold open.
func newSockets(temp string) (*sockets, error) {
	dir, err := os.MkdirTemp(temp, "s-")
	if err != nil {
		return nil, err
	}
	held, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return &sockets{dir: dir, client: filepath.Join(fmt.Sprintf("/proc/self/fd/%d", held.Fd()), etcdSocket), remove: func() {
		held.Close()
		os.RemoveAll(dir)
	}}, nil
}
