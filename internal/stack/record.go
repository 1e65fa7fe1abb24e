package stack

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
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/tfplan"
)

// An apply leaves a record: a directory under the stack's, named for the
// receipt's sha256. (Two plans of the same second can be the same bytes; no two
// receipts are.) Making that directory is what uses the plan up, so a plan is
// applied once even by two runs at the same moment. The record is how a run
// finds an apply whose step was killed.
const (
	recordFile    = "record.json"    // what is to be done; written before it starts
	livenessFile  = "alive.lock"     // flock held by the supervisor and by tofu
	startedFile   = "started"        // from here on tofu may have changed something
	outputFile    = "output.jsonl"   // tofu's -json stream
	exitFile      = "exit.json"      // how tofu ended; written by the supervisor
	collectedFile = "collected.json" // the state was backed up and the end reported
	toldFile      = "told"           // how it ended was reported, and there was no backup yet
	planCopy      = "plan.tfplan"    // what is applied; removed when tofu ends
	erroredFile   = "errored.tfstate"
)

// record is one apply.
type record struct {
	dir string
	job
}

// job is what the supervisor is told. Nothing in it is secret: credentials
// reach it through its environment.
type job struct {
	Receipt       *tfplan.Receipt `json:"receipt"`
	ReceiptSHA256 string          `json:"receipt_sha256"`

	Run     string    `json:"run"` // who started it, for people
	Created time.Time `json:"created"`
	Path    string    `json:"path"`
	Args    []string  `json:"args"`
	Dir     string    `json:"dir"`
	// First are the arguments of a command before that one; Stdin says that
	// tofu reads what the supervisor was given.
	First []string `json:"first,omitempty"`
	Stdin bool     `json:"stdin,omitempty"`
	// Push is what a push is to bring about; an apply has none.
	Push *push `json:"push,omitempty"`
	// Timeout is when tofu is asked to stop, after which it has Grace to save
	// the state.
	Timeout time.Duration `json:"timeout"`
	Grace   time.Duration `json:"grace"`
}

// exit is how tofu ended.
type exit struct {
	Code    int       `json:"code"` // -1 if a signal ended it or it never ran
	Error   string    `json:"error,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
}

var errUsed = errors.New("this plan was applied, or was about to be, by an earlier run")

// claim makes the record of a plan, which uses the plan up.
func claim(applies string, j job, planPath string) (_ *record, err error) {
	if err := os.MkdirAll(applies, 0o700); err != nil {
		return nil, err
	}
	// Everything that the supervisor needs is put together first: the plan as
	// a copy, since the runner deletes the job's files when it likes.
	stage, err := os.MkdirTemp(applies, files.TempPrefix)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(stage)
	src, err := os.Open(planPath)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if err := writeFrom(filepath.Join(stage, planCopy), src); err != nil {
		return nil, err
	}
	if sum, err := files.SHA256(filepath.Join(stage, planCopy)); err != nil {
		return nil, err
	} else if sum != j.Receipt.Plan.SHA256 {
		return nil, errors.New("the plan changed while it was copied")
	}
	if err := writeJSON(filepath.Join(stage, recordFile), j); err != nil {
		return nil, err
	}
	dir := filepath.Join(applies, j.ReceiptSHA256)
	if err := os.Rename(stage, dir); err != nil {
		if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
			return nil, errUsed
		}
		return nil, err
	}
	return &record{dir, j}, files.SyncDir(applies)
}

// uncollected returns the records whose end nobody has reported yet, oldest
// first, and sweeps what a killed run left of a record that never was.
func uncollected(applies string) ([]*record, error) {
	entries, err := os.ReadDir(applies)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []*record
	for _, e := range entries {
		dir := filepath.Join(applies, e.Name())
		if strings.HasPrefix(e.Name(), files.TempPrefix) {
			// Another apply step may be making one at this moment.
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > time.Hour {
				os.RemoveAll(dir)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, collectedFile)); err == nil {
			continue
		}
		r := &record{dir: dir}
		err := readJSON(filepath.Join(dir, recordFile), &r.job)
		if err == nil && r.Receipt == nil {
			err = errors.New("it has no receipt")
		}
		if err != nil {
			return nil, fmt.Errorf("the record %s of an apply can't be read (%w): look at it, then remove it", dir, err)
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *record) int { return a.Created.Compare(b.Created) })
	return out, nil
}

func (r *record) file(name string) string { return filepath.Join(r.dir, name) }

// alive reports whether the supervisor or tofu still runs: whoever of them is
// left holds the lock, and no process id can be mistaken for theirs. Once the
// end is written down it is the end: a program that a provisioner left running
// has inherited the lock, too.
func (r *record) alive() (bool, error) {
	if e, err := r.ended(); e != nil || err != nil {
		return false, err
	}
	f, err := os.OpenFile(r.file(livenessFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// started reports whether tofu can have begun. In doubt it can.
func (r *record) started() bool {
	_, err := os.Stat(r.file(startedFile))
	return !errors.Is(err, fs.ErrNotExist)
}

// ended returns how tofu ended, or nil if nobody wrote that down.
func (r *record) ended() (*exit, error) {
	var e exit
	err := readJSON(r.file(exitFile), &e)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &e, err
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return files.Write(path, append(data, '\n'))
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
