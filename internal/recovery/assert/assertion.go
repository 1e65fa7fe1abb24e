// Package assert judges what a snapshot was restored to: databases, repositories,
// keys, a cluster's datastore, files, and what a program of the operator's says
// of them. It believes nothing of what was restored: no link leads it out of the
// tree, nothing in the tree is run or changed, and nothing that a file contains
// leaves it. What cannot be looked at is unproven.
package assert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
)

// The ids of the checks that assertions make. A check's subject is the name of
// the assertion.
const (
	// Judged is that an assertion could be judged at all.
	Judged = "assertion"

	// SQLiteFile is a file that is a SQLite database by its size and header.
	SQLiteFile = "sqlite-file"
	// SQLiteWAL is the write-ahead log beside it.
	SQLiteWAL = "sqlite-wal"
	// SQLiteIntegrity is SQLite's own integrity_check.
	SQLiteIntegrity = "sqlite-integrity"
	// SQLiteTables are the tables and the floors on their rows.
	SQLiteTables = "sqlite-tables"

	// ForgejoRepositories are the rows against the directories.
	ForgejoRepositories = "forgejo-repositories"
	// ForgejoBranches are the rows against the refs.
	ForgejoBranches = "forgejo-branches"
	// ForgejoFsck is git fsck of each repository.
	ForgejoFsck = "forgejo-fsck"
	// ForgejoLFS are the rows against the objects.
	ForgejoLFS = "forgejo-lfs"

	// RustDeskKey is the server's key pair.
	RustDeskKey = "rustdesk-key"

	// K3sToken is the token against the cluster's CA.
	K3sToken = "k3s-token"
	// K3sDatastore is that there is what the token is a token for.
	K3sDatastore = "k3s-datastore"
	// K3sBootstrap is that the token opens what is in it.
	K3sBootstrap = "k3s-bootstrap"
	// K3sSnapshotHash is the hash at the end of an etcd snapshot.
	K3sSnapshotHash = "k3s-etcd-hash"
	// K3sSnapshotKeys is what a real etcd reads from it.
	K3sSnapshotKeys = "k3s-etcd-keys"

	// FilePresent is a regular file at its place.
	FilePresent = "file"
	// FileSize is its size.
	FileSize = "file-size"
	// FileSHA256 is its hash.
	FileSHA256 = "file-sha256"
	// FileValue is a value in it.
	FileValue = "file-value"

	// CommandExit is the exit code of the operator's command.
	CommandExit = "command"
)

// Assertion is one thing that must be true of what was restored. Exactly one
// kind is set.
type Assertion struct {
	Name     string    `yaml:"name"`
	SQLite   *SQLite   `yaml:"sqlite"`
	Forgejo  *Forgejo  `yaml:"forgejo"`
	RustDesk *RustDesk `yaml:"rustdesk"`
	K3s      *K3s      `yaml:"k3s"`
	File     *File     `yaml:"file"`
	Command  *Command  `yaml:"command"`
}

// Tools are the programs that assertions need on the runner, as names on PATH
// or as paths; "" is git, etcd and etcdutl.
type Tools struct {
	Git, Etcd, Etcdutl string
	// Env is where a child's PATH comes from; nothing else of it matters.
	Env []string
	// Timeout ends one assertion, whatever it does.
	Timeout time.Duration
	// TempDir is a private directory beside the restored tree and not in it:
	// what must be written to be looked at is copied there, and removed.
	TempDir string
}

// judge is one assertion while it is judged.
type judge struct {
	tree  *restoredTree
	tools Tools
	temp  string // removed at the end
	made  []verdict.Check
}

func (j *judge) add(checks ...verdict.Check) { j.made = append(j.made, checks...) }

func (j *judge) prove(id, wanted, got string) {
	j.add(verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: got})
}

func (j *judge) refuse(id, wanted, got, hint string) {
	j.add(verdict.Refuse(id, wanted, got, hint).Check)
}

func (j *judge) cannotTell(id, wanted string, err error, hint string) {
	j.add(verdict.CannotTell(id, wanted, err, hint).Check)
}

// find returns where a tool is; name is what it is called if it is not given.
func (j *judge) find(given, name string) (string, error) {
	return lookPath(cmp.Or(given, name), pathOf(j.tools.Env))
}

// errAssertionTime is the cause of a context that one assertion has used up.
var errAssertionTime = errors.New("the time for one assertion is over")

// Assert judges the assertion in the directory that a snapshot was restored to.
// It changes nothing there, leaves nothing behind, and no check of it carries
// what a restored file contains: names, counts, sizes and hashes only.
func (a *Assertion) Assert(ctx context.Context, scratch string, tools Tools) []verdict.Check {
	const wanted = "an assertion that can be judged"
	if err := a.Validate(); err != nil {
		return verdict.About(a.Name, verdict.ChecksOf(err))
	}
	if tools.Timeout <= 0 || tools.TempDir == "" || files.Inside(scratch, tools.TempDir) {
		return verdict.About(a.Name, []verdict.Check{verdict.CannotTell(Judged, wanted, errors.New("no timeout, or no directory for temporary files beside the restored tree"), "set both").Check})
	}
	ctx, cancel := context.WithTimeoutCause(ctx, tools.Timeout, errAssertionTime)
	defer cancel()
	tree, err := openRestored(scratch)
	if err != nil {
		return verdict.About(a.Name, []verdict.Check{verdict.CannotTell(Judged, wanted, err, "see whether the restore came to its end").Check})
	}
	defer tree.close()
	temp, err := os.MkdirTemp(tools.TempDir, "assert-") // 0700 by os.MkdirTemp
	if err != nil {
		return verdict.About(a.Name, []verdict.Check{verdict.CannotTell(Judged, wanted, err, "see the mode of the directory and the free space").Check})
	}
	j := &judge{tree: tree, tools: tools, temp: temp}
	a.judge(ctx, j)
	if err := os.RemoveAll(temp); err != nil {
		j.cannotTell(Judged, "nothing left of the assertion", files.WithoutPath(err), "remove "+temp+" by hand: it holds what was backed up")
	}
	if len(j.made) == 0 {
		j.cannotTell(Judged, wanted, errors.New("it asserted nothing"), "give it something that must be true")
	}
	return verdict.About(a.Name, j.made)
}

func (a *Assertion) judge(ctx context.Context, j *judge) {
	switch {
	case a.SQLite != nil:
		a.SQLite.judge(ctx, j)
	case a.Forgejo != nil:
		a.Forgejo.judge(ctx, j)
	case a.RustDesk != nil:
		a.RustDesk.judge(j)
	case a.K3s != nil:
		a.K3s.judge(ctx, j)
	case a.File != nil:
		a.File.judge(ctx, j)
	case a.Command != nil:
		a.Command.judge(ctx, j)
	}
}

// deadlineOf is the cause of a context that is over, for an error that only
// says that it is.
func deadlineOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// maxListed is how many findings a check names.
const maxListed = 12

// findings are the first few things that are wrong, and how many there are.
type findings struct {
	list  []string
	count int
}

func (f *findings) add(format string, args ...any) {
	if f.count++; len(f.list) < maxListed {
		f.list = append(f.list, fmt.Sprintf(format, args...))
	}
}

func (f *findings) String() string {
	out := ""
	for i, line := range f.list {
		if i > 0 {
			out += "\n"
		}
		out += line
	}
	if more := f.count - len(f.list); more > 0 {
		out += fmt.Sprintf("\nand %d more", more)
	}
	return out
}
