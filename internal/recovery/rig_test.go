package recovery

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/restictest"
	"edge-actions/internal/verdict"
)

func TestMain(m *testing.M) { os.Exit(restictest.Main(m)) }

// around is a scratch root with things around it that are not to be touched, and
// a repository that anybody may have written to.
type around struct {
	t                             *testing.T
	top, repo, root, decoys, data string
	id                            string
	paths                         []string // of the snapshot
	disk                          bool     // is required
	seen                          func(restored string)
}

const decoy = "what must stay as it is"

func newAround(t *testing.T) *around {
	t.Helper()
	a := &around{t: t, top: t.TempDir()}
	a.repo, a.root, a.decoys, a.data = filepath.Join(a.top, "repo"), filepath.Join(a.top, "scratch"), filepath.Join(a.top, "decoys"), filepath.Join(a.top, "srv")
	a.paths = []string{a.data}
	a.id = restictest.New(t, a.repo)
	for _, at := range []string{"escape", "password", "srv/file", "decoys/victim", "decoys/deep/victim", "scratch/escape", "scratch/keep/victim", "scratch/" + scratchPrefix + "of-somebody/victim"} {
		at = filepath.Join(a.top, at)
		a.must(os.MkdirAll(filepath.Dir(at), 0o755))
		a.must(os.WriteFile(at, []byte(decoy), 0o644))
	}
	a.must(os.WriteFile(filepath.Join(a.top, "password"), []byte(restictest.Password+"\n"), 0o600))
	return a
}

func (a *around) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// backup is by the real restic.
func (a *around) backup(paths ...string) {
	a.t.Helper()
	a.paths = paths
	cmd := exec.Command(realtools.Path(a.t, "restic"), append([]string{"--repo", a.repo, "--password-file", filepath.Join(a.top, "password"), "--no-cache", "--quiet", "backup", "--host", "h"}, paths...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("%v\n%s", err, out)
	}
}

// plant makes a snapshot whose top directory has these entries, as somebody
// writes it who holds the password and is not restic.
func (a *around) plant(blobs []restictest.Blob, nodes ...map[string]any) {
	a.t.Helper()
	root := restictest.Tree(a.t, nodes...)
	restictest.Pack(a.t, a.repo, append(blobs, root)...)
	restictest.Seal(a.t, a.repo, "snapshots", map[string]any{"time": time.Now().Add(-time.Minute), "tree": root.ID(), "paths": a.paths, "hostname": "h", "username": "root"})
}

func node(kind, name string, more map[string]any) map[string]any {
	n := map[string]any{"name": name, "type": kind, "mode": 0o644, "uid": os.Geteuid(), "gid": os.Getegid(), "mtime": "2026-01-02T03:04:05Z", "atime": "2026-01-02T03:04:05Z", "ctime": "2026-01-02T03:04:05Z"}
	if kind == "dir" {
		n["mode"] = uint32(fs.ModeDir) | 0o755
	}
	for k, v := range more {
		n[k] = v
	}
	return n
}

// print is of all that is there: names, modes, owners, times and contents.
func (a *around) print() string {
	var b strings.Builder
	a.must(filepath.WalkDir(a.top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sys := info.Sys().(*syscall.Stat_t)
		when := info.ModTime().UnixNano()
		if p == a.root { // the scratch comes and goes in it
			when = 0
		}
		fmt.Fprintf(&b, "%s %s %d:%d %d %d", p, info.Mode(), sys.Uid, sys.Gid, sys.Nlink, when)
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(data))
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

// rehearse restores, and holds that nothing outside of the scratch has changed
// and nothing of it is left.
func (a *around) rehearse() (map[string]verdict.Verdict, string) {
	a.t.Helper()
	r := &Rehearsal{
		Program: realtools.Path(a.t, "restic"), Timeout: time.Minute, RepositoryID: a.id, ScratchRoot: a.root, AllowTmpfs: !a.disk, Run: "a/b#1.1",
		Want: Want{Host: "h", Paths: a.paths, MaxAge: time.Hour, Now: time.Now(), MaxSkew: time.Minute},
	}
	r.Repository.URL, r.Repository.PasswordFile = a.repo, filepath.Join(a.top, "password")
	before := a.print()
	_, checks := r.Rehearse(a.t.Context(), Place{Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(a.top, "home")}, Logf: a.t.Logf,
		Assert: func(_ context.Context, restored, _ string) []verdict.Check {
			if a.seen != nil {
				a.seen(restored)
			}
			return nil
		}})
	if after := a.print(); after != before {
		a.t.Errorf("outside of the scratch, or of it:\n%s\nwas\n%s", after, before)
	}
	got, text := map[string]verdict.Verdict{}, ""
	for _, c := range checks {
		if old := got[c.ID]; old == "" || old == verdict.Proven {
			got[c.ID] = c.Verdict
		}
		text += fmt.Sprintf("%s: %s, %s; %s\n", c.ID, c.Verdict, c.Got, c.Hint)
	}
	return got, text
}
