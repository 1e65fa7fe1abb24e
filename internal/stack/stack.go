// Package stack carries one OpenTofu root module from its configuration to an
// applied plan, in the order in which every step can be taken back: back the
// state up and prove it, plan, hold the plan against the guards, tie it to the
// state with a receipt; later apply exactly that, in a process that outlives
// its step, and back the state up again. It refuses to go on when the state is
// not the one that was looked at before.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
)

// Stack is one root module with one workspace.
type Stack struct {
	// Name keeps what belongs together: archives, data, records of applies.
	Name      string
	CLI       *tofu.CLI
	Workspace string
	// BackendConfig are files with backend settings.
	BackendConfig []string
	Archives      *tfstate.Archives
	LockTimeout   time.Duration
	Commit        string
	// Dir is the stack's directory on the runner; it outlives jobs.
	Dir string
	// Checkout is the directory in which the root module and its local modules
	// are.
	Checkout string
	// Lasting returns an error for a path that does not outlive the job.
	Lasting func(path string) error
	Report  *verdict.Report
	Logf    func(format string, args ...any)
	// Fence opens the place for foreign text.
	Fence func(prefix string) io.WriteCloser
	// Claim, if there is one, refuses a state that another stack of the run
	// has, by what identifies its place.
	Claim func(place string) error

	source  tfstate.Source
	backend tofu.Backend
	// restoring: this run holds the stack's restores.
	restoring bool
	// halfway is a push that a killed run left in the middle; only its own
	// restore may go on from there.
	halfway *push
}

// Layout returns the directories of the stack under the runner's directory.
func Layout(runnerDir, name string) (dir, archives, data string) {
	dir = tfstate.StackDir(runnerDir, name)
	return dir, tfstate.ArchivesDir(runnerDir, name), filepath.Join(dir, "tofu")
}

// open initialises the module, selects the workspace and finds the state.
// newStack lets it make the workspace.
func (s *Stack) open(ctx context.Context, newStack bool) error {
	ran, err := s.fenced("tofu", func() (bool, error) { return s.CLI.Init(ctx, s.BackendConfig) })
	if err != nil {
		return err
	}
	how := "nothing changed since the last init"
	if ran {
		how = "initialised"
	}
	s.Report.Prove("init", "an initialised root module", how)
	if _, err := s.fenced("tofu", func() (bool, error) { return true, s.CLI.SelectWorkspace(ctx, s.Workspace, newStack) }); err != nil {
		return err
	}
	if s.backend, err = s.CLI.Backend(s.Workspace); err != nil {
		return err
	}
	if s.Claim != nil {
		if err := s.Claim(s.backend.Identity(s.Workspace)); err != nil {
			return err
		}
	}
	s.Archives.Workspace, s.Archives.TofuVersion = s.Workspace, s.CLI.Version
	if s.backend.StatePath == "" {
		s.source = tfstate.Pull{Backend: s.backend.Type, Pull: s.CLI.StatePull}
		return s.finishRestore(ctx)
	}
	if err := s.checkLocation(s.backend.StatePath); err != nil {
		return err
	}
	s.source = tfstate.File{Path: s.backend.StatePath, LockTimeout: s.LockTimeout, Stale: func(holder string) {
		s.Logf("a killed run left its lock info at the state (%s); nobody holds the lock", holder)
	}}
	return s.finishRestore(ctx)
}

// checkLocation refuses a local state that will be deleted or that others can
// read.
func (s *Stack) checkLocation(path string) error {
	hint := `set the backend "local" to an absolute path on the runner, for example with backend_config: path=/home/you/.local/state/tofu/edge.tfstate`
	if s.Workspace != "default" {
		hint = `set the backend "local" to an absolute path and workspace_dir to an absolute directory on the runner (backend_config)`
	}
	if err := s.Lasting(path); err != nil {
		return verdict.Refuse("state-location", "a state that outlives the job", fmt.Sprintf("%q, which %v", path, err), hint)
	}
	err := files.CheckSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // there is none yet, or it vanished: the archives will tell
	}
	if err == nil {
		if err = files.CheckPrivateDir(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return verdict.Refuse("state-location", "a state that only the runner's user can read and replace", fmt.Sprintf("%q %v", path, err), "correct the mode or the owner")
	}
	return nil
}

// noneYet has 0 bytes in a local state's place taken for no state: somebody has
// made sure that there never was one.
func (s *Stack) noneYet() {
	if file, ok := s.source.(tfstate.File); ok {
		file.NoneYet = true
		s.source = file
	}
}

// unreachable reports whether the backend can't be asked. OpenTofu calls that, at
// one moment, a lock which it did not get, as if somebody held it, and at others
// it says the same as of a wrong configuration.
func (s *Stack) unreachable(ctx context.Context) bool {
	if _, ok := s.source.(tfstate.Pull); !ok { // a file, or a rehearsal's copy
		return false
	}
	_, err := tfstate.Look(ctx, s.source)
	return verdict.Has(err, tfstate.Unreadable)
}

// fenced runs one tofu command with its output fenced in the log.
func (s *Stack) fenced(prefix string, run func() (bool, error)) (bool, error) {
	w := s.Fence(prefix)
	s.CLI.Log = w
	ok, err := run()
	s.CLI.Log = nil
	return ok, errors.Join(err, w.Close())
}

// lockFileSHA256 is the digest of the provider lock file, "" if there is none.
func (s *Stack) lockFileSHA256() (string, error) {
	sum, err := files.SHA256(filepath.Join(s.CLI.Dir, tofu.LockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return sum, err
}

// privateTemp makes a directory for a secret file.
func privateTemp(parent, name string) (string, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(parent, name)
}
