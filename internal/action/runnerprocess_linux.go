package action

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// lookUp reads /proc/PID/stat: the parent is its field 4, the start, in clock
// ticks since the boot, field 22 (proc(5)).
func lookUp(pid int) (process, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return process{}, errNoProcess
	}
	if err != nil {
		return process{}, err
	}
	// The second field is the program's name, in brackets, and may hold anything.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return process{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	if fields[0] == "Z" { // ended, and nobody has asked how
		return process{}, errNoProcess
	}
	parent, err := strconv.Atoi(fields[1])
	return process{parent, fields[19]}, err
}

func pidNamespace() string {
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "unknown"
	}
	return ns
}
