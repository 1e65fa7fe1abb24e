package assert

import (
	"os"
	"os/exec"
	"syscall"
)

// tetherScript waits in the background for the end of a pipe that nobody writes
// to, and ends its group with it; and becomes the program.
const tetherScript = `{ trap '' HUP INT TERM; read -r _; kill -9 0; } <&3 >/dev/null 2>&1 & exec 3<&-; exec "$@"`

// tether makes a program run in a group of its own that ends with this process,
// however that ends: nothing can be done after a SIGKILL, but the kernel closes
// our end of a pipe. The caller starts it, and calls end when it has ended, which
// ends what the program left in its group.
func tether(cmd *exec.Cmd) (end func(), err error) {
	sh, err := exec.LookPath("/bin/sh")
	if err != nil {
		return nil, err
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Args = append([]string{sh, "-c", tetherScript, "tether", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = sh
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return func() {
		theirs.Close()
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		ours.Close()
	}, nil
}
