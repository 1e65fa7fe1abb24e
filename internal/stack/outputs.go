package stack

import (
	"strconv"

	"edge-actions/internal/action"
	"edge-actions/internal/tfstate"
)

// SetBackupOutputs sets the outputs that the plan and the apply share. b is
// nil when no backup was made.
func SetBackupOutputs(a *action.Action, s *Stack, b *tfstate.Backup) {
	a.SetOutput("data_dir", s.CLI.DataDir)
	if b == nil || b.Manifest == nil {
		return
	}
	a.SetOutput("backup_path", b.Path)
	a.SetOutput("backup_sha256", b.Manifest.Archive.SHA256)
	a.SetOutput("offsite_path", b.OffsitePath)
	a.SetOutput("state_serial", strconv.FormatUint(b.State.Serial, 10))
	a.SetOutput("state_lineage", b.State.Lineage)
}
