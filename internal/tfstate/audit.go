package tfstate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/verdict"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// The ids of the checks of an Audit.
const (
	// ArchiveThere is that there is one off the machine.
	ArchiveThere = "state-archive"
	// ArchiveAge is how old the newest one is.
	ArchiveAge = "state-archive-age"
	// ArchiveHere is the newest one here against the newest one there.
	ArchiveHere = "state-archive-copied"
	// ArchiveHistory are serials that never go back, and one lineage.
	ArchiveHistory = "state-history"
	// ArchiveBytes are the bytes off the machine against their manifest.
	ArchiveBytes = "state-archive-bytes"
	// ArchiveOpens is the state that comes out of them.
	ArchiveOpens = "state-archive-opens"
)

// StackDir is where everything of one stack lies below a runner's directory,
// and ArchivesDir where its archives do.
func StackDir(runnerDir, stack string) string { return filepath.Join(runnerDir, "stacks", stack) }

// ArchivesDir is where the archives of one stack are on the runner.
func ArchivesDir(runnerDir, stack string) string {
	return filepath.Join(StackDir(runnerDir, stack), "archives")
}

// Audit holds the archives of one state against what is expected of them,
// without the state and without changing anything.
type Audit struct {
	Stack string
	Local Dir
	// Offsite is where the copies are that count.
	Offsite Store
	// Identities open the archives.
	Identities []age.Identity
	// MaxAge is how old the newest may be, MaxSkew how far its clock may be ahead
	// of Now.
	MaxAge, MaxSkew time.Duration
	Now             time.Time
	// MinResources is a floor on the resources of the state; an encrypted state
	// does not show how many it has.
	MinResources int
}

// history is how many manifests are read for the lineage.
const history = 20

// Checks looks at the copies off the machine. What is said of a state is read
// out of the archive itself.
func (a *Audit) Checks(ctx context.Context) []verdict.Check {
	wanted := fmt.Sprintf("archives of the stack %q in %s", a.Stack, a.Offsite.Location(""))
	names, err := archiveNames(ctx, a.Offsite)
	if err != nil {
		return []verdict.Check{verdict.CannotTell(ArchiveThere, wanted, err, "see whether the place can be reached and read from here").Check}
	}
	if len(names) == 0 {
		return []verdict.Check{verdict.CannotTell(ArchiveThere, wanted, errors.New("none"), "correct stack and offsite; or run tofu-plan-with-state-backup, which makes one with each plan").Check}
	}
	checks := []verdict.Check{proven(ArchiveThere, wanted, fmt.Sprintf("%d, the newest is %s", len(names), names[0])), a.age(names[0]), a.here(ctx, names[0])}
	manifests, err := a.manifests(ctx, names)
	if err != nil {
		return append(checks, verdict.CannotTell(ArchiveHistory, "the manifests of the newest archives", err, "see what damaged it; move the archive away if it can't be mended").Check)
	}
	checks = append(checks, a.history(names, manifests))
	return append(checks, a.open(ctx, manifests[0])...)
}

func (a *Audit) age(newest string) verdict.Check {
	wanted := fmt.Sprintf("an archive that is at most %s old", a.MaxAge)
	made, err := timeOf(newest)
	if err != nil {
		return verdict.CannotTell(ArchiveAge, wanted, err, "see who named it").Check
	}
	switch old := a.Now.Sub(made).Round(time.Second); {
	case old < -a.MaxSkew:
		return verdict.Refuse(ArchiveAge, wanted, fmt.Sprintf("%s, which is %s in the future", newest, -old), "somebody planted it, or a clock was wrong: the newest one is not the last one").Check
	case old > a.MaxAge:
		return verdict.Refuse(ArchiveAge, wanted, fmt.Sprintf("%s, %s old", newest, old), "see why tofu-plan-with-state-backup has not run; its schedule is part of this promise").Check
	default:
		return proven(ArchiveAge, wanted, max(old, 0).String())
	}
}

