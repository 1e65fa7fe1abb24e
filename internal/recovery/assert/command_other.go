//go:build !linux

package assert

import (
	"os/exec"
	"syscall"
)

// confinements: macOS has no namespaces.
func confinements() []confinement { return nil }

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func start(cmd *exec.Cmd) error { return cmd.Run() }
