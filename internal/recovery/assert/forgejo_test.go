package assert

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// forge is a restored Forgejo: its database with the columns that it has, real
// repositories, and LFS objects.
type forge struct {
	*restoredRig
	db *sql.DB
}

const (
	forgeDB   = "/var/lib/forgejo/data/forgejo.db"
	forgeGit  = "/var/lib/forgejo/repositories"
	forgeLFS  = "/var/lib/forgejo/data/lfs"
	mainTest  = forgeGit + "/alice/site.git"
	otherTest = forgeGit + "/alice/notes.git"
)

func newForge(t testing.TB) *forge {
	t.Helper()
	f := &forge{restoredRig: newRestored(t)}
	f.db = database(t, f.at(forgeDB),
		`CREATE TABLE repository (id INTEGER PRIMARY KEY, owner_id INTEGER, owner_name TEXT, lower_name TEXT, name TEXT, description TEXT, default_branch TEXT, is_empty INTEGER)`,
		`CREATE TABLE branch (id INTEGER PRIMARY KEY, repo_id INTEGER, name TEXT NOT NULL, commit_id TEXT, commit_message TEXT, is_deleted INTEGER)`,
		`CREATE TABLE lfs_meta_object (id INTEGER PRIMARY KEY, oid TEXT NOT NULL, size INTEGER NOT NULL, repository_id INTEGER NOT NULL, created_unix INTEGER)`,
		`INSERT INTO repository VALUES (1, 1, 'Alice', 'site', 'Site', '`+marker+`', 'main', 0), (2, 1, 'alice', 'notes', 'notes', '`+marker+`', 'main', 0), (3, 2, 'bob', 'empty', 'empty', '', 'main', 1)`,
		`INSERT INTO branch VALUES (100, 1, 'gone', '`+strings.Repeat("9", 40)+`', '`+marker+`', 1)`)
	for id, at := range map[int]string{1: mainTest, 2: otherTest} {
		f.repository(at)
		for _, branch := range []string{"main", "tmp", "feature/cache"} {
			f.exec(`INSERT INTO branch (repo_id, name, commit_id, commit_message, is_deleted) VALUES (?, ?, ?, ?, 0)`, id, branch, f.git(at, "rev-parse", "refs/heads/"+branch), marker)
		}
	}
	f.git(otherTest, "gc", "--quiet") // packed objects and refs in one of the two
	for i := range 5 {
		f.object(strings.Repeat(marker, i+1))
	}
	return f
}

// again is a forge of its own that is as f is, whose database must be closed.
func (f *forge) again(t testing.TB) *forge {
	t.Helper()
	again := &forge{restoredRig: newRestored(t)}
	if err := os.CopyFS(again.dir, os.DirFS(f.dir)); err != nil {
		t.Fatal(err)
	}
	again.db = database(t, again.at(forgeDB))
	return again
}

func (f *forge) exec(query string, args ...any) {
	f.t.Helper()
	if _, err := f.db.Exec(query, args...); err != nil {
		f.t.Fatal(err)
	}
}

