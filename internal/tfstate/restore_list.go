package tfstate

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"edge-actions/internal/verdict"
)

// The words of Listed.Where.
const (
	Here  = "here"
	There = "there"
	Both  = "both"
)

// Listed is one archive as it is shown. What is not known of it is empty: its
// name alone says when it was made and of which serial.
type Listed struct {
	Name       string          `json:"name"`
	Created    time.Time       `json:"created"`
	AgeSeconds int64           `json:"age_seconds"`
	Serial     uint64          `json:"serial"`
	Lineage    string          `json:"lineage,omitempty"`
	Resources  int             `json:"resources"`
	Instances  int             `json:"instances"`
	Encrypted  bool            `json:"encrypted,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Accepted   []string        `json:"accepted,omitempty"`
	Where      string          `json:"where"`
	Same       string          `json:"same,omitempty"` // "yes" or "no", if it is in both places and was looked at
	Verdict    verdict.Verdict `json:"verdict"`
	// Good archives are fit to be restored unasked; proven ones were opened, too.
	Good bool `json:"good"`
	// Checks are what Verdict is drawn from; none if the archive was not opened.
	Checks []verdict.Check `json:"-"`
}

// List returns the archives of both places, newest first, with the newest few
// of them opened where they count: off the machine, if there is such a place.
func (a *Archives) List(ctx context.Context, from string, open int, now time.Time) ([]Listed, error) {
	at := map[string][]Store{}
	places := a.places(from)
	for _, store := range places {
		names, err := archiveNames(ctx, store)
		if err != nil {
			return nil, verdict.CannotTell(ArchiveThere, "the names of the archives in "+store.Location(""), err, "see whether the place can be reached and read from here")
		}
		for _, name := range names {
			at[name] = append(at[name], store)
		}
	}
	if len(at) == 0 {
		return nil, verdict.CannotTell(ArchiveThere, fmt.Sprintf("archives of the stack %q", a.Stack), fmt.Errorf("none in any of %d places", len(places)), "correct stack, runner_dir and offsite; tofu-plan-with-state-backup makes one with each plan")
	}
	names := make([]string, 0, len(at))
	for name := range at {
		names = append(names, name)
	}
	slices.Sort(names)
	slices.Reverse(names)
	out := make([]Listed, len(names))
	for i, name := range names {
		out[i] = a.listed(ctx, name, at[name], i < open, len(places) == 2, now)
	}
	return out, nil
}

// listed looks at one archive. The last of its places is the one that counts;
// both says that it should be in two.
func (a *Archives) listed(ctx context.Context, name string, at []Store, open, both bool, now time.Time) Listed {
	l := Listed{Name: name, Where: Both, Verdict: verdict.Unproven, Resources: -1, Instances: -1}
	switch {
	case len(at) == 1 && at[0] == Store(a.Local):
		l.Where = Here
	case len(at) == 1:
		l.Where = There
	}
	l.Created, _ = timeOf(name) // the name has the form of one
	l.AgeSeconds = int64(now.Sub(l.Created).Seconds())
	if n, err := serialOf(name); err == nil {
		l.Serial = uint64(n)
	}
	counts := at[len(at)-1]
	switch {
	case open:
	case l.Where == There:
		return l // its manifest would be a call to the remote for each of many
	default:
		counts = at[0]
	}
	m, err := a.manifestOf(ctx, counts, name)
	if err != nil {
		l.Checks = verdict.ChecksOf(err) // a manifest is small: that it is bad is seen in all of them
		l.Verdict = verdict.Of(l.Checks)
		return l
	}
	l.Lineage, l.Resources, l.Instances, l.Encrypted = m.State.Lineage, m.State.Resources, m.State.Instances, m.State.Encrypted
	l.Reason, l.Accepted, l.Good = m.Reason, m.Accepted, m.good()
	if !open {
		return l
	}
	l.Checks = a.openAt(ctx, counts, m)
	switch {
	case len(at) == 2:
		l.Checks, l.Same = append(l.Checks, a.sameHere(ctx, m)), "yes"
		for _, c := range l.Checks {
			if c.Verdict != verdict.Proven && c.ID != ArchiveOpens {
				l.Same = "no"
			}
		}
	case l.Where == Here && both:
		l.Checks = append(l.Checks, verdict.Refuse(ArchiveHere, "a copy of "+name+" off the machine", "none", "copy the archive's directory there, and see why its upload did not end").Check)
	}
	l.Verdict = verdict.Of(l.Checks)
	return l
}

// sameHere holds the copy on the runner against the manifest of the other one.
func (a *Archives) sameHere(ctx context.Context, m *Manifest) verdict.Check {
	wanted := fmt.Sprintf("the copy %s with the bytes of the one off the machine, sha256 %.12s…", a.Local.Location(m.Name), m.Archive.SHA256)
	err := a.readBack(ctx, a.Local, m.Name, func(r io.Reader) error { return sameDigest(r, m.Archive.Digest) })
	if err != nil {
		return verdict.Refuse(ArchiveHere, wanted, err.Error(), "the copy on the runner is damaged or was changed: look at the disk, and take the archive from off the machine").Check
	}
	return proven(ArchiveHere, wanted, "the same bytes")
}
