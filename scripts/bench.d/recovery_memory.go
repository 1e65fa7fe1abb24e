package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"edge-actions/internal/recovery"
	"edge-actions/internal/restic"
	"edge-actions/internal/verdict"
)

const (
	rehearsalFlat   = 1.2
	rehearsalMemory = 64 << 20
)

// rehearseChild is a process that rehearses one restore and ends, as the action
// does.
func rehearseChild(args []string) int {
	dir, repo, password, id, measured := args[0], args[1], args[2], args[3], args[4]
	r := &recovery.Rehearsal{
		Repository: restic.Repository{URL: repo, PasswordFile: password}, Timeout: time.Hour, RepositoryID: id,
		Want:        recovery.Want{Host: vaultHost, Paths: []string{"/srv"}, Now: time.Now(), MaxSkew: time.Minute},
		ScratchRoot: filepath.Join(dir, "scratch"), AllowTmpfs: true, Run: "bench",
	}
	done, checks := r.Rehearse(context.Background(), recovery.Place{Environ: os.Environ(), Logf: func(string, ...any) {}})
	if os.Geteuid() != 0 { // then nobody can tell
		checks = slices.DeleteFunc(checks, func(c verdict.Check) bool { return c.ID == recovery.Owners })
	}
	if verdict.Of(checks) != verdict.Proven {
		fmt.Fprintf(os.Stderr, "wanted a rehearsal that is proven, found %v\n", checks)
		return 1
	}
	most, err := peak()
	if err == nil {
		err = os.WriteFile(measured, fmt.Appendf(nil, "%d %d", most, done.Files), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// memory compares what a rehearsal of many entries takes with one of few.
func (b *bench) memory() error {
	var most [2]int64
	for i, n := range []int{10_000, 1_000_000} {
		var err error
		if most[i], err = b.entries(n); err != nil {
			return err
		}
	}
	few, many := float64(most[0]), float64(most[1])
	b.add(row{"rehearsal of 1000000 entries, peak memory", fmt.Sprintf("%.1f MiB", many/(1<<20)), fmt.Sprintf("%.1f MiB (10000 entries)", few/(1<<20)), fmt.Sprintf("%.2f", many/few),
		fmt.Sprintf("<= %.1f, < %d MiB", rehearsalFlat, rehearsalMemory>>20), !atLeast(many/few, rehearsalFlat+0.01) && most[1] < rehearsalMemory})
	return nil
}

// entries rehearses a snapshot of n entries and returns the peak of this
// program's memory; that of restic is restic's.
func (b *bench) entries(n int) (most int64, err error) {
	v, err := b.vault("entries")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, v.remove()) }()
	total, err := v.manyEntries(n)
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	measured := filepath.Join(v.dir, "measured")
	took, _, err := v.timed(v.command(self, "rehearse", v.dir, v.repo, v.password, v.id, measured))
	if err != nil {
		return 0, err
	}
	said, err := os.ReadFile(measured)
	if err != nil {
		return 0, err
	}
	var files int
	if _, err := fmt.Sscan(string(said), &most, &files); err != nil || files != total {
		return 0, fmt.Errorf("wanted %d entries that were restored, found %q: %w", total, said, err)
	}
	b.notef("a rehearsal of %d entries takes %.1f s with restic's own work, %.1f MiB", total, took, float64(most)/(1<<20))
	return most, nil
}

// sealedNode is an entry of a directory as it lies in a repository.
type sealedNode struct {
	Name    string    `json:"name"`
	Type    string    `json:"type"`
	Mode    uint32    `json:"mode"`
	ModTime time.Time `json:"mtime"`
	UID     int       `json:"uid"`
	GID     int       `json:"gid"`
	Links   int       `json:"links,omitempty"`
	Content []string  `json:"content"`
	Subtree string    `json:"subtree,omitempty"`
}

// manyEntries makes a snapshot of n entries and a few directories more: half
// of them in one directory, and the rest a thousand in each. It returns how
// many there are in all.
func (v *vault) manyEntries(n int) (total int, err error) {
	key, err := v.master()
	if err != nil {
		return 0, err
	}
	made := time.Now().UTC().Add(-time.Hour)
	p := &pack{}
	add := func(nodes []sealedNode) (id string) {
		if err == nil {
			id, err = p.tree(key, nodes)
		}
		return id
	}
	files := func(n int) string {
		nodes := make([]sealedNode, n)
		for i := range nodes {
			nodes[i] = sealedNode{Name: "file-" + strconv.Itoa(1_000_000+i), Type: "file", Mode: 0o600, ModTime: made, UID: os.Geteuid(), GID: os.Getegid(), Links: 1, Content: []string{}}
		}
		return add(nodes)
	}
	dir := func(name, subtree string) sealedNode {
		return sealedNode{Name: name, Type: "dir", Mode: uint32(os.ModeDir | 0o700), ModTime: made, UID: os.Geteuid(), GID: os.Getegid(), Subtree: subtree}
	}
	each := files(1000)
	nodes := []sealedNode{dir("all-in-one", files(n/2))}
	for i := range n / 2 / 1000 {
		nodes = append(nodes, dir("part-"+strconv.Itoa(1000+i), each))
	}
	root := add([]sealedNode{dir("srv", add(nodes))})
	if err == nil {
		err = v.pack(key, p)
	}
	if err == nil {
		_, err = v.put(key, "snapshots", sealedSnapshot{Time: made, Tree: root, Paths: []string{"/srv"}, Hostname: vaultHost, Username: "root"})
	}
	return 1 + len(nodes) + n/2 + n/2/1000*1000, err
}