func (f *forge) git(at string, args ...string) string {
	f.t.Helper()
	cmd := exec.Command(realtools.Path(f.t, "git"), append([]string{"-c", "safe.directory=*", "-c", "user.name=a", "-c", "user.email=a@example.org", "--git-dir", f.at(at)}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("git %s: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository makes a bare repository with three branches.
func (f *forge) repository(at string) {
	f.t.Helper()
	f.git(at, "init", "--quiet", "--bare", "--initial-branch=main")
	file := filepath.Join(f.t.TempDir(), "file")
	parent := []string{}
	for i, branch := range []string{"main", "tmp", "feature/cache"} {
		if err := os.WriteFile(file, fmt.Appendf(nil, "%s %s %d", marker, at, i), 0o600); err != nil {
			f.t.Fatal(err)
		}
		blob := f.git(at, "hash-object", "-w", file)
		tree := f.mktree(at, "100644 blob "+blob+"\tfile\n")
		commit := f.git(at, append([]string{"commit-tree", "-m", marker, tree}, parent...)...)
		f.git(at, "update-ref", "refs/heads/"+branch, commit)
		parent = []string{"-p", commit}
	}
}

func (f *forge) mktree(at, entries string) string {
	f.t.Helper()
	cmd := exec.Command(realtools.Path(f.t, "git"), "--git-dir", f.at(at), "mktree")
	cmd.Stdin = strings.NewReader(entries)
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func lfsPath(oid string) string { return forgeLFS + "/" + oid[:2] + "/" + oid[2:4] + "/" + oid[4:] }

func (f *forge) object(content string) string {
	sum := sha256.Sum256([]byte(content))
	oid := hex.EncodeToString(sum[:])
	f.write(lfsPath(oid), content)
	f.exec(`INSERT INTO lfs_meta_object (oid, size, repository_id, created_unix) VALUES (?, ?, 1, 1700000000), (?, ?, 2, 1700000000)`, oid, len(content), oid, len(content))
	return oid
}

// loose is the file of an object that is not packed.
func (f *forge) loose(at, id string) string { return f.at(at + "/objects/" + id[:2] + "/" + id[2:]) }

func TestForgejo(t *testing.T) {
	made := newForge(t)
	made.db.Close()
	with := func(change map[string]verdict.Verdict) map[string]verdict.Verdict {
		want := map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, ForgejoRepositories: proven, ForgejoBranches: proven, ForgejoFsck: proven, ForgejoLFS: proven}
		for id, v := range change {
			want[id] = v
		}
		return want
	}
	for name, tt := range map[string]struct {
		spoil  func(t *testing.T, f *forge)
		change func(*Forgejo)
		want   map[string]verdict.Verdict
		says   []string
	}{
		"whole": {want: with(nil), says: []string{"3, 1 of them empty", "6 branches", "5 objects", "read and hashed: 5"}},
		"a repository did not come back": {spoil: func(t *testing.T, f *forge) { os.RemoveAll(f.at(otherTest)) },
			want: with(map[string]verdict.Verdict{ForgejoRepositories: disproven, ForgejoBranches: disproven}), says: []string{`"alice/notes": its directory did not come back`}},
		"an exclude took a ref": {spoil: func(t *testing.T, f *forge) { os.Remove(f.at(mainTest + "/refs/heads/tmp")) },
			want: with(map[string]verdict.Verdict{ForgejoBranches: disproven}), says: []string{`"tmp" of "Alice/site" has no ref`, "**/tmp"}},
		"an exclude took a directory of refs": {spoil: func(t *testing.T, f *forge) { os.RemoveAll(f.at(mainTest + "/refs/heads/feature")) },
			want: with(map[string]verdict.Verdict{ForgejoBranches: disproven}), says: []string{`"feature/cache"`}},
		"a ref at another commit": {spoil: func(t *testing.T, f *forge) { f.git(mainTest, "update-ref", "refs/heads/tmp", "refs/heads/main") },
			want: with(map[string]verdict.Verdict{ForgejoBranches: disproven}), says: []string{"at another commit"}},
		"all packed refs lost": {spoil: func(t *testing.T, f *forge) { os.Remove(f.at(otherTest + "/packed-refs")) },
			want: with(map[string]verdict.Verdict{ForgejoBranches: disproven}), says: []string{`"main" of "alice/notes"`}},
		"an object lost": {spoil: func(t *testing.T, f *forge) {
			os.Remove(f.loose(mainTest, f.git(mainTest, "rev-parse", "main^{tree}")))
		},
			want: with(map[string]verdict.Verdict{ForgejoFsck: disproven}), says: []string{`"Alice/site": exit code`}},
		"a pack spoiled": {spoil: func(t *testing.T, f *forge) {
			packs, _ := filepath.Glob(f.at(otherTest + "/objects/pack/*.pack"))
			os.Chmod(packs[0], 0o600)
			flip(t, packs[0], 40)
		}, want: with(map[string]verdict.Verdict{ForgejoFsck: disproven}), says: []string{`"alice/notes": exit code`}},
		"objects on this machine, by an alternate": {spoil: func(t *testing.T, f *forge) {
			f.moveObjects(t)
			f.write(mainTest+"/objects/info/alternates", filepath.Join(f.work, "..", "live-objects")+"\n")
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven, ForgejoFsck: disproven}), says: []string{"objects or refs elsewhere"}},

		"objects on this machine, by a relative alternate": {spoil: func(t *testing.T, f *forge) {
			f.moveObjects(t)
			f.write(mainTest+"/objects/info/alternates", strings.Repeat("../", 8)+"live-objects\n")
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven, ForgejoFsck: disproven}), says: []string{"objects or refs elsewhere"}},

		"objects on this machine, by a link": {spoil: func(t *testing.T, f *forge) {
			f.moveObjects(t)
			os.RemoveAll(f.at(mainTest + "/objects"))
			os.Symlink(filepath.Join(f.work, "..", "live-objects"), f.at(mainTest+"/objects"))
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven, ForgejoFsck: disproven}), says: []string{"leads out"}},

		"refs on this machine, by a link": {spoil: func(t *testing.T, f *forge) {
			os.Rename(f.at(mainTest+"/refs"), filepath.Join(f.work, "..", "live-refs"))
			os.Symlink(filepath.Join(f.work, "..", "live-refs"), f.at(mainTest+"/refs"))
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven, ForgejoFsck: disproven}), says: []string{"git is not let at"}},
		"a FIFO for a ref": {spoil: func(t *testing.T, f *forge) {
			os.Remove(f.at(mainTest + "/refs/heads/tmp"))
			syscall.Mkfifo(f.at(mainTest+"/refs/heads/tmp"), 0o600)
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven, ForgejoFsck: disproven}), says: []string{"what is no file"}},
		"a repository that is a link out": {spoil: func(t *testing.T, f *forge) {
			live := filepath.Join(f.work, "..", "live.git")
			os.Rename(f.at(mainTest), live)
			os.Symlink(live, f.at(mainTest))
		}, want: with(map[string]verdict.Verdict{ForgejoRepositories: disproven, ForgejoBranches: disproven}), says: []string{`"Alice/site" leads out`}},
		"an owner that is a way out": {spoil: func(t *testing.T, f *forge) {
			f.exec(`INSERT INTO repository VALUES (9, 9, '../../../../etc', 'x', 'x', '', 'main', 0)`)
		}, want: with(map[string]verdict.Verdict{ForgejoRepositories: disproven}), says: []string{"is not the name of a repository"}},
		"objects on this machine, by a commondir": {spoil: func(t *testing.T, f *forge) {
			live := filepath.Join(f.work, "..", "live.git")
			os.Rename(f.at(mainTest), live)
			f.write(mainTest+"/HEAD", "ref: refs/heads/main\n")
			f.write(mainTest+"/commondir", live+"\n")
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven, ForgejoFsck: disproven}), says: []string{"objects or refs elsewhere"}},
		"objects on this machine, by two links": {spoil: func(t *testing.T, f *forge) {
			f.moveObjects(t)
			os.Rename(f.at(mainTest+"/objects"), f.at("/store"))
			os.Remove(f.at("/store/pack"))
			os.Symlink(filepath.Join(f.work, "..", "live-objects"), f.at("/store/pack"))
			os.Symlink("../../../../../../store", f.at(mainTest+"/objects"))
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven, ForgejoFsck: disproven}), says: []string{"objects or refs elsewhere"}},
		"history cut off by a shallow file": {spoil: func(t *testing.T, f *forge) {
			os.Remove(f.loose(mainTest, f.git(mainTest, "rev-parse", "tmp")))
			f.exec(`DELETE FROM branch WHERE repo_id = 1 AND name = 'tmp'`)
			f.git(mainTest, "update-ref", "-d", "refs/heads/tmp")
			f.write(mainTest+"/shallow", f.git(mainTest, "rev-parse", "feature/cache")+"\n")
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven, ForgejoFsck: disproven}), says: []string{"shallow or a partial copy"}},
		"history cut off by a graft": {spoil: func(t *testing.T, f *forge) {
			os.Remove(f.loose(mainTest, f.git(mainTest, "rev-parse", "tmp")))
			f.exec(`DELETE FROM branch WHERE repo_id = 1 AND name = 'tmp'`)
			f.git(mainTest, "update-ref", "-d", "refs/heads/tmp")
			f.write(mainTest+"/info/grafts", f.git(mainTest, "rev-parse", "feature/cache")+"\n")
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven, ForgejoFsck: disproven}), says: []string{"shallow or a partial copy"}},
		"objects that somebody promised": {spoil: func(t *testing.T, f *forge) {
			f.git(mainTest, "repack", "-adq")
			packs, _ := filepath.Glob(f.at(mainTest + "/objects/pack/*.pack"))
			f.write(mainTest+"/objects/pack/"+strings.TrimSuffix(filepath.Base(packs[0]), ".pack")+".promisor", "x\n")
			f.git(mainTest, "config", "remote.origin.promisor", "true")
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven, ForgejoFsck: disproven}), says: []string{"shallow or a partial copy"}},
		"a wiki": {spoil: func(t *testing.T, f *forge) { f.repository(forgeGit + "/alice/site.wiki.git") },
			want: with(nil), says: []string{"3 repositories"}},
		"a wiki spoiled": {spoil: func(t *testing.T, f *forge) {
			const wiki = forgeGit + "/alice/site.wiki.git"
			f.repository(wiki)
			os.Remove(f.loose(wiki, f.git(wiki, "rev-parse", "main^{tree}")))
		}, want: with(map[string]verdict.Verdict{ForgejoFsck: disproven}), says: []string{`"Alice/site.wiki": exit code`}},
		"a wiki that is a link out": {spoil: func(t *testing.T, f *forge) {
			live := filepath.Join(f.work, "..", "wiki.git")
			f.repository("/../wiki.git")
			os.Symlink(live, f.at(forgeGit+"/alice/site.wiki.git"))
		}, want: with(map[string]verdict.Verdict{ForgejoFsck: disproven}), says: []string{`"Alice/site.wiki" has a link that leads out`}},
		"not empty, with nothing in it": {spoil: func(t *testing.T, f *forge) {
			f.exec(`INSERT INTO repository VALUES (9, 9, 'bob', 'hollow', 'hollow', '', 'main', 0)`)
			f.git(forgeGit+"/bob/hollow.git", "init", "--quiet", "--bare")
		}, want: with(map[string]verdict.Verdict{ForgejoBranches: disproven}), says: []string{"neither a branch in the database nor a ref"}},
		"directories that no row knows": {spoil: func(t *testing.T, f *forge) {
			f.git(forgeGit+"/carol/old.git", "init", "--quiet", "--bare")
			f.git(forgeGit+"/alice/site.wiki.git", "init", "--quiet", "--bare")
		}, want: with(nil), says: []string{`1 directories that no row knows`, `"carol/old.git"`}},
		"an old tool's odd objects": {spoil: func(t *testing.T, f *forge) {
			blob := f.git(mainTest, "rev-parse", "main:file")
			raw, _ := hex.DecodeString(blob)
			odd := filepath.Join(f.work, "..", "odd")
			os.WriteFile(odd, append([]byte("0100644 file\x00"), raw...), 0o600) // a warning
			f.git(mainTest, "hash-object", "-w", "-t", "tree", "--literally", odd)
			os.WriteFile(odd, []byte("tree "+f.git(mainTest, "rev-parse", "main^{tree}")+"\nauthor a<a@example.org> 1 +0000\ncommitter a <a@example.org> 1 +0000\n\n"+marker+"\n"), 0o600) // an error
			f.git(mainTest, "hash-object", "-w", "-t", "commit", "--literally", odd)
		}, want: with(nil), says: []string{"2 objects are of an odd form"}},
		"an odd object, and a broken one that nothing leads to": {spoil: func(t *testing.T, f *forge) {
			odd := filepath.Join(f.work, "..", "odd")
			os.WriteFile(odd, []byte("tree "+f.git(mainTest, "rev-parse", "main^{tree}")+"\nauthor a<a@example.org> 1 +0000\ncommitter a <a@example.org> 1 +0000\n\n"+marker+"\n"), 0o600)
			f.git(mainTest, "hash-object", "-w", "-t", "commit", "--literally", odd)
			broken := f.loose(mainTest, f.git(mainTest, "hash-object", "-w", odd))
			os.Chmod(broken, 0o600)
			flip(t, broken, 20)
		}, want: with(map[string]verdict.Verdict{ForgejoFsck: disproven}), says: []string{`"Alice/site": exit code 1`}},
		"values of another kind": {spoil: func(t *testing.T, f *forge) { f.exec(`UPDATE repository SET is_empty = ?`, marker) },
			want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, ForgejoRepositories: unproven}, says: []string{"another kind than was asked for"}},
		"a configuration that runs something": {spoil: func(t *testing.T, f *forge) {
			script := filepath.Join(f.work, "..", "ran")
			os.WriteFile(script+".sh", []byte("#!/bin/sh\ntouch "+script+"\n"), 0o700)
			for _, key := range []string{"core.fsmonitor", "core.alternateRefsCommand", "core.pager", "pager.fsck"} {
				f.git(mainTest, "config", key, script+".sh")
			}
			t.Cleanup(func() {
				if _, err := os.Stat(script); err == nil {
					t.Error("the repository's configuration ran a program")
				}
			})
		}, want: with(nil)},
		"no git": {spoil: func(t *testing.T, f *forge) { f.tools.Git = "/nonexistent/git" },
			want: with(map[string]verdict.Verdict{ForgejoBranches: unproven, ForgejoFsck: unproven}), says: []string{"install git"}},
		"git takes too long": {spoil: func(t *testing.T, f *forge) {
			slow := filepath.Join(f.work, "..", "slow-git")
			os.WriteFile(slow, []byte("#!/bin/sh\ncase $* in *fsck*) exec sleep 600 ;; esac\nexec git \"$@\"\n"), 0o700)
			f.tools.Git = slow
		}, change: func(a *Forgejo) { a.FsckTimeout = "1s" }, want: with(map[string]verdict.Verdict{ForgejoFsck: unproven}), says: []string{"0 of 3 repositories checked", "no end after 1s"}},
		"GIT_DIR of a job": {spoil: func(t *testing.T, f *forge) {
			f.tools.Env = append(f.tools.Env, "GIT_DIR=/nonexistent", "GIT_OBJECT_DIRECTORY=/nonexistent")
		}, want: with(nil)},
		"too few": {change: func(a *Forgejo) { a.MinRepositories = 4 }, want: with(map[string]verdict.Verdict{ForgejoRepositories: disproven})},
		"no row at all": {spoil: func(t *testing.T, f *forge) {
			f.exec(`DELETE FROM repository`)
			f.exec(`DELETE FROM branch`)
		}, want: with(map[string]verdict.Verdict{ForgejoRepositories: disproven, ForgejoBranches: unproven, ForgejoFsck: unproven})},
		"another database": {spoil: func(t *testing.T, f *forge) { f.exec(`DROP TABLE repository`) },
			want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, ForgejoRepositories: unproven}},
		"rows by a function that is not there": {spoil: func(t *testing.T, f *forge) {
			f.exec(`DROP TABLE repository`)
			f.exec(`CREATE VIEW repository AS SELECT 1 AS id, "` + marker + `"(1) AS owner_name, 'x' AS lower_name, 0 AS is_empty`)
		}, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, ForgejoRepositories: unproven}, says: []string{"SQLite's error 1"}},
		"no directory of repositories": {spoil: func(t *testing.T, f *forge) { os.RemoveAll(f.at(forgeGit)) },
			want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, ForgejoRepositories: disproven}},

		"an LFS object lost":            {spoil: func(t *testing.T, f *forge) { os.Remove(f.at(lfsPath(f.object("x")))) }, want: with(map[string]verdict.Verdict{ForgejoLFS: disproven}), says: []string{"did not come back"}},
		"an LFS object cut off":         {spoil: func(t *testing.T, f *forge) { os.Truncate(f.at(lfsPath(f.object("xyz"))), 2) }, want: with(map[string]verdict.Verdict{ForgejoLFS: disproven}), says: []string{"has 2 bytes, not 3"}},
		"an LFS object of another hash": {spoil: func(t *testing.T, f *forge) { f.write(lfsPath(f.object("xyz")), "xyy") }, want: with(map[string]verdict.Verdict{ForgejoLFS: disproven}), says: []string{"has another hash"}},
		"an LFS row that is a way out": {spoil: func(t *testing.T, f *forge) {
			f.exec(`UPDATE lfs_meta_object SET oid = '../../etc/passwd' WHERE id = 1`)
		}, want: with(map[string]verdict.Verdict{ForgejoLFS: disproven}), says: []string{"is no hash"}},
		"LFS objects by a link out": {spoil: func(t *testing.T, f *forge) {
			live := filepath.Join(f.work, "..", "lfs")
			os.Rename(f.at(forgeLFS), live)
			os.Symlink(live, f.at(forgeLFS))
		}, want: with(map[string]verdict.Verdict{ForgejoLFS: disproven}), says: []string{"leads out"}},
		"a sample of the LFS objects":    {change: func(a *Forgejo) { a.MaxHashed = 2 }, want: with(nil), says: []string{"read and hashed: 2 (every 3. in the order of their hashes)"}},
		"LFS asked for, and none in it":  {spoil: func(t *testing.T, f *forge) { f.exec(`DELETE FROM lfs_meta_object`) }, want: with(map[string]verdict.Verdict{ForgejoLFS: unproven})},
		"LFS rows that nobody asked for": {change: func(a *Forgejo) { a.LFS = "" }, want: map[string]verdict.Verdict{SQLiteFile: proven, SQLiteIntegrity: proven, ForgejoRepositories: proven, ForgejoBranches: proven, ForgejoFsck: proven}, says: []string{"5 LFS objects were not looked for"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := made.again(t)
			if tt.spoil != nil {
				tt.spoil(t, f)
			}
			f.db.Close()
			a := &Forgejo{Database: forgeDB, Repositories: forgeGit, LFS: forgeLFS}
			if tt.change != nil {
				tt.change(a)
			}
			expect(t, f.assert(Assertion{Forgejo: a}), tt.want, tt.says...)
		})
	}
}

// What git says of an object's form is set apart by its id only.
func TestFsckForm(t *testing.T) {
	l := &fsckLines{}
	id := strings.Repeat("a", 40)
	fmt.Fprintf(l, "error in commit %s: missingSpaceBeforeEmail: invalid author\nwarning in tree %s: zeroPaddedFilemode: x\nnotice: HEAD points to an unborn branch (main)\n", id, id)
	if l.end(); l.formal != 2 || l.other != 0 {
		t.Errorf("%+v", l)
	}
	fmt.Fprintf(l, "error in tree %s: broken links\nerror in commit %s: wrong object type in link\nmissing blob %s", id, id, id)
	if l.end(); l.formal != 2 || l.other != 3 {
		t.Errorf("%+v", l)
	}
}

// moveObjects moves all objects of the first repository to where only this
// machine has them.
func (f *forge) moveObjects(t *testing.T) {
	t.Helper()
	live := filepath.Join(f.work, "..", "live-objects")
	if err := os.Rename(f.at(mainTest+"/objects"), live); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"info", "pack"} {
		if err := os.MkdirAll(f.at(mainTest+"/objects/"+dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}