// here says whether what was archived last on the machine is the last one that
// got away from it.
func (a *Audit) here(ctx context.Context, newest string) verdict.Check {
	wanted := "the newest archive of " + a.Local.Path + " off the machine"
	names, err := archiveNames(ctx, a.Local)
	if err == nil && len(names) == 0 {
		err = errors.New("none is there")
	}
	if err != nil {
		return verdict.CannotTell(ArchiveHere, wanted, err, "correct runner_dir, or look at the archives on the machine where the stack is planned").Check
	}
	if names[0] > newest {
		return verdict.Refuse(ArchiveHere, wanted, fmt.Sprintf("%s here, %s there", names[0], newest), "copy the archive's directory there, and see why its upload did not end").Check
	}
	return proven(ArchiveHere, wanted, names[0])
}

// manifests are those of the newest archives, newest first.
func (a *Audit) manifests(ctx context.Context, names []string) ([]*Manifest, error) {
	var out []*Manifest
	for _, name := range names[:min(len(names), history)] {
		m, err := readManifest(ctx, a.Offsite, name)
		if err != nil {
			return nil, err
		}
		if m.Stack != a.Stack {
			return nil, fmt.Errorf("archive %s is of the stack %q", name, m.Stack)
		}
		out = append(out, m)
	}
	return out, nil
}

// history wants serials that never go back and one lineage. What the operator
// accepted when the archive was made is said, and is no break.
func (a *Audit) history(names []string, manifests []*Manifest) verdict.Check {
	const wanted = "serials that never go back, and one lineage"
	var broken, accepted []string
	last := -1 // the serial of the archive before, in the order of time
	for _, name := range slices.Backward(names) {
		serial, err := serialOf(name)
		if err != nil {
			return verdict.CannotTell(ArchiveHistory, wanted, err, "see who named it").Check
		}
		i := slices.IndexFunc(manifests, func(m *Manifest) bool { return m.Name == name })
		switch {
		case i >= 0 && manifests[i].Reason == Errored:
			continue // what tofu could not persist is no step of the history
		case i >= 0 && manifests[i].State.Serial != uint64(serial):
			broken = append(broken, fmt.Sprintf("%s, whose manifest has the serial %d", name, manifests[i].State.Serial))
		case serial < last && i >= 0 && len(manifests[i].Accepted) > 0:
			accepted = append(accepted, name)
		case serial < last && i >= 0: // older than what is read counts no more
			broken = append(broken, fmt.Sprintf("%s after serial %d", name, last))
		}
		last = serial
	}
	for i, m := range manifests[:len(manifests)-1] {
		switch before := manifests[i+1]; {
		case m.State.Lineage == before.State.Lineage:
		case len(m.Accepted) > 0:
			accepted = append(accepted, m.Name)
		default:
			broken = append(broken, fmt.Sprintf("%s with the lineage %q after %q", m.Name, m.State.Lineage, before.State.Lineage))
		}
	}
	if len(broken) > 0 {
		return verdict.Refuse(ArchiveHistory, wanted, strings.Join(broken[:min(len(broken), 8)], "; "), "another state was put into its place: find out who did, and restore the right one").Check
	}
	got := fmt.Sprintf("serial %d after %d archives, lineage %s", manifests[0].State.Serial, len(names), manifests[0].State.Lineage)
	if len(accepted) > 0 {
		got += "; breaks that were accepted then: " + strings.Join(accepted, ", ")
	}
	return proven(ArchiveHistory, wanted, got)
}

var serialForm = regexp.MustCompile(`-serial(\d+)-`)

func serialOf(name string) (int, error) {
	m := serialForm.FindStringSubmatch(name)
	if m == nil {
		return 0, fmt.Errorf("the archive %q has no serial in its name", name)
	}
	return strconv.Atoi(m[1])
}

