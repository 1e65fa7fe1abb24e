package ingress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
)

// record is the runner's own memory of one lease: a file DIR/NONCE.json beside
// a lock, which the process holds for as long as it lives. A record whose lock
// is free is a dead run's.
type record struct {
	path string
	lock *os.File
	Remembered
}

// Remembered is what a record holds.
type Remembered struct {
	Schema     string `json:"schema"`
	Marker     Marker `json:"marker"`
	NSG        string `json:"nsg_id"`
	InstanceID string `json:"instance_id"`
	Source     string `json:"source"`
}

const recordSchema = "edge-actions/ingress-lease/v1"

// remember writes a record and takes its lock, the lock first: a record that
// nobody holds would be closed by any other run.
func (k *Keeper) remember(m Marker, q Request) (*record, error) {
	if err := os.MkdirAll(k.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the leases: %w", err)
	}
	r := &record{path: filepath.Join(k.Dir, m.Nonce+".json"), Remembered: Remembered{
		Schema: recordSchema, Marker: m, NSG: q.NSG, InstanceID: q.InstanceID, Source: q.Source.String(),
	}}
	var err error
	if r.lock, err = hold(r.path); err != nil {
		return nil, fmt.Errorf("locking the record of the lease: %w", err)
	}
	data, err := json.Marshal(r.Remembered)
	if err == nil {
		err = files.Write(r.path, append(data, '\n'))
	}
	if err != nil {
		r.release()
		return nil, fmt.Errorf("remembering the lease before it is opened: %w", err)
	}
	return r, nil
}

// errHeld is a lock that a living process has.
var errHeld = errors.New("a run that is under way holds it")

// hold takes the lock of a record without waiting.
func hold(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errHeld
		}
		return nil, err
	}
	return f, nil
}

// release lets go of the lock and leaves the record to the next run.
func (r *record) release() {
	if r.lock != nil {
		r.lock.Close()
	}
}

// forget takes the record away; the lease is closed. The lock's file goes
// first: a record without one is a dead run's, which is what it is then.
func (r *record) forget() {
	os.Remove(r.path + ".lock")
	os.Remove(r.path)
	r.release()
}

// orphans are the records of runs that are dead, with their locks held. The
// records of living ones are returned by their nonces. A record that can't be
// read is an error, and the others are returned all the same.
func (k *Keeper) orphans() (dead []*record, living map[string]bool, err error) {
	living = map[string]bool{}
	entries, err := os.ReadDir(k.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, living, nil
	}
	if err != nil {
		return nil, living, verdict.CannotTell(Record, "the runner's records of its leases", err, "correct runner_dir")
	}
	var errs []error
	for _, e := range entries {
		nonce, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !nonceForm.MatchString(nonce) {
			continue
		}
		r := &record{path: filepath.Join(k.Dir, e.Name())}
		if r.lock, err = hold(r.path); errors.Is(err, errHeld) {
			living[nonce] = true
			continue
		} else if err != nil {
			errs = append(errs, verdict.CannotTell(Record, "the lock of "+r.path, err, "correct the modes below runner_dir"))
			continue
		}
		data, err := os.ReadFile(r.path)
		if errors.Is(err, fs.ErrNotExist) { // another run was quicker
			os.Remove(r.path + ".lock")
			r.release()
			continue
		}
		if err == nil {
			err = json.Unmarshal(data, &r.Remembered)
		}
		if err == nil && (r.Schema != recordSchema || r.Marker.Nonce != nonce || r.NSG == "") {
			err = fmt.Errorf("it is none of %s", recordSchema)
		}
		if err != nil {
			r.release()
			errs = append(errs, verdict.CannotTell(Record, "a record of a lease in "+r.path, err, "run ingress-sweep for the machine, then remove the file"))
			continue
		}
		dead = append(dead, r)
	}
	return dead, living, errors.Join(errs...)
}

// Left reports whether the runner remembers any lease, or can't tell.
func (k *Keeper) Left() bool {
	entries, err := os.ReadDir(k.Dir)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), ".json") })
}

// Claim is this process' right to work on a node: a second run on the same
// runner is told so before it does anything. It ends with the process, however
// that ends, or with the function that is returned.
func (k *Keeper) Claim(node string) (release func(), err error) {
	if err := os.MkdirAll(k.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the leases: %w", err)
	}
	f, err := hold(filepath.Join(k.Dir, "node-"+word(node)))
	if errors.Is(err, errHeld) {
		return nil, verdict.Refuse(Busy, "no other run at work on "+quote(node), "one on this runner", "wait for it; a concurrency group in the workflow keeps runs apart")
	}
	if err != nil {
		return nil, verdict.CannotTell(Busy, "no other run at work on "+quote(node), err, "correct runner_dir")
	}
	return func() { f.Close() }, nil
}
