// Package mirror proves that another repository carries what the forge has: the
// same refs by git's own words, pushed lately and without an error. It refuses
// to take silence for agreement: where there is nothing to compare, or where it
// can't look, nothing is proven; and a mirror that has what the forge never had
// was written to by somebody.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/forge"
	"edge-actions/internal/verdict"
)

// The ids of the checks.
const (
	// Configured: the forge pushes to this mirror.
	Configured = "mirror-configured"
	// Synced: the forge pushed to it just now.
	Synced = "mirror-sync"
	// Clean: the last push ended without an error.
	Clean = "mirror-error"
	// Fresh: the last push was not too long ago.
	Fresh = "mirror-age"
	// Source: the forge's own refs could be read, and there are some.
	Source = "mirror-source"
	// Remote: the mirror's refs could be read.
	Remote = "mirror-remote"
	// Current: the mirror has all that the forge has.
	Current = "mirror-current"
	// Untouched: the mirror has nothing that the forge never had.
	Untouched = "mirror-untouched"
)

// clockSkew is how far in the future a push may be by the forge's clock: its
// database and its answers have second resolution.
const clockSkew = time.Minute

// maxReads is how often both sides are read while the forge's refs move.
const maxReads = 4

// maxListed is how many refs are named in one check.
const maxListed = 10

// Mirror is one mirror of one repository, and what is wanted of it.
type Mirror struct {
	Repo *forge.Repo
	Git  *Git
	// Source and Mirror are where git reads the two.
	Source, Mirror Place
	// Address is the push mirror's as the forge knows it.
	Address string
	Refs    Patterns
	MaxAge  time.Duration
	// Sync has the forge push first, for at most SyncTimeout.
	Sync        bool
	SyncTimeout time.Duration
}

// Result is what was found.
type Result struct {
	Checks     []verdict.Check
	Counts     Counts
	LastUpdate time.Time // zero if there was none
}

// Look asks the forge about its push mirror, reads both sides, and says what
// holds. What can't be asked is a check of the result.
func (m *Mirror) Look(ctx context.Context) *Result {
	r := &Result{}
	var push *forge.PushMirror
	var at time.Time
	var err error
	if m.Sync {
		r.add(m.sync(ctx))
	}
	if push, at, err = m.find(ctx); err != nil {
		r.fail(err)
	} else {
		r.LastUpdate = push.LastUpdate
		r.prove(Configured, "a push mirror of the forge to "+quote(m.Address), "one, "+rhythm(push))
		r.add(clean(push))
		r.add(m.fresh(push, at))
	}
	m.compare(ctx, r, push)
	return r
}

// sync has the forge push now.
func (m *Mirror) sync(ctx context.Context) verdict.Check {
	wanted := "a push of the forge to its mirrors now"
	err := m.Repo.SyncPushMirrors(ctx, m.SyncTimeout)
	if err == nil {
		return verdict.Check{ID: Synced, Verdict: verdict.Proven, Wanted: wanted, Got: "done"}
	}
	return verdict.CannotTell(Synced, wanted, err, "see what the forge says of its push mirrors in the repository's settings; it pushes to one after the other and stops at the first that fails").Check
}

// find returns the push mirror, and the forge's clock.
func (m *Mirror) find(ctx context.Context) (*forge.PushMirror, time.Time, error) {
	list, at, err := m.Repo.PushMirrors(ctx)
	if err != nil {
		return nil, at, err
	}
	var found []string
	for i, p := range list {
		if SameAddress(p.Address, m.Address) {
			return &list[i], at, nil
		}
		found = append(found, quote(p.Address))
	}
	got := "none"
	if len(found) > 0 {
		got = "only " + strings.Join(found, ", ")
	}
	return nil, at, verdict.Refuse(Configured, "a push mirror of the forge to "+quote(m.Address), got, "make one in the repository's settings, or say with push_mirror under which address the forge knows it")
}

func rhythm(p *forge.PushMirror) string {
	switch {
	case p.SyncOnCommit && p.Interval > 0:
		return fmt.Sprintf("on each commit and every %s", p.Interval)
	case p.SyncOnCommit:
		return "on each commit"
	case p.Interval > 0:
		return fmt.Sprintf("every %s", p.Interval)
	}
	return "by hand only"
}

// clean judges the last push. Its time advances whether it went well or not.
func clean(p *forge.PushMirror) verdict.Check {
	c := verdict.Check{ID: Clean, Wanted: "a last push without an error", Verdict: verdict.Proven, Got: "none"}
	switch {
	case p.LastError != "":
		c.Verdict, c.Got, c.Hint = verdict.Disproven, quote(p.LastError), "mend what it says (a token that has run out, a protected branch), then synchronise it in the repository's settings"
	case p.LastUpdate.IsZero():
		c.Verdict, c.Got, c.Hint = verdict.Unproven, "no push yet", "synchronise it in the repository's settings, or with sync: true"
	}
	return c
}

