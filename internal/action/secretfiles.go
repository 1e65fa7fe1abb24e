package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/files"
)

const (
	keptPrefix = "kept-"
	// keptMarker says whose a directory is. It is what makes it ours to remove.
	keptMarker = ".edge-actions.json"
	keptSchema = "edge-actions/secret-files/v1"
	// keptWait is how long another run may hold the register. It holds it while
	// it removes a few directories.
	keptWait = 30 * time.Second
)

// SecretFiles is a directory, mode 0700, of files that later steps of the job
// read. It is below RUNNER_TEMP, and in a register of the runner's user
// besides: where RUNNER_TEMP is another one for each job, nobody would ever
// look there again after a kill.
//
// A run that ends without Keep, killed or not, leaves nothing that outlives
// the next run of any job. What was kept stays until SweepSecretFiles is told
// that the job is over, or finds it out.
type SecretFiles struct {
	Dir string

	marker keptFile
	alive  *os.File
	entry  string // in the register
	kept   bool
}

// keptFile is the marker of a directory.
type keptFile struct {
	Schema string `json:"schema"`
	// Token is the name of the directory, so that a marker that was copied
	// elsewhere makes nothing ours.
	Token string  `json:"token"`
	Job   keptJob `json:"job"`
	// Runner is the process that runs the job, see runnerID.
	Runner  string    `json:"runner,omitempty"`
	Kept    bool      `json:"kept"`
	Expires time.Time `json:"expires"`
}

// keptJob is a job. Two that run at the same time never share a workspace,
// whatever else they share: the legs of a matrix have all but that in common.
type keptJob struct {
	Server     string `json:"server"`
	Repository string `json:"repository"`
	RunID      string `json:"run_id"`
	Attempt    string `json:"run_attempt"`
	Job        string `json:"job"`
	Workspace  string `json:"workspace"`
}

func (a *Action) keptJob() keptJob {
	return keptJob{a.getenv("GITHUB_SERVER_URL"), a.getenv("GITHUB_REPOSITORY"), a.getenv("GITHUB_RUN_ID"), a.getenv("GITHUB_RUN_ATTEMPT"), a.getenv("GITHUB_JOB"), a.getenv("GITHUB_WORKSPACE")}
}

// KeepSecretFiles makes a directory that may stay for as long as the job runs,
// and is anybody's to sweep after keepFor. Close it in any case.
func (a *Action) KeepSecretFiles(ctx context.Context, keepFor time.Duration) (*SecretFiles, error) {
	root, err := a.keptRoot()
	if err != nil {
		return nil, err
	}
	register, unlock, err := a.lockRegister(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s := &SecretFiles{}
	name := keptPrefix + strings.TrimPrefix(token(), "edge_")
	s.Dir, s.entry = filepath.Join(root, name), filepath.Join(register, name)
	s.marker = keptFile{Schema: keptSchema, Token: name, Job: a.keptJob(), Runner: runnerID(), Expires: time.Now().Add(keepFor).UTC()}
	// In the register first: a directory that nobody knows of is never swept.
	if err = files.Write(s.entry, []byte(s.Dir)); err == nil {
		err = os.Mkdir(s.Dir, 0o700)
	}
	if err == nil {
		s.alive, err = os.OpenFile(filepath.Join(s.Dir, aliveFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err == nil {
		err = syscall.Flock(int(s.alive.Fd()), syscall.LOCK_EX)
	}
	if err == nil {
		err = s.mark()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *SecretFiles) mark() error {
	data, err := json.Marshal(s.marker)
	if err != nil {
		return err
	}
	return files.Write(filepath.Join(s.Dir, keptMarker), data)
}

// Write writes one file, mode 0600, whole or not at all, and returns its path.
// name is one element of a path, not hidden, and not there yet.
func (s *SecretFiles) Write(name string, data []byte) (string, error) {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("%q is no name of a file", name)
	}
	path := filepath.Join(s.Dir, name)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%q is there already", name) // on macOS in other letters too
	}
	return path, files.Write(path, data)
}

// Keep lets the files stay for the later steps.
func (s *SecretFiles) Keep() error {
	s.marker.Kept = true
	if err := s.mark(); err != nil {
		return err
	}
	s.kept = true
	return nil
}

// Close removes the directory, unless it is kept.
func (s *SecretFiles) Close() error {
	var err error
	if !s.kept {
		if err = removeKept(s.Dir); err == nil {
			err = os.Remove(s.entry)
		}
	}
	if s.alive != nil {
		s.alive.Close()
	}
	return err
}

// keptRoot is where the directories are made. It is no link, and nobody else
// can write to it: whoever can would have the secrets written where they like.
func (a *Action) keptRoot() (string, error) {
	if !filepath.IsAbs(a.getenv("RUNNER_TEMP")) {
		return "", errors.New("RUNNER_TEMP is not set to an absolute path, so there is no place that goes with the job")
	}
	root := filepath.Join(a.getenv("RUNNER_TEMP"), tempName)
	return root, privateDir(root)
}

// privateDir makes dir if it is not there, and refuses one that is not ours
// alone.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%q is a link to another place: remove it", dir)
	}
	if err := files.CheckPrivateDir(dir); err != nil {
		return fmt.Errorf("%q %w", dir, err)
	}
	return nil
}

// lockRegister returns the register of the runner's user, for this process
// alone until unlock. Without a home it is beside the directories.
func (a *Action) lockRegister(ctx context.Context) (dir string, unlock func(), err error) {
	base := a.getenv("XDG_STATE_HOME")
	if home := a.getenv("HOME"); !filepath.IsAbs(base) && filepath.IsAbs(home) {
		base = filepath.Join(home, ".local", "state")
	}
	if !filepath.IsAbs(base) {
		base = a.getenv("RUNNER_TEMP")
	}
	dir = filepath.Join(base, "edge-actions", "secret-files")
	if err := privateDir(dir); err != nil {
		return "", nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, keptWait)
	defer cancel()
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return dir, func() { lock.Close() }, nil
		}
		select {
		case <-ctx.Done():
			lock.Close()
			return "", nil, fmt.Errorf("another run holds %q: %w", lock.Name(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
