package recovery

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/restic"
	"edge-actions/internal/verdict"
)

// Want says which snapshot is meant.
type Want struct {
	// Host is exact; a repository may be shared by several.
	Host string
	// Paths are all paths of the snapshot, in any order. Another set is another
	// backup.
	Paths []string
	// ID picks one snapshot by its full id; "" takes the newest.
	ID string
	// MaxAge is how old it may be; 0 is any age.
	MaxAge time.Duration
	// MaxSkew is how far the clock of the host may be ahead of Now.
	MaxSkew time.Duration
	Now     time.Time
	// MinFiles and MinBytes are floors; Shrink is the least part of the median
	// of its history that it must have, 0 asks nothing (0.5 is half).
	MinFiles, MinBytes uint64
	Shrink             float64
}

// CheckIdentity holds the id of a repository, as its config has it, against the
// one that was written down when it was made.
func CheckIdentity(found, id string) verdict.Check {
	wanted := "the repository " + short(id)
	if found != id {
		return verdict.Refuse(Identity, wanted, fmt.Sprintf("%.80q", found), "this is another repository, or it was made anew and is empty of what was: see who ran restic init, and correct repository_id only then").Check
	}
	return verdict.Check{ID: Identity, Verdict: verdict.Proven, Wanted: wanted, Got: short(found)}
}

// Choose picks from all snapshots of a repository the one that is meant, and
// says what holds of it. It does not take restic's own "latest", which a
// snapshot of another host, of other paths or from the future wins.
func Choose(all []restic.Snapshot, want Want) (*restic.Snapshot, []verdict.Check) {
	wanted := fmt.Sprintf("a snapshot of %q on the host %q", want.Paths, want.Host)
	same, future := split(all, want)
	var checks []verdict.Check
	if len(future) > 0 {
		var ids []string
		for _, s := range future {
			ids = append(ids, fmt.Sprintf("%s of %s", short(s.ID), stamp(s.Time)))
		}
		checks = append(checks, verdict.Refuse(Future, "no snapshot from the future", strings.Join(ids, ", "),
			"somebody planted it, or the host's clock was wrong: it hides the real one from restic's own \"latest\"; look at who may write to the repository").Check)
	}
	if want.ID != "" {
		same = slices.DeleteFunc(slices.Clone(same), func(s restic.Snapshot) bool { return s.ID != want.ID })
	}
	if len(same) == 0 {
		return nil, append(checks, none(all, want, wanted))
	}
	newest := slices.MaxFunc(same, func(a, b restic.Snapshot) int { return a.Time.Compare(b.Time) })
	checks = append(checks, verdict.Check{ID: Chosen, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("%s of %s, the newest of %d", short(newest.ID), stamp(newest.Time), len(same))})
	if want.MaxAge > 0 {
		checks = append(checks, age(&newest, want))
	}
	return &newest, append(checks, size(&newest, same, want)...)
}

// split picks the snapshots of exactly the host and the paths, and of these
// apart those from the future.
func split(all []restic.Snapshot, want Want) (same, future []restic.Snapshot) {
	paths := clean(want.Paths)
	for _, s := range all {
		if s.Hostname != want.Host || !slices.Equal(clean(s.Paths), paths) {
			continue
		}
		if s.Time.After(want.Now.Add(want.MaxSkew)) {
			future = append(future, s)
			continue
		}
		same = append(same, s)
	}
	return same, future
}

func clean(paths []string) []string {
	out := make([]string, 0, len(paths))
	for _, p := range paths {
		out = append(out, path.Clean(p))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// none says what there is instead, so that a mistyped host can be seen.
func none(all []restic.Snapshot, want Want, wanted string) verdict.Check {
	if len(all) == 0 {
		return verdict.CannotTell(Chosen, wanted, errors.New("the repository has no snapshot at all"), "see the backup's unit and its journal: it has never ended well, or the repository was made anew").Check
	}
	type key struct{ host, paths string }
	last := map[key]time.Time{}
	for _, s := range all {
		k := key{s.Hostname, fmt.Sprintf("%.200q", clean(s.Paths))}
		if s.Time.After(last[k]) {
			last[k] = s.Time
		}
	}
	var found []string
	for k, at := range last {
		found = append(found, fmt.Sprintf("%.100q %s, last %s", k.host, k.paths, stamp(at)))
	}
	slices.Sort(found)
	if len(found) > 8 {
		found = append(found[:8], fmt.Sprintf("and %d more", len(found)-8))
	}
	if want.ID != "" {
		return verdict.Refuse(Chosen, wanted+" with the id "+want.ID, "none; there are\n"+strings.Join(found, "\n"), "correct the input snapshot_id").Check
	}
	return verdict.Refuse(Chosen, wanted, "none; there are\n"+strings.Join(found, "\n"), "correct host and paths, or see why this host's backup does not run; a missing source path is dropped from the snapshot without an error").Check
}

func age(s *restic.Snapshot, want Want) verdict.Check {
	old := want.Now.Sub(s.Time).Round(time.Second)
	wanted := fmt.Sprintf("a snapshot that is at most %s old", want.MaxAge)
	if old > want.MaxAge {
		return verdict.Refuse(Age, wanted, fmt.Sprintf("%s, of %s", old, stamp(s.Time)), "see the backup's timer and the journal of its unit on the host").Check
	}
	return verdict.Check{ID: Age, Verdict: verdict.Proven, Wanted: wanted, Got: max(old, 0).String()}
}

// size holds a snapshot against floors and against the median of its history:
// what lost most of its files is a backup of something else.
func size(s *restic.Snapshot, same []restic.Snapshot, want Want) []verdict.Check {
	if want.MinFiles == 0 && want.MinBytes == 0 && want.Shrink == 0 {
		return nil
	}
	wanted := fmt.Sprintf("at least %d files and %d bytes", want.MinFiles, want.MinBytes)
	if want.Shrink > 0 {
		wanted += fmt.Sprintf(", and %.0f %% of the median of its history", want.Shrink*100)
	}
	if s.Summary == nil {
		return []verdict.Check{verdict.CannotTell(Size, wanted, errors.New("the snapshot has no summary"), "it was made by restic before 0.17: make a new one").Check}
	}
	files, bytes := s.Summary.TotalFilesProcessed, s.Summary.TotalBytesProcessed
	got := fmt.Sprintf("%d files, %d bytes", files, bytes)
	var history [2][]uint64
	for _, o := range same {
		if o.ID != s.ID && o.Summary != nil {
			history[0], history[1] = append(history[0], o.Summary.TotalFilesProcessed), append(history[1], o.Summary.TotalBytesProcessed)
		}
	}
	small := files < want.MinFiles || bytes < want.MinBytes
	if want.Shrink > 0 && len(history[0]) > 0 {
		f, b := median(history[0]), median(history[1])
		got += fmt.Sprintf("; the median of %d before it: %d files, %d bytes", len(history[0]), f, b)
		small = small || float64(files) < want.Shrink*float64(f) || float64(bytes) < want.Shrink*float64(b)
	}
	if small {
		return []verdict.Check{verdict.Refuse(Size, wanted, got, "see what the backup no longer has: compare restic ls of this snapshot and the one before").Check}
	}
	return []verdict.Check{{ID: Size, Verdict: verdict.Proven, Wanted: wanted, Got: got}}
}

func median(values []uint64) uint64 {
	slices.Sort(values)
	return values[len(values)/2]
}

func short(id string) string { return id[:min(len(id), 8)] }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
