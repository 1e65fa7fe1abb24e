package contracts

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/rclone"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/verdict"

	"filippo.io/age"
)

// state holds the archives of a stack's state against the contract, where the
// key is that opens them.
func (p *Place) state(ctx context.Context, c *Contract) []verdict.Check {
	s := c.State
	identities, err := readIdentities(p.home(s.IdentityFile))
	if err != nil {
		return []verdict.Check{verdict.CannotTell(tfstate.ArchiveOpens, "the key that opens the archives", err, "correct age_identity_file; without the key no archive can be restored").Check}
	}
	a := &tfstate.Audit{
		Stack: s.Stack, Local: tfstate.Dir{Path: tfstate.ArchivesDir(p.home(s.RunnerDir), s.Stack)}, Identities: identities,
		MaxAge: time.Duration(c.MaxAge), MaxSkew: time.Duration(defaultSkew), Now: p.Now, MinResources: s.MinResources,
	}
	if rclone.IsRemote(s.Offsite) {
		program := s.Program
		if program == "" {
			program = "rclone"
		}
		found, err := rclone.Find(program)
		if err != nil {
			return verdict.ChecksOf(err)
		}
		a.Offsite = &rclone.Remote{Path: found, Base: (&rclone.Remote{Base: s.Offsite}).Location(s.Stack), Env: rclone.Environ(p.Environ), Files: tfstate.ArchiveFiles, Timeout: p.Timeout}
	} else {
		a.Offsite = tfstate.Dir{Path: filepath.Join(s.Offsite, s.Stack)}
	}
	return a.Checks(ctx)
}

func readIdentities(file string) ([]age.Identity, error) {
	if err := files.CheckSecret(file); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	ids, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s holds no age identity that can be read", file) // its words would quote the key
	}
	return ids, nil
}