func (m *Mirror) fresh(p *forge.PushMirror, at time.Time) verdict.Check {
	c := verdict.Check{ID: Fresh, Verdict: verdict.Proven, Wanted: fmt.Sprintf("a last push of at most %s ago", m.MaxAge)}
	age := at.Sub(p.LastUpdate).Round(time.Second)
	switch {
	case p.LastUpdate.IsZero():
		c.Verdict, c.Got, c.Hint = verdict.Disproven, "none at all", "synchronise it in the repository's settings, or with sync: true"
	case age < -clockSkew:
		c.Verdict, c.Got, c.Hint = verdict.Unproven, fmt.Sprintf("one in %s, by the forge's own clock", -age), "mend the forge's clock"
	case age > m.MaxAge:
		c.Verdict, c.Got, c.Hint = verdict.Disproven, fmt.Sprintf("%s ago", age), "see why the forge does not push (its interval, its cron jobs, Forgejo's log)"
	default:
		c.Got = fmt.Sprintf("%s ago", max(age, 0))
	}
	return c
}

// compare reads both sides and holds them against each other.
func (m *Mirror) compare(ctx context.Context, r *Result, push *forge.PushMirror) {
	source, mirror, err := m.read(ctx)
	if err != nil {
		r.fail(err)
		return
	}
	r.prove(Source, "refs of the forge", fmt.Sprintf("%d of them", len(source)))
	r.prove(Remote, "the mirror's refs", fmt.Sprintf("%d of them", len(mirror)))
	diffs, equal := differ(source, mirror)
	m.relate(ctx, diffs, source)
	r.Counts = count(diffs, equal)
	hint := "have the forge push (sync: true), and look again"
	if push != nil && push.BranchFilter != "" {
		hint = "the push mirror has the branch filter " + quote(push.BranchFilter) + ": name with refs what it lets through; else " + hint
	}
	r.add(judge(Current, "each ref of the forge in the mirror, with the same id, and no other", diffs, hint, func(s State) bool { return s.late() }, len(source)))
	r.add(judge(Untouched, "nothing in the mirror that the forge never had", diffs, "somebody wrote to the mirror: find out who, take away what lets them (deploy keys, collaborators, tokens), and have the forge push over it", func(s State) bool { return s.foreign() }, len(source)))
}

// judge is one check over all differences. A ref that could not be looked into
// can be of either kind.
func judge(id, wanted string, diffs []Difference, hint string, of func(State) bool, n int) verdict.Check {
	c := verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("so it is, of %d refs", n)}
	var wrong, unknown []string
	for _, d := range diffs {
		switch {
		case of(d.State):
			wrong = append(wrong, d.String())
		case d.State == Unknown:
			unknown = append(unknown, d.String())
		}
	}
	switch {
	case len(wrong) > 0:
		c.Verdict, c.Got, c.Hint = verdict.Disproven, list(wrong), hint
	case len(unknown) > 0:
		c.Verdict, c.Got, c.Hint = verdict.Unproven, list(unknown), "see why it can't be looked at, and run it again"
	}
	return c
}

func list(lines []string) string {
	if n := len(lines) - maxListed; n > 0 {
		lines = append(slices.Clone(lines[:maxListed]), fmt.Sprintf("and %d more", n))
	}
	return strings.Join(lines, "\n")
}

// read reads the forge's refs, the mirror's, and the forge's again: whoever
// pushes in between would make a good mirror look late.
func (m *Mirror) read(ctx context.Context) (source, mirror Refs, err error) {
	if source, err = m.source(ctx); err != nil {
		return nil, nil, err
	}
	for range maxReads {
		if mirror, err = m.Git.Refs(ctx, m.Mirror, m.Refs); err != nil {
			return nil, nil, verdict.CannotTell(Remote, "the refs of the mirror "+quote(m.Mirror.URL), err, "see whether it is there and may be read: the URL, mirror_token_file, identity_file, known_hosts")
		}
		before := source
		if source, err = m.source(ctx); err != nil {
			return nil, nil, err
		}
		if maps.Equal(before, source) {
			return source, mirror, nil
		}
	}
	return nil, nil, verdict.CannotTell(Source, "the forge's refs to stand still for a moment", fmt.Errorf("a change in each of %d reads", maxReads), "run it again when nobody pushes")
}

func (m *Mirror) source(ctx context.Context) (Refs, error) {
	refs, err := m.Git.Refs(ctx, m.Source, m.Refs)
	if err == nil && len(refs) == 0 {
		err = errors.New("none that refs names")
	}
	if err != nil {
		return nil, verdict.CannotTell(Source, "the refs of "+quote(m.Source.URL), err, "see whether it may be read and has something: the URL, token_file, refs")
	}
	return refs, nil
}

func (r *Result) add(checks ...verdict.Check) { r.Checks = append(r.Checks, checks...) }
func (r *Result) fail(err error)              { r.add(verdict.ChecksOf(err)...) }

func (r *Result) prove(id, wanted, got string) {
	r.add(verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: got})
}

func quote(s string) string { return fmt.Sprintf("%.300q", s) }
