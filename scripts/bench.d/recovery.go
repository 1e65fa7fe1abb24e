package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"edge-actions/internal/restic"
)

// recovery measures what a rehearsal costs beside the restore itself. All of
// it is about real repositories whose key is as restic makes it: half a second
// of work for each restic that is started.
func (b *bench) recovery() error {
	for _, part := range []func() error{b.memory, b.choice, b.rehearsal} {
		if err := part(); err != nil {
			return err
		}
	}
	b.notef("each restic that is started first makes a key of the password, which takes half a second by design; a rehearsal starts several")
	return nil
}

// vault is a restic repository with its password, its owner's cache, and room
// for what is measured beside it.
type vault struct {
	*bench
	dir, repo, password, id string
}

const (
	vaultHost     = "bench"
	vaultPassword = "open sesame\n"
)

func (b *bench) vault(name string) (*vault, error) {
	dir, err := b.subdir(name)
	if err != nil {
		return nil, err
	}
	v := &vault{bench: b, dir: dir, repo: filepath.Join(dir, "repository"), password: filepath.Join(dir, "password")}
	if err := os.WriteFile(v.password, []byte(vaultPassword), 0o600); err != nil {
		return nil, err
	}
	if _, err := v.restic("init"); err != nil {
		return nil, err
	}
	said, err := v.restic("cat", "config")
	if err != nil {
		return nil, err
	}
	var config struct{ ID string }
	if err := json.Unmarshal(said, &config); err != nil {
		return nil, fmt.Errorf("restic cat config: %w", err)
	}
	v.id = config.ID
	return v, nil
}

// remove makes room on the disk for the next one.
func (v *vault) remove() error { return os.RemoveAll(v.dir) }

// owner is a restic of the repository's owner, with a cache as it has one by
// itself.
func (v *vault) owner(args ...string) *exec.Cmd { return v.command("restic", args...) }

func (v *vault) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(v.ctx, name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + v.dir, "TMPDIR=" + v.dir, "RESTIC_REPOSITORY=" + v.repo, "RESTIC_PASSWORD_FILE=" + v.password}
	return cmd
}

func (v *vault) restic(args ...string) ([]byte, error) {
	cmd := v.owner(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("restic %s: %w\n%s", args[0], err, stderr.String())
	}
	return out, nil
}

// backup makes a snapshot of dir, with dir as its root, and returns its id.
func (v *vault) backup(dir string) (id string, err error) {
	cmd := v.owner("backup", "--json", "--quiet", "--host", vaultHost, dir)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("restic backup: %w", err)
	}
	var summary struct {
		ID string `json:"snapshot_id"`
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &summary); err != nil || len(summary.ID) != 64 {
		return "", fmt.Errorf("restic backup: wanted the id of a snapshot, found %q", out)
	}
	return summary.ID, nil
}

// client asks the repository as the actions do.
func (v *vault) client() (*restic.Client, error) {
	return restic.New(restic.Local{Env: restic.Environ(v.owner().Env)}, v.repository(), restic.Options{Timeout: time.Hour})
}

func (v *vault) repository() restic.Repository {
	return restic.Repository{URL: v.repo, PasswordFile: v.password}
}

// timed runs a program from its start to its end, after all that earlier ones
// left to be written, and returns how long that took, and how long processors
// worked for it and for all that it started.
func (v *vault) timed(cmd *exec.Cmd) (took, worked float64, err error) {
	_ = exec.CommandContext(v.ctx, "sync").Run()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	start := time.Now()
	err = cmd.Run()
	took = time.Since(start).Seconds()
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, said.String())
	}
	return took, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

// longPairs is how many pairs there are of what takes half a minute a pair.
func (b *bench) longPairs() int {
	n := min(b.pairs, 5)
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "pairs" {
			n = b.pairs
		}
	})
	return n
}
