package recovery

import "syscall"

// tmpfsMagic is TMPFS_MAGIC of linux/magic.h; ramfs is as bad.
const (
	tmpfsMagic = 0x01021994
	ramfsMagic = 0x858458f6
)

func onTmpfs(dir string) (bool, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return false, err
	}
	return int64(s.Type) == tmpfsMagic || int64(s.Type)&0xffffffff == ramfsMagic, nil
}
