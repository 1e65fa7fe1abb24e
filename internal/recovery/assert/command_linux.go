package assert

import (
	_ "embed" // the script that makes the room
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

//go:embed room.sh
var roomScript string

// confinements are the ways to take from a command what it has no need for.
func confinements() []confinement {
	unshare := []string{"unshare"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--map-root-user")
	}
	return []confinement{{
		says: "it saw the restored tree read-only, the system's programs and no network",
		wrap: func(argv []string, scratch, temp string) ([]string, error) {
			room, err := os.MkdirTemp(temp, "room-")
			if err != nil {
				return nil, err
			}
			all := append(unshare[:len(unshare):len(unshare)], "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private", "--", "sh", "-c", roomScript, "room", room, scratch, filepath.Join(temp, "home"))
			return append(all, argv...), nil
		},
	}, {
		says: "it had no network; it could read what the runner's user can read and write to the restored tree, because this machine allows no mounts",
		wrap: func(argv []string, _, _ string) ([]string, error) {
			return append(append(unshare[:len(unshare):len(unshare)], "--net", "--"), argv...), nil
		},
	}}
}

// ownGroup is a group of its own, which the SIGKILL of a cancelled step does not
// reach; the kernel ends it with its parent instead.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// start runs a command on a thread that lives as long as it: for the kernel the
// parent of a child is the thread that made it.
func start(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}
