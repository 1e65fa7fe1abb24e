package agent

import (
	"errors"
	"fmt"
	"strings"

	"edge-actions/internal/verdict"
)

// hostPlatform is Go's name of what uname(1) calls "Linux x86_64".
func hostPlatform(host, uname string) (goos, goarch string, err error) {
	system, machine, _ := strings.Cut(uname, " ")
	goos = map[string]string{"Linux": "linux"}[system]
	goarch = map[string]string{"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[machine]
	if goos == "" || goarch == "" {
		return "", "", verdict.CannotTell(PlatformUnknown, fmt.Sprintf("%s to be Linux on x86_64 or aarch64", host), fmt.Errorf("%.80q", uname),
			"run this on the runner instead, with the host's data in reach of it; a Mac lacks timeout(1) and setpriv(1), without which nobody ends an agent there")
	}
	return goos, goarch, nil
}

// refusal is what the script said, with what to do about it.
func (t *talk) refusal(words string) error {
	id, words, _ := strings.Cut(words, " ")
	said := errors.New("none")
	if words = strings.TrimSpace(words); words != "" {
		said = fmt.Errorf("%.300q", words)
	}
	switch id {
	case "tools":
		return verdict.CannotTell(ToolsMissing, "what an agent needs on "+t.host, fmt.Errorf("no %.300q", strings.Fields(words)),
			"install it there: coreutils, findutils, sed, util-linux (for another user than the login), and getent; and mount /proc")
	case "user":
		return verdict.CannotTell(UserUnknown, "a user that "+t.host+" knows", said, "name a user of the host")
	case "dir":
		return verdict.CannotTell(DirUnusable, "a directory for the agent on "+t.host, said, "name one that belongs to root or to the login, and that nobody else can write to")
	case "noexec":
		return verdict.CannotTell(DirUnusable, "a directory on "+t.host+" from which a program can be run", said, "name one on another file system, as /var/lib/edge-actions")
	case "space":
		return verdict.CannotTell(NoSpace, "room for the agent's program on "+t.host, said, "free some there (df -h, df -i, quota), or name a directory on another file system")
	case "cut":
		return verdict.CannotTell(NoProgram, "the program to arrive on "+t.host+" as it was sent", said, "run it again; if it stays, something on the way, or the disk, changes bytes")
	}
	return badAnswer(fmt.Sprintf("a refusal of an unknown kind, %.80q", id))
}
