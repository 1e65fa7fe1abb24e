package contracts

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/recovery"
	"edge-actions/internal/verdict"
)

// Place is the machine on which a contract is looked at: this one. Where the
// contract is of a host, the program runs there.
type Place struct {
	Environ []string
	Now     time.Time
	// Timeout is for each command.
	Timeout time.Duration
	Logf    func(format string, args ...any)
}

// Finding is what is said of one contract.
type Finding struct {
	Name   string          `json:"name"`
	Checks []verdict.Check `json:"checks"`
	// SnapshotID is the snapshot that is the evidence, Taken its time; empty
	// without one.
	SnapshotID string    `json:"snapshot_id,omitempty"`
	Taken      time.Time `json:"taken,omitzero"`
	// Read is the part of the repository that was read and whole, 0 for none.
	Read int `json:"read,omitempty"`
}

// Judge holds one contract against its evidence. part is the one of the
// repository's parts that is read this time, with what is known of the others.
func (p *Place) Judge(ctx context.Context, c *Contract, part Part) *Finding {
	f := &Finding{Name: c.Name}
	p.Logf("contract %s", c.Name)
	switch {
	case c.Restic != nil:
		p.restic(ctx, c, part, f)
	case c.LFS != nil:
		f.Checks = p.lfs(ctx, c)
	case c.State != nil:
		f.Checks = p.state(ctx, c)
	}
	for _, unit := range c.Units {
		f.Checks = append(f.Checks, p.unit(ctx, unit, time.Duration(c.MaxAge))...)
	}
	f.Checks = verdict.About(c.Name, f.Checks)
	p.Logf("contract %s: %s", c.Name, verdict.Of(f.Checks))
	return f
}

// getenv is the last value of a variable.
func (p *Place) getenv(name string) (value string) {
	for _, kv := range p.Environ {
		if key, v, ok := strings.Cut(kv, "="); ok && key == name {
			value = v
		}
	}
	return value
}

// home puts the user's home in for "~/".
func (p *Place) home(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(p.getenv("HOME"), rest)
	}
	return path
}

// tempDir is private and of this call; remove takes it away.
func tempDir() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "edge-actions-contract-") // 0700
	return dir, func() { os.RemoveAll(dir) }, err
}

// want says which snapshot is meant.
func (r *Restic) want(now time.Time, maxAge time.Duration) recovery.Want {
	return recovery.Want{
		Host: r.SnapshotHost, Paths: r.Paths, MaxAge: maxAge, MaxSkew: time.Duration(r.MaxSkew), Now: now,
		MinFiles: r.MinFiles, MinBytes: r.MinMiB << 20, Shrink: float64(r.MinPercentOfMedian) / 100,
	}
}
