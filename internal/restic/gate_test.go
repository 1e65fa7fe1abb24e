package restic

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Everything else that restic 0.18 can do, and every flag that would make one
// of the allowed subcommands do more.
func TestGate(t *testing.T) {
	id := anywhere
	for _, args := range [][]string{
		{"version"}, {"version", "--json"}, {"cat", "config", "--no-lock"}, {"cat", "lock", id, "--no-lock"}, {"list", "locks", "--no-lock"}, {"list", "snapshots", "--no-lock"},
		{"snapshots", "--json", "--no-lock", "--no-cache"}, {"ls", id, "--no-lock"}, {"stats", id, "--mode=restore-size", "--no-lock"},
		{"check", "--no-lock", "--read-data-subset=1/2"}, {"restore", id, "--target=/a/b", "--include=--delete", "--verify", "--no-lock", "--limit-download=5"},
	} {
		if err := gate(args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	others := strings.Fields("backup cache completion copy diff dump find forget generate help init key migrate mount options prune recover repair rewrite self-update tag unlock features debug --no-lock -r")
	for _, name := range others {
		for _, args := range [][]string{{name}, {name, "--no-lock"}, {name, "--no-lock", id}, {"--no-lock", name}} {
			if gate(args) == nil {
				t.Errorf("%q passed", args)
			}
		}
	}
	for _, args := range [][]string{
		{}, {""}, {"version", "x"}, {"snapshots"}, {"ls", id}, {"check"}, {"restore", id, "--target=/a"}, // a lock
		{"cat", "--no-lock"}, {"cat", "masterkey", "--no-lock"}, {"cat", "key", id, "--no-lock"}, {"cat", "lock", "--no-lock"}, {"cat", "lock", "x", "--no-lock"}, {"cat", "config", id, "--no-lock"},
		{"list", "keys", "--no-lock"}, {"list", "--no-lock"}, {"list", "locks", "snapshots", "--no-lock"},
		{"snapshots", "latest", "--no-lock"}, {"snapshots", "--host=x", "--no-lock"}, {"snapshots", "--latest=1", "--no-lock"},
		{"ls", "latest", "--no-lock"}, {"ls", id[:8], "--no-lock"}, {"ls", id, "/x", "--no-lock"}, {"ls", ":id", "--no-lock"}, {"ls", id, id, "--no-lock"}, {"ls", "--no-lock"},
		{"ls", id + ":/x", "--no-lock"}, {"ls", id + "\n", "--no-lock"}, {"ls", strings.ToUpper(id), "--no-lock"},
		{"restore", id, "--target=/", "--no-lock"}, {"restore", id, "--target=", "--no-lock"}, {"restore", id, "--target=/a/..", "--no-lock"}, {"restore", id, "--target=//", "--no-lock"}, {"restore", id, "--target=a", "--no-lock"}, {"restore", id, "--target", "/", "--no-lock"},
		{"restore", id, "--target=/a", "--delete", "--no-lock"}, {"restore", id, "--target=/a", "--overwrite=never", "--no-lock"}, {"restore", id, "--target=/a", "--dry-run", "--no-lock"}, {"restore", id, "-t/", "--no-lock"},
		{"check", "--no-lock", "--password-command=x"}, {"check", "--no-lock", "--repo=x"}, {"check", "--no-lock", "--insecure-tls"}, {"check", "--no-lock", "-r", "x"}, {"check", "--no-lock", "--with-cache"}, {"check", "--no-lock", "--target=/x"},
	} {
		if gate(args) == nil {
			t.Errorf("%q passed", args)
		}
	}
}

// The gate stands before restic, and the methods check before it.
func TestNothingPassesByTheGate(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(dir, "it ran")
	restic := write(t, filepath.Join(dir, "restic"), "#!/bin/sh\n: >'"+ran+"'\n")
	os.Chmod(restic, 0o700)
	defer func() {
		if _, err := os.Stat(ran); err == nil {
			t.Error("it ran")
		}
	}()
	c := newClient(t, Local{Path: restic, Env: []string{}}, Repository{URL: "/x", PasswordFile: "/p"}, Options{Timeout: generous})
	c.known.version = "0.18.1"
	for _, id := range []string{"latest", "", "--help", anywhere[:8], anywhere + ":/etc"} {
		if c.Ls(t.Context(), id, func(Node) error { return nil }) == nil {
			t.Errorf("Ls of %q", id)
		}
		if _, err := c.RestoreSize(t.Context(), id); err == nil {
			t.Errorf("RestoreSize of %q", id)
		}
		if _, err := c.Restore(t.Context(), id, "/t", RestoreOptions{}); err == nil {
			t.Errorf("Restore of %q", id)
		}
	}
	for _, target := range []string{"", "/", "//", "/a/", "/a/../..", "a", "."} {
		if _, err := c.Restore(t.Context(), anywhere, target, RestoreOptions{}); err == nil {
			t.Errorf("Restore to %q", target)
		}
	}
	for _, pattern := range []string{"", "!/x"} {
		if _, err := c.Restore(t.Context(), anywhere, "/t", RestoreOptions{Include: []string{pattern}}); err == nil {
			t.Errorf("Restore of %q", pattern)
		}
	}
	for _, part := range []string{"0/5", "6/5", "5", "1/0", "10%", "5G", " 1/2", "1/2 ", "-1/2", "1/99999"} {
		if _, err := c.Check(t.Context(), part); err == nil {
			t.Errorf("Check of %q", part)
		}
	}
	if c.ask(t.Context(), &stderr{}, nil, "forget", "--prune") == nil {
		t.Error("forget")
	}
	if len(subcommands) != 8 || slices.Contains(everywhere, "--repo") {
		t.Error("a new subcommand or flag: say here why it only reads")
	}
}
