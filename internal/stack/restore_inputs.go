package stack

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/files"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
)

// The modes of tofu-state-restore.
const (
	ModeList     = "list"
	ModeRestore  = "restore"
	ModeRehearse = "rehearse"
)

// RestoreConfig is what the inputs of tofu-state-restore say.
type RestoreConfig struct {
	*Config
	Mode string
	// Open is how many of the newest archives a list opens.
	Open      int
	Request   RestoreRequest
	variables string
}

// ReadRestore reads the inputs of tofu-state-restore. A restore removes no
// archive, and a state may shrink by it, so it has no limits of those kinds.
func ReadRestore(a *action.Action, in *action.Inputs) *RestoreConfig {
	c := &RestoreConfig{
		Config: readConfig(a, in, []string{"lineage", "vanished"}), Mode: in.OneOf("mode", ModeList, ModeRestore, ModeRehearse),
		Open: in.Int("verify", 0, 100000), variables: in.Text("variables"),
	}
	c.Request = RestoreRequest{
		Archive: in.Text("archive"), From: in.OneOf("from", tfstate.FromAny, tfstate.FromLocal, tfstate.FromOffsite),
		Options: tofu.PlanOptions{
			VarFiles: readVarFiles(a, in), Parallelism: in.Int("parallelism", 1, 1000), LockTimeout: c.LockTimeout, RefreshDisabled: !in.Bool("refresh"),
		},
		Run: fmt.Sprintf("run %s, attempt %s", a.Getenv("GITHUB_RUN_ID"), a.Getenv("GITHUB_RUN_ATTEMPT")),
	}
	const how = "take a name from mode: list"
	switch name := c.Request.Archive; {
	case name != "" && !tfstate.IsArchive(name):
		in.Wrong("archive", "the name of an archive: TIME-serialN-SHA", fmt.Sprintf("%q", name), how)
	case name == "" && c.Mode == ModeRestore:
		in.Wrong("archive", "the name of the archive to restore", "nothing", how)
	case name != "" && c.Mode == ModeList:
		in.Wrong("archive", "nothing with mode: list, which shows them all", fmt.Sprintf("%q", name), "set mode: restore or mode: rehearse")
	}
	if c.Mode == ModeRestore && len(c.recipients) == 0 && in.Text("age_recipients") == "" {
		in.Wrong("age_recipients", "the public keys for the backup of what is there", "nothing", "set it as in tofu-plan-with-state-backup")
	}
	if c.Request.From == tfstate.FromOffsite && c.offsite == "none" {
		in.Wrong("from", "a place that there is", "offsite, and offsite: none", "set offsite to where the copies are")
	}
	if c.Mode == ModeRestore && c.Request.Options.RefreshDisabled {
		in.Wrong("refresh", "true with mode: restore: what was restored is held against the world", "false", "leave it out")
	}
	return c
}

// readVarFiles returns the paths of the input var_files, each a private file
// that lies outside the checkout.
func readVarFiles(a *action.Action, in *action.Inputs) []string {
	paths := in.Lines("var_files")
	for _, path := range paths {
		if err := errors.Join(a.CheckLasting(path), files.CheckSecret(path)); err != nil {
			in.Wrong("var_files", "absolute paths of private files on the runner, one a line", fmt.Sprintf("%q, which %v", path, err), "correct the path or the mode; commit what is not secret as *.auto.tfvars")
		}
	}
	return paths
}

// keepScratch is beyond every restore; a living run's directory is nobody's to
// sweep anyway.
const keepScratch = 24 * time.Hour

// OpenRestore makes the Stack, and the place for what must not outlive the run:
// states in clear. close removes it. That it could not is an error: the next
// run of any action of a stack tries again, as it does after a kill.
func (c *RestoreConfig) OpenRestore(ctx context.Context, a *action.Action) (s *Stack, close func() error, err error) {
	kept, err := a.KeepSecretFiles(ctx, keepScratch)
	if err != nil {
		return nil, nil, err
	}
	c.Request.Scratch = kept.Dir
	if c.variables != "" {
		path := filepath.Join(kept.Dir, "variables.tfvars")
		err = files.Write(path, []byte(c.variables+"\n"))
		c.Request.Options.VarFiles = append(c.Request.Options.VarFiles, path)
	}
	if err == nil {
		s, err = c.Config.Open(ctx, a, kept.Dir)
	}
	if err != nil {
		return nil, nil, errors.Join(err, kept.Close())
	}
	return s, kept.Close, nil
}

// OpenArchives makes what a list needs: no tool, no module and no state.
func (c *RestoreConfig) OpenArchives(ctx context.Context, a *action.Action) (*tfstate.Archives, error) {
	sweepRehearsals(ctx, a)
	a.Report.Subject = c.name
	_, local, _ := Layout(c.runnerDir, c.name)
	archives := &tfstate.Archives{Local: tfstate.Dir{Path: local}, Identities: c.identities, Stack: c.name, Logf: a.Logf}
	var err error
	archives.Offsite, err = c.openOffsite(a, a.Report)
	return archives, err
}

// sweepRehearsals removes the copies of modules and states that killed runs
// have left, wherever their jobs had them.
func sweepRehearsals(ctx context.Context, a *action.Action) {
	if !filepath.IsAbs(a.Getenv("RUNNER_TEMP")) {
		return // then none was ever made
	}
	removed, _, err := a.SweepSecretFiles(ctx, false)
	if removed > 0 {
		a.Logf("removed %d directories of secrets that killed or finished jobs had left", removed)
	}
	if err != nil {
		a.Logf("warning: what killed jobs may have left of secrets could not be swept: %v", err)
	}
}
