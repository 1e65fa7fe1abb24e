package action

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const secretPrefix = "secret-"

// tempName is the directory in RUNNER_TEMP in which everything of ours is.
const tempName = "edge-actions"

// aliveFile is locked for as long as the process that made a SecretDir lives.
const aliveFile = ".alive"

// TempDir makes a new directory, mode 0700, that the runner deletes with the
// job: under RUNNER_TEMP, or the system's place for such where that is unset.
func (a *Action) TempDir(name string) (string, error) {
	root, err := a.tempRoot()
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(root, name+"-")
}

func (a *Action) tempRoot() (string, error) {
	root := a.getenv("RUNNER_TEMP")
	if root == "" {
		root = os.TempDir()
	}
	root = filepath.Join(root, tempName)
	return root, os.MkdirAll(root, 0o700)
}

// SecretDir makes a directory for files that must not outlive the run, and a
// function that removes it. It first removes those of runs that were killed:
// their lock is free, whatever their process id is used for now, and wherever
// their RUNNER_TEMP was.
func (a *Action) SecretDir() (dir string, remove func(), err error) {
	root, err := a.tempRoot()
	if err != nil {
		return "", nil, err
	}
	if err := a.registerPlace(root); err != nil {
		return "", nil, err
	}
	if dir, err = os.MkdirTemp(root, secretPrefix); err != nil {
		return "", nil, err
	}
	alive, err := os.OpenFile(filepath.Join(dir, aliveFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = syscall.Flock(int(alive.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() {
		os.RemoveAll(dir) // the next run sweeps what this can't
		alive.Close()
	}, nil
}

func sweepSecrets(root string) error {
	entries, err := os.ReadDir(root)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), secretPrefix) {
			continue
		}
		dir := filepath.Join(root, e.Name())
		f, openErr := os.OpenFile(filepath.Join(dir, aliveFile), os.O_RDWR, 0)
		if openErr != nil {
			continue // being made or removed at this moment; it holds nothing yet
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		f.Close()
	}
	return err
}
