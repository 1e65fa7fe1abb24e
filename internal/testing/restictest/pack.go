package restictest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Blob is what a pack is made of: a tree, or the data of a file.
type Blob struct {
	Tree  bool
	Plain []byte
}

// ID is the name that a blob has for its content.
func (b Blob) ID() string { return fmt.Sprintf("%x", sha256.Sum256(b.Plain)) }

// Tree is a blob of the entries of a directory, as somebody writes it who is not
// restic.
func Tree(t testing.TB, nodes ...map[string]any) Blob {
	t.Helper()
	if nodes == nil {
		nodes = []map[string]any{}
	}
	plain, err := json.Marshal(map[string]any{"nodes": nodes})
	if err != nil {
		t.Fatal(err)
	}
	return Blob{Tree: true, Plain: append(plain, '\n')}
}

// Pack puts blobs into a repository of New's, in a pack with an index of its own.
func Pack(t testing.TB, dir string, blobs ...Blob) {
	t.Helper()
	s, err := master(dir)
	if err != nil {
		t.Fatalf("reading the key of %s: %v", dir, err)
	}
	type entry struct {
		ID     string `json:"id"`
		Type   string `json:"type"`
		Offset int    `json:"offset"`
		Length int    `json:"length"`
	}
	var pack, header []byte
	var entries []entry
	for _, b := range blobs {
		sealed, err := s.seal(b.Plain)
		if err != nil {
			t.Fatal(err)
		}
		kind, e := byte(0), entry{b.ID(), "data", len(pack), len(sealed)}
		if b.Tree {
			kind, e.Type = 1, "tree"
		}
		sum := sha256.Sum256(b.Plain)
		header = append(binary.LittleEndian.AppendUint32(append(header, kind), uint32(len(sealed))), sum[:]...)
		pack, entries = append(pack, sealed...), append(entries, e)
	}
	sealed, err := s.seal(header)
	if err != nil {
		t.Fatal(err)
	}
	pack = binary.LittleEndian.AppendUint32(append(pack, sealed...), uint32(len(sealed)))
	id := fmt.Sprintf("%x", sha256.Sum256(pack))
	at := filepath.Join(dir, "data", id[:2])
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, id), pack, 0o600); err != nil {
		t.Fatal(err)
	}
	Seal(t, dir, "index", map[string]any{"packs": []map[string]any{{"id": id, "blobs": entries}}})
}