// open reads the newest archive once from where it is kept: its bytes against
// its manifest, and the state in it against what the manifest says of it.
func (a *Audit) open(ctx context.Context, m *Manifest) []verdict.Check {
	where := a.Offsite.Location(m.Name)
	wanted := fmt.Sprintf("the archive %s, read from there, with the sha256 %.12s…", where, m.Archive.SHA256)
	r, err := a.Offsite.Open(ctx, m.Name, ArchiveFile)
	if err != nil {
		return []verdict.Check{verdict.CannotTell(ArchiveBytes, wanted, err, "see whether the place can be read from here").Check}
	}
	sum := newDigester()
	meta, state, opened := openArchive(io.TeeReader(r, sum), a.Identities)
	_, drained := io.Copy(sum, r) // what was not read, so that the digest is of all
	if err := errors.Join(drained, r.Close()); err != nil {
		return []verdict.Check{verdict.CannotTell(ArchiveBytes, wanted, err, "see whether the place can be read from here").Check}
	}
	if got := sum.Digest(); got != m.Archive.Digest {
		return []verdict.Check{verdict.Refuse(ArchiveBytes, wanted, fmt.Sprintf("%s, %d bytes", got.SHA256, got.Size), "the copy is damaged or was changed: copy the archive there again from "+a.Local.Path+", and see who can write to the place").Check}
	}
	checks := []verdict.Check{proven(ArchiveBytes, wanted, fmt.Sprintf("%d bytes", m.Archive.Size))}
	return append(checks, a.opens(m, meta, state, opened))
}

func (a *Audit) opens(m *Manifest, meta Meta, state Digest, err error) verdict.Check {
	wanted := fmt.Sprintf("the state of serial %d in it, opened with the key", m.State.Serial)
	if a.MinResources > 0 {
		wanted += fmt.Sprintf(", with at least %d resources", a.MinResources)
	}
	switch {
	case errors.As(err, new(*age.NoIdentityMatchError)):
		return verdict.Refuse(ArchiveOpens, wanted, "an archive that this key does not open", "give the identity whose public key is among age_recipients; without it no archive can be restored").Check
	case err != nil:
		return verdict.Refuse(ArchiveOpens, wanted, err.Error(), "the archive can't be restored: make a new one, and see what damaged this one").Check
	case state != m.State.Digest || meta != m.State.Meta:
		return verdict.Refuse(ArchiveOpens, wanted, fmt.Sprintf("another state than its manifest says: serial %d, sha256 %.12s…", meta.Serial, state.SHA256), "archive and manifest do not belong together: see who changed them").Check
	case a.MinResources > 0 && meta.Encrypted:
		return verdict.CannotTell(ArchiveOpens, wanted, errors.New("the state is encrypted and does not show its resources"), "leave min_resources out").Check
	case !meta.Encrypted && meta.Resources < a.MinResources:
		return verdict.Refuse(ArchiveOpens, wanted, fmt.Sprintf("%d", meta.Resources), "see what was destroyed; correct min_resources only then").Check
	}
	return proven(ArchiveOpens, wanted, fmt.Sprintf("serial %d, %s, lineage %s", meta.Serial, resources(meta), meta.Lineage))
}

// openArchive reads an archive to its end and says what the state in it is. The
// state itself is kept nowhere.
func openArchive(r io.Reader, identities []age.Identity) (Meta, Digest, error) {
	sum, scan := newDigester(), newScanner()
	err := unpack(r, identities, func(r io.Reader) error {
		_, err := io.Copy(io.MultiWriter(sum, scan), r)
		return err
	})
	if err != nil {
		return Meta{}, Digest{}, err
	}
	meta, err := scan.Meta()
	if err != nil {
		return Meta{}, Digest{}, fmt.Errorf("the state in it is not whole: %w", err)
	}
	return meta, sum.Digest(), nil
}

// unpack hands the state in an archive to use, which reads it to its end.
func unpack(r io.Reader, identities []age.Identity, use func(io.Reader) error) error {
	plain, err := age.Decrypt(r, identities...)
	if err != nil {
		return fmt.Errorf("decrypting: %w", err)
	}
	z, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8*chunkSize))
	if err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	defer z.Close()
	if err := use(z); err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	return nil
}
