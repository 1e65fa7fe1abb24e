package tfstate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"edge-actions/internal/verdict"
)

// ErrNoState says that the backend holds no state: nothing was applied yet, or
// what was applied is lost.
var ErrNoState = errors.New("there is no state")

// Source is where OpenTofu keeps a state.
type Source interface {
	// Read calls use once with the bytes of the state, while nobody can write
	// it as far as the backend allows that. It returns ErrNoState, and does
	// not call use, if there is no state.
	Read(ctx context.Context, use func(io.Reader) error) error
	// String names the place without anything secret.
	String() string
}

// File is a local state. It is read under OpenTofu's own lock.
type File struct {
	Path        string // absolute
	LockTimeout time.Duration
	// Stale is told of a lock info file that a killed tofu left behind.
	Stale func(holder string)
	// NoneYet: there never was a state, so that 0 bytes are none and not what is
	// left of one. They stay: a tofu that waits for their lock would write
	// into a file that is gone.
	NoneYet bool
}

func (f File) String() string { return f.Path }

// Read implements Source.
func (f File) Read(ctx context.Context, use func(io.Reader) error) (err error) {
	l, err := lockFile(ctx, f.Path, "edge-actions backup", f.LockTimeout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Unlock()) }()
	if l.stale != nil && f.Stale != nil {
		f.Stale(l.stale.String())
	}
	if info, err := l.Stat(); f.NoneYet && err == nil && info.Size() == 0 {
		return ErrNoState
	}
	return use(l)
}

// Unreadable is the id of the check that a backend could be asked for its state.
// It never says that there is none.
const Unreadable = "state-unreadable"

// Pull is a state in any other backend, read with `tofu state pull`, which
// takes no lock: the plan that follows is held against the digest.
type Pull struct {
	Backend string
	// Pull writes the state to w; nothing if there is none.
	Pull func(ctx context.Context, w io.Writer) error
}

func (p Pull) String() string { return "backend " + p.Backend }

// Read implements Source. The state never touches the disk in clear.
func (p Pull) Read(ctx context.Context, use func(io.Reader) error) error {
	r, w := io.Pipe()
	go func() {
		err := p.Pull(ctx, w)
		if err != nil {
			err = verdict.CannotTell(Unreadable, "the state in "+p.String()+" to be read", err, "see whether the backend answers and takes the credentials, then run again")
		}
		w.CloseWithError(err)
	}()
	defer r.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(r, first); err != nil {
		if err == io.EOF {
			return ErrNoState
		}
		return err
	}
	return use(io.MultiReader(bytes.NewReader(first), r))
}

// snapshot identifies the contents of a state at one moment.
type snapshot struct {
	Digest
	Meta
}

// Snapshot is what a receipt remembers of a state.
type Snapshot struct {
	// Absent: there is no state yet.
	Absent  bool   `json:"absent,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Serial  uint64 `json:"serial"`
	Lineage string `json:"lineage,omitempty"`
}

// Look reads the state once and returns what identifies it.
func Look(ctx context.Context, src Source) (Snapshot, error) {
	sum, scan := newDigester(), newScanner()
	err := src.Read(ctx, func(r io.Reader) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(sum, scan)}, struct{ io.Reader }{r}, make([]byte, 256<<10))
		return err
	})
	if errors.Is(err, ErrNoState) {
		return Snapshot{Absent: true}, nil
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("reading the state %s: %w", src, err)
	}
	meta, err := scan.Meta()
	if errors.Is(err, ErrNoState) {
		return Snapshot{Absent: true}, nil
	}
	if err != nil {
		return Snapshot{}, notWhole(src, err)
	}
	return Snapshot{SHA256: sum.Digest().SHA256, Serial: meta.Serial, Lineage: meta.Lineage}, nil
}

func notWhole(src Source, err error) error {
	return &verdict.Refusal{Err: err, Check: verdict.Check{ID: "state-whole", Verdict: verdict.Disproven,
		Wanted: "one whole state in " + src.String(), Got: err.Error(),
		Hint: "look for errored.tfstate beside the configuration, or restore the last archive"}}
}
