package tofu

import (
	"context"
	"fmt"
	"io"
	"time"

	"edge-actions/internal/command"
)

// PushArgs are the arguments with which the state at path, "-" for stdin, is
// pushed. There is no way to force it: a state of an older serial or another
// lineage is refused, and that is what makes old plans stay old.
func PushArgs(lockTimeout time.Duration, path string) []string {
	return []string{"state", "push", "-no-color", fmt.Sprintf("-lock-timeout=%s", lockTimeout), path}
}

// StatePush replaces the state by the one that r holds, which is read as a
// whole first. The state must be in clear, however it is kept.
func (c *CLI) StatePush(ctx context.Context, r io.Reader, lockTimeout time.Duration) error {
	cmd := c.cmd(PushArgs(lockTimeout, "-")...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, c.Log, c.Log
	return c.hidden(command.Run(ctx, cmd))
}
