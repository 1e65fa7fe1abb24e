package main

import (
	"fmt"
	"strings"
	"syscall"
)

// mntLocal is MNT_LOCAL of sys/mount.h, which package syscall leaves out.
const mntLocal = 0x1000

func placeOf(dir string) (place, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return place{}, fmt.Errorf("asking for its file system: %w", err)
	}
	var name strings.Builder
	for _, c := range s.Fstypename {
		if c == 0 {
			break
		}
		name.WriteByte(byte(c))
	}
	p := place{kind: name.String(), free: s.Bavail * uint64(s.Bsize)}
	p.remote = s.Flags&mntLocal == 0
	p.hidden = strings.Contains(p.kind, "fuse")
	p.memory = p.kind == "tmpfs"
	return p, nil
}
