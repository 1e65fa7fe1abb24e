package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const rehearsalTarget = 1.10

// rehearsal compares the whole action with a restore by hand that is verified
// and removed again: the same bytes are read, written, read again and deleted.
// What the action does beside that (which repository, which snapshot, is there
// room, every entry against the snapshot's own list) is what it may cost.
func (b *bench) rehearsal() (err error) {
	v, err := b.vault("rehearsal")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.remove()) }()
	source := filepath.Join(v.dir, "source")
	progress("making a repository with 2 GB in it")
	count, err := writeFiles(source)
	if err != nil {
		return err
	}
	id, err := v.backup(source)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(source); err != nil {
		return err
	}
	action, err := v.action("restic-restore-check")
	if err != nil {
		return err
	}
	var ours, other, work, otherWork spread
	for i := range b.longPairs() + 1 {
		a, aWork, err := v.rehearse(action, source)
		if err != nil {
			return err
		}
		h, hWork, err := v.habit(id)
		if err != nil {
			return err
		}
		if i == 0 {
			continue // warms the caches
		}
		progress("%.2f s against %.2f s", a, h)
		ours, other = append(ours, a), append(other, h)
		work, otherWork = append(work, aWork), append(otherWork, hWork)
	}
	ratio := ours.over(other)
	b.add(row{fmt.Sprintf("rehearsal of 2 GB in %d files", count), ours.seconds(), other.seconds() + " (restore --verify, rm)", ratio.String(),
		fmt.Sprintf("<= %.2f", rehearsalTarget), !atLeast(ratio.median(), rehearsalTarget+0.01)})
	b.notef("processors work %s for a rehearsal and %s for the restore by hand, ratio %s: that is what does not depend on what else a machine does", work.seconds(), otherWork.seconds(), work.over(otherWork))
	return nil
}

// writeFiles writes what no compression makes smaller: a database's dumps,
// images, and many small things.
func writeFiles(dir string) (count int, err error) {
	random := rand.NewChaCha8([32]byte([]byte("the same bytes in each benchmark")))
	block := make([]byte, 4_000_000)
	for _, kind := range []struct {
		name           string
		files, size, n int // n bytes at a time
	}{{"large", 4, 200_000_000, 4_000_000}, {"medium", 200, 4_000_000, 4_000_000}, {"small", 3000, 133_000, 133_000}} {
		for i := range kind.files {
			path := filepath.Join(dir, kind.name, fmt.Sprintf("%02d/%02d/%05d", i/100, i/10%10, i))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return 0, err
			}
			f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return 0, err
			}
			for range kind.size / kind.n {
				_, _ = random.Read(block[:kind.n]) // never fails
				if _, err := f.Write(block[:kind.n]); err != nil {
					return 0, errors.Join(err, f.Close())
				}
			}
			if err := f.Close(); err != nil {
				return 0, err
			}
			count++
		}
	}
	return count, nil
}

// action builds an action as the launcher does, and returns where it is.
func (v *vault) action(name string) (string, error) {
	cmd := exec.CommandContext(v.ctx, "scripts/action", "--for", runtime.GOOS+"/"+runtime.GOARCH, name)
	cmd.Env = append(os.Environ(), "RUNNER_TOOL_CACHE="+filepath.Join(v.bench.dir, "tool-cache"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// rehearse runs the action as a step does.
func (v *vault) rehearse(action, source string) (took, worked float64, err error) {
	step, err := v.subdir("rehearsal-step")
	if err != nil {
		return 0, 0, err
	}
	output, scratch := filepath.Join(step, "output"), filepath.Join(v.dir, "scratch")
	for _, name := range []string{output, filepath.Join(step, "summary")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return 0, 0, err
		}
	}
	cmd := exec.CommandContext(v.ctx, action)
	cmd.Dir = step
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + v.dir, "RUNNER_TEMP=" + step, "GITHUB_WORKSPACE=" + step, "GITHUB_OUTPUT=" + output, "GITHUB_STEP_SUMMARY=" + filepath.Join(step, "summary"),
		"GITHUB_REPOSITORY=example/recovery", "GITHUB_RUN_ID=4711", "GITHUB_RUN_ATTEMPT=1",
		"INPUT_REPOSITORY=" + v.repo, "INPUT_REPOSITORY_ID=" + v.id, "INPUT_PASSWORD_FILE=" + v.password, "INPUT_HOST=" + vaultHost, "INPUT_PATHS=" + source,
		"INPUT_MAX_AGE=48h", "INPUT_MAX_SKEW=5m", "INPUT_MIN_FILES=3000", "INPUT_SCRATCH_DIR=" + scratch, "INPUT_ALLOW_TMPFS=true", "INPUT_TIMEOUT=2h",
	}
	if os.Geteuid() != 0 {
		cmd.Env = append(cmd.Env, "INPUT_WAIVE=restored-owners")
	}
	if took, worked, err = v.timed(cmd); err != nil {
		return 0, 0, err
	}
	said, err := os.ReadFile(output)
	if err != nil {
		return 0, 0, err
	}
	left, err := os.ReadDir(scratch)
	if err != nil || len(left) > 0 || !strings.Contains(string(said), "\nproven\n") {
		return 0, 0, fmt.Errorf("wanted a rehearsal that is proven and gone, found %d left and %q: %w", len(left), said, err)
	}
	return took, worked, nil
}

// habit is what a person types.
func (v *vault) habit(id string) (took, worked float64, err error) {
	return v.timed(v.command("sh", "-c", `restic --quiet restore --verify "$1" --target "$2" && rm -rf "$2"`, "sh", id, filepath.Join(v.dir, "by-hand")))
}
