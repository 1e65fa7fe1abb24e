package tfstate

import (
	"os"
	"syscall"
)

// readPastCache drops what the page cache holds of f, so that reading shows
// what the device has kept. f was synced before: only then is it dropped.
func readPastCache(f *os.File) {
	const fadvDontNeed = 4 // POSIX_FADV_DONTNEED on every Linux but s390
	_, _, _ = syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, fadvDontNeed, 0, 0)
}
