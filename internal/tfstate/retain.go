package tfstate

import (
	"context"
	"io"
	"time"
)

// retain removes the archives that are beyond both limits, here and off the
// machine. A failure to remove is told and is no reason to go red: there is
// one archive too many, not one too few.
func (a *Archives) retain(ctx context.Context, newest *Manifest) {
	for _, store := range []Store{a.Local, a.Offsite} {
		if store == nil {
			continue
		}
		names, err := archiveNames(ctx, store)
		if err != nil {
			a.Logf("retention: the archives in %s can't be listed, nothing was removed: %v", store.Location(""), err)
			continue
		}
		for _, name := range a.expired(ctx, store, names, newest) {
			if err := store.Remove(ctx, name); err != nil {
				a.Logf("retention: %s can't be removed: %v", store.Location(name), err)
				continue
			}
			a.Logf("retention: removed %s (beyond retain_count %d and retain_days %d)", store.Location(name), a.RetainCount, a.RetainDays)
		}
	}
}

// uploadAge is beyond every upload that may still be under way, of another
// runner too.
const uploadAge = 24 * time.Hour

// sweepUploads removes what a killed upload left on a remote. A directory needs
// none of this: there an archive appears at once.
func (a *Archives) sweepUploads(ctx context.Context, newest *Manifest) {
	remote, ok := a.Offsite.(interface {
		Incomplete(context.Context) ([]string, error)
	})
	if !ok {
		return
	}
	names, err := remote.Incomplete(ctx)
	if err != nil {
		a.Logf("retention: the remains of killed uploads can't be listed: %v", err)
	}
	for _, name := range names {
		if made, err := timeOf(name); err != nil || !archiveName.MatchString(name) || newest.Created.Sub(made) < uploadAge {
			continue
		}
		if err := a.Offsite.Remove(ctx, name); err != nil {
			a.Logf("retention: the remains of %s can't be removed: %v", a.Offsite.Location(name), err)
		}
	}
}

// expired returns which of the names, sorted newest first, may go: those that
// are beyond every limit that is set. Never the archive that was just proved,
// never one from the future of this run's clock, and never the last good one.
func (a *Archives) expired(ctx context.Context, store Store, names []string, newest *Manifest) []string {
	if a.RetainCount == 0 && a.RetainDays == 0 {
		return nil
	}
	oldest := newest.Created.Add(-time.Duration(a.RetainDays) * 24 * time.Hour)
	var out []string
	for i, name := range names {
		made, err := timeOf(name)
		young := a.RetainDays > 0 && !made.Before(oldest)
		few := a.RetainCount > 0 && i < a.RetainCount
		if err == nil && !young && !few && name < newest.Name {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return nil
	}
	good := a.lastGood(ctx, store, names, newest)
	kept := out[:0]
	for _, name := range out {
		if name != good {
			kept = append(kept, name)
		}
	}
	return kept
}

// lastGood returns the newest archive that was taken without an override and
// whose bytes are still those of its manifest.
func (a *Archives) lastGood(ctx context.Context, store Store, names []string, newest *Manifest) string {
	for _, name := range names {
		m := newest // was read back a moment ago
		if name != newest.Name {
			var err error
			if m, err = readManifest(ctx, store, name); err != nil {
				continue
			}
		}
		if m.Reason == Errored || len(m.Accepted) > 0 {
			continue
		}
		same := func(r io.Reader) error { return sameDigest(r, m.Archive.Digest) }
		if name == newest.Name || a.readBack(ctx, store, name, same) == nil {
			return name
		}
	}
	return ""
}
