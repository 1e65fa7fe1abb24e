package contracts

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// changedAt is when a file or its name changed last: a file that was moved here
// keeps the time of its content.
func changedAt(info fs.FileInfo) (time.Time, error) {
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return time.Time{}, fmt.Errorf("%q: its file system does not tell when it changed", info.Name())
	}
	return time.Unix(sys.Ctim.Unix()), nil
}
