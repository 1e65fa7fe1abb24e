package tfstate

import (
	"os"
	"syscall"
)

// readPastCache has reads of f bypass the unified buffer cache (fcntl(2),
// F_NOCACHE), so that they show what the device has kept.
func readPastCache(f *os.File) {
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_NOCACHE, 1)
}
