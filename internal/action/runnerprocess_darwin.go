package action

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// lookUp asks the kernel (sysctl kern.proc.pid), which answers with nothing where
// there is no such process.
func lookUp(pid int) (process, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ESRCH) {
		return process{}, errNoProcess
	}
	if err != nil {
		return process{}, err
	}
	started := info.Proc.P_starttime
	return process{int(info.Eproc.Ppid), fmt.Sprintf("%d.%06d", started.Sec, started.Usec)}, nil
}

// pidNamespace is always the same one: macOS has no others.
func pidNamespace() string { return "macos" }
