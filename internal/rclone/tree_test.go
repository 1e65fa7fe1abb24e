package rclone

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// newTree is a tree of two files on a real rclone remote of the given type:
// an alias knows SHA-256, webdav does not.
func newTree(t *testing.T) (tree *Tree, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"aa/bb/one": "1", "two": "22"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(t.TempDir(), "rclone.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, "[disk]\ntype = alias\nremote = %s\n", dir), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Tree{Path: realtools.Path(t, "rclone"), Base: "disk:", Config: config, Env: Environ(os.Environ()), Timeout: time.Minute}, dir
}

func TestTree(t *testing.T) {
	t.Parallel()
	tree, _ := newTree(t)
	found := map[string]Object{}
	err := tree.Objects(t.Context(), func(o Object) error { found[o.Path] = o; return nil })
	one := Object{Path: "aa/bb/one", Size: 1, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte("1")))}
	if err != nil || len(found) != 2 || found["aa/bb/one"] != one {
		t.Errorf("%v %+v", err, found)
	}
	if sha, size, err := tree.Digest(t.Context(), "aa/bb/one"); err != nil || sha != one.SHA256 || size != 1 {
		t.Errorf("%s %d %v", sha, size, err)
	}
	stop := errors.New("stop")
	if err := tree.Objects(t.Context(), func(Object) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

func TestTreeThatIsNotThere(t *testing.T) {
	t.Parallel()
	// A server that accepts and never answers.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, tt := range map[string]struct {
		do   func(t *testing.T, tree *Tree, dir string)
		want string
	}{
		"no such directory": {func(t *testing.T, tree *Tree, dir string) { tree.Base = "disk:nowhere" }, NoDirectory},
		"no such remote":    {func(t *testing.T, tree *Tree, dir string) { tree.Base = "nowhere:" }, Failed},
		"a deadline": {func(t *testing.T, tree *Tree, dir string) {
			if err := os.WriteFile(tree.Config, fmt.Appendf(nil, "[disk]\ntype = webdav\nurl = http://%s/\n", l.Addr()), 0o600); err != nil {
				t.Fatal(err)
			}
			tree.Timeout = time.Second
		}, Timeout},
		"no rclone": {func(t *testing.T, tree *Tree, dir string) { tree.Path = "/nowhere/rclone" }, Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree, dir := newTree(t)
			tt.do(t, tree, dir)
			err := tree.Objects(t.Context(), func(Object) error { return nil })
			if !verdict.Has(err, tt.want) {
				t.Errorf("%v", err)
			}
			if _, _, err := tree.Digest(t.Context(), "nowhere"); err == nil {
				t.Error("a digest of nothing")
			}
		})
	}
}

func TestTreeOnlyReads(t *testing.T) {
	tree, _ := newTree(t)
	for _, sub := range []string{"sync", "copyto", "deletefile", "purge", "config"} {
		if err := tree.run(context.Background(), nil, sub, tree.Base); err == nil || verdict.Has(err, Failed) {
			t.Errorf("%s: %v", sub, err)
		}
	}
}

// What rclone says has to be whole, and about files.
func TestObjectsThatCannotBeRead(t *testing.T) {
	for _, text := range []string{"", "{}", "[", `[{"Path":"a","Size":1}`, `[{"Path":"a","Size":1,"IsDir":true}]`, `[{"Size":1}]`, "[{]"} {
		tree, _ := newTree(t)
		tree.Path = filepath.Join(t.TempDir(), "rclone")
		if err := os.WriteFile(tree.Path, []byte("#!/bin/sh\ncat <<'E'\n"+text+"\nE\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := tree.Objects(t.Context(), func(Object) error { return nil }); !verdict.Has(err, Failed) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
