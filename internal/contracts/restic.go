package contracts

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/recovery"
	"edge-actions/internal/restic"
	"edge-actions/internal/verdict"
)

// client asks the contract's repository, from this machine.
func (p *Place) client(r *Restic) (*restic.Client, error) {
	var repo restic.Repository
	if !r.wrapped() {
		repo = restic.Repository{
			URL: r.Repository, File: p.home(r.RepositoryFile), PasswordFile: p.home(r.PasswordFile), CACert: p.home(r.CACert), Options: r.Options,
		}
	}
	local := restic.Local{Path: r.Program, Env: restic.Environ(p.Environ, "AWS_*", "B2_*", "RCLONE_*"), Nice: true}
	return restic.New(local, repo, restic.Options{Timeout: p.Timeout})
}

// restic holds a repository against the contract: which one it is, which
// snapshot, what is in it, and whether it can be read.
func (p *Place) restic(ctx context.Context, c *Contract, part Part, f *Finding) {
	r := c.Restic
	client, err := p.client(r)
	if err != nil {
		f.Checks = append(f.Checks, verdict.CannotTell(restic.Failed, "a repository that restic can be asked for", err, "correct the contract").Check)
		return
	}
	if same := p.identity(ctx, client, r, f); !same {
		return
	}
	all, err := client.Snapshots(ctx)
	if err != nil {
		f.Checks = append(f.Checks, verdict.ChecksOf(err)...)
		return
	}
	s, checks := recovery.Choose(all, r.want(p.Now, time.Duration(c.MaxAge)))
	f.Checks = append(f.Checks, checks...)
	if s != nil {
		f.SnapshotID, f.Taken = s.ID, s.Time
		f.Checks = append(f.Checks, p.cover(ctx, client, r, s)...)
	}
	lock, busy := p.locks(ctx, client)
	f.Checks = append(f.Checks, lock)
	f.Checks = append(f.Checks, p.check(ctx, client, part, busy, f))
}

func (p *Place) identity(ctx context.Context, client *restic.Client, r *Restic, f *Finding) bool {
	config, err := client.Config(ctx)
	if err != nil {
		f.Checks = append(f.Checks, verdict.ChecksOf(err)...)
		return false
	}
	c := recovery.CheckIdentity(config.ID, r.RepositoryID)
	f.Checks = append(f.Checks, c)
	return c.Verdict == verdict.Proven
}

// locks says whether a dead restic keeps others from the repository; busy is
// who holds it for himself alone at this moment.
func (p *Place) locks(ctx context.Context, client *restic.Client) (c verdict.Check, busy string) {
	const wanted = "no lock of a restic that is dead"
	locks, err := client.Locks(ctx)
	if err != nil {
		checks := verdict.ChecksOf(err)
		checks[0].ID = Locks
		return checks[0], ""
	}
	var stale []string
	for _, l := range locks {
		what := "shared"
		if l.Exclusive {
			what = "exclusive"
		}
		who := fmt.Sprintf("%s, %s, of %.60q on %.60q since %s", short(l.ID), what, l.Username, l.Hostname, stamp(l.Time))
		switch {
		case l.Stale(p.Now):
			stale = append(stale, who)
		case l.Exclusive:
			busy = who
		}
	}
	if len(stale) > 0 {
		return verdict.Refuse(Locks, wanted, strings.Join(stale, "; "), "every later check and prune of the repository's owner ends with exit code 11: see that no restic runs there, then run restic unlock").Check, busy
	}
	got := "none"
	if n := len(locks); n > 0 {
		got = fmt.Sprintf("%d, of restics that gave a sign of life in the last %s", n, restic.StaleAfter)
	}
	return verdict.Check{ID: Locks, Verdict: verdict.Proven, Wanted: wanted, Got: got}, busy
}

// check reads one part of the repository.
func (p *Place) check(ctx context.Context, client *restic.Client, part Part, busy string, f *Finding) verdict.Check {
	wanted := fmt.Sprintf("a repository that is whole, and part %d of %d of its data read", part.Number, part.Of)
	if busy != "" {
		// What is being pruned looks damaged to who takes no lock.
		return verdict.CannotTell(Checked, wanted, fmt.Errorf("it is held: %s", busy), "run this when nothing prunes").Check
	}
	p.Logf("reading part %d of %d of the repository's data", part.Number, part.Of)
	began := time.Now()
	if _, err := client.Check(ctx, part.String()); err != nil {
		checks := verdict.ChecksOf(err)
		checks[0].ID, checks[0].Wanted = Checked, wanted
		return checks[0]
	}
	f.Read = part.Number
	return verdict.Check{ID: Checked, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("whole, in %s; %s", time.Since(began).Round(time.Second), part.Known)}
}

// cover holds what the snapshot lists against what is on the machine.
func (p *Place) cover(ctx context.Context, client *restic.Client, r *Restic, s *restic.Snapshot) []verdict.Check {
	start := s.Time
	if s.Summary != nil && !s.Summary.BackupStart.IsZero() {
		start = s.Summary.BackupStart
	}
	held := newHeld(r.Paths)
	cover := newCoverage(r.Paths, r.Exclude, start)
	err := client.Ls(ctx, s.ID, func(n restic.Node) error {
		held.see(n)
		return cover.see(ctx, n)
	})
	if err == nil {
		err = cover.rest(ctx)
	} else {
		cover.stop()
	}
	if err != nil {
		return verdict.ChecksOf(err)
	}
	return []verdict.Check{held.check(), cover.check()}
}

// held counts what the snapshot has below each of its paths: restic lists a path
// that was empty as one that was there.
type held struct {
	paths []string
	count []int
}

func newHeld(paths []string) *held { return &held{paths, make([]int, len(paths))} }

func (h *held) see(n restic.Node) {
	for i, p := range h.paths {
		if n.Path == p && n.Type != "dir" || strings.HasPrefix(n.Path, strings.TrimSuffix(p, "/")+"/") {
			h.count[i]++
		}
	}
}

func (h *held) check() verdict.Check {
	const wanted = "something below each of the paths, in the snapshot"
	var got, empty []string
	for i, p := range h.paths {
		if got = append(got, fmt.Sprintf("%d in %q", h.count[i], p)); h.count[i] == 0 {
			empty = append(empty, p)
		}
	}
	if len(empty) > 0 {
		return verdict.CannotTell(recovery.Paths, wanted, fmt.Errorf("nothing in %q", empty), "see whether the data moved elsewhere, or its volume was not mounted at the time of the backup").Check
	}
	return verdict.Check{ID: recovery.Paths, Verdict: verdict.Proven, Wanted: wanted, Got: strings.Join(got, ", ")}
}

func short(id string) string { return id[:min(len(id), 8)] }

// errNoData is that a machine has none of what the snapshot is of.
var errNoData = errors.New("none of the paths is here")

// outermost are paths without those below others, in the order of a walk.
func outermost(paths []string) []string {
	sorted := slices.SortedFunc(slices.Values(paths), func(a, b string) int { return order(path.Clean(a), path.Clean(b)) })
	var out []string
	for _, p := range sorted {
		if n := len(out); n == 0 || p != out[n-1] && out[n-1] != "/" && !strings.HasPrefix(p, out[n-1]+"/") {
			out = append(out, p)
		}
	}
	return out
}
