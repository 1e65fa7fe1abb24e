package assert

import (
	_ "embed" // the script that makes the room
	"os"
	"path/filepath"
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
			return append(append(unshare[:len(unshare):len(unshare)], "--net", "--pid", "--fork", "--kill-child", "--", "sh", "-c", `"$@"; exit $?`, "room"), argv...), nil
		},
	}}
}
