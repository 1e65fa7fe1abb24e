package contracts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"edge-actions/internal/files"
)

// Part is one of the parts in which the data of a repository is read, with what
// is known of the others.
type Part struct {
	Number, Of int
	// Known says which parts were read before, for people.
	Known string
}

func (p Part) String() string { return fmt.Sprintf("%d/%d", p.Number, p.Of) }

// rotationSchema names the format of a rotation's file.
const rotationSchema = "edge-actions/check-rotation/v1"

// rotation remembers when each part of a repository was read and whole. It is
// kept on the runner: a repository has nowhere for it, and a calendar would not
// know of the runs that did not happen.
type rotation struct {
	Schema       string            `json:"schema"`
	RepositoryID string            `json:"repository_id"`
	Parts        int               `json:"parts"`
	Read         map[int]time.Time `json:"read"`

	path string
}

// openRotation reads the file of a repository; without one, or with another
// number of parts, nothing was read yet. With an error it is one of which nothing
// is known.
func openRotation(dir, repositoryID string, parts int) (*rotation, error) {
	path := filepath.Join(dir, fmt.Sprintf("%s-%d.json", repositoryID, parts))
	fresh := &rotation{Schema: rotationSchema, RepositoryID: repositoryID, Parts: parts, Read: map[int]time.Time{}, path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return fresh, err
	}
	r := &rotation{path: path}
	if err := json.Unmarshal(data, r); err != nil {
		return fresh, fmt.Errorf("%s: %w", path, err)
	}
	if r.Schema != rotationSchema || r.RepositoryID != repositoryID || r.Parts != parts || r.Read == nil {
		return fresh, fmt.Errorf("%s is not of this repository in %d parts", path, parts)
	}
	for n := range r.Read {
		if n < 1 || n > parts {
			delete(r.Read, n)
		}
	}
	return r, nil
}

// next is the first part that was never read, else the one that was read the
// longest ago: a run that did not happen leaves no hole for a year. taken are
// parts that others read at this moment.
func (r *rotation) next(taken map[int]bool) Part {
	best := 0
	for n := 1; n <= r.Parts; n++ {
		switch at := r.Read[n]; {
		case taken[n]:
		case best == 0, at.Before(r.Read[best]):
			best = n
		}
	}
	if best == 0 { // others read all of them
		best = 1
	}
	return Part{Number: best, Of: r.Parts, Known: r.known()}
}

func (r *rotation) known() string {
	if len(r.Read) == 0 {
		return fmt.Sprintf("none of %d parts was read before", r.Parts)
	}
	oldest := time.Time{}
	for _, at := range r.Read {
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return fmt.Sprintf("%d of %d parts were read before, the first of them on %s", len(r.Read), r.Parts, oldest.UTC().Format(time.DateOnly))
}

// mark remembers that a part was read and whole.
func (r *rotation) mark(n int, now time.Time) error {
	r.Read[n] = now.UTC()
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o700); err != nil {
		return err
	}
	return files.Write(r.path, append(data, '\n'))
}
