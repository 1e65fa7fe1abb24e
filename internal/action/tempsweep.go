package action

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"edge-actions/internal/files"
)

// A runner that has a RUNNER_TEMP for each job (act, and with it Forgejo's) never
// looks again at that of a job with which it was killed itself. So each place that
// gets a secret is in the register of the runner's user, and any later job of
// that user sweeps it.

const placePrefix = "place-"

// place is an entry of the register.
type place struct {
	Root string `json:"root"`
	// Runner is the process that ran the job, see runnerID.
	Runner string `json:"runner,omitempty"`
}

// registerPlace puts root into the register, and sweeps the places that are
// there already: secrets of runs that are over, and all that is left of jobs
// whose runner is gone.
func (a *Action) registerPlace(root string) error {
	if !filepath.IsAbs(a.getenv("RUNNER_TEMP")) {
		return sweepSecrets(root) // the system's place is the same one each time
	}
	register, unlock, err := a.lockRegister(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	me := place{root, runnerID()}
	data, err := json.Marshal(me)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s%.16x", placePrefix, sha256.Sum256([]byte(root)))
	if old, err := os.ReadFile(filepath.Join(register, name)); err != nil || string(old) != string(data) {
		if err := files.Write(filepath.Join(register, name), data); err != nil {
			return err
		}
	}
	_, _, err = a.sweepKeptDirs(root, register, false)
	entries, listErr := os.ReadDir(register)
	err = errors.Join(err, listErr)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), placePrefix) {
			err = errors.Join(err, sweepPlace(filepath.Join(register, e.Name()), me))
		}
	}
	return err
}

// sweepPlace sweeps what an entry of the register names, and forgets it if nothing
// is there any more.
func sweepPlace(entry string, me place) error {
	data, err := os.ReadFile(entry)
	if err != nil {
		return err
	}
	var p place
	if json.Unmarshal(data, &p) != nil || !filepath.IsAbs(p.Root) || filepath.Base(p.Root) != tempName {
		return nil // of a later version
	}
	info, err := os.Lstat(p.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Remove(entry)
	}
	if err != nil || !info.IsDir() {
		return err
	}
	if err := files.CheckPrivateDir(p.Root); err != nil {
		return nil // not of our making: it is not ours to sweep
	}
	if err := sweepSecrets(p.Root); err != nil || p.Root == me.Root || !runnerGone(p.Runner) {
		return err
	}
	// The runner would have deleted it with the job.
	if empty, err := sweepDead(p.Root); err != nil || !empty {
		return err
	}
	return os.Remove(entry)
}

// sweepDead removes what jobs leave in root, apart from what has a mark of its own
// (see SweepSecretFiles) or is being written.
func sweepDead(root string) (empty bool, err error) {
	entries, err := os.ReadDir(root)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), keptPrefix) && !strings.HasPrefix(e.Name(), secretPrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(root, e.Name())))
		}
	}
	if err != nil {
		return false, err
	}
	return os.Remove(root) == nil, nil
}
