package restictest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Seal puts a document among the files of one kind ("locks", "snapshots") of a
// repository of New's, as restic does with what is in no pack, and returns its
// id. It is how a test has a file that a real restic wrote at another time, or
// on another machine.
func Seal(t testing.TB, dir, kind string, document any) (id string) {
	t.Helper()
	plain, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	s, err := master(dir)
	if err != nil {
		t.Fatalf("reading the key of %s: %v", dir, err)
	}
	sealed, err := s.seal(plain) // what begins with a brace is not compressed
	if err != nil {
		t.Fatal(err)
	}
	id = fmt.Sprintf("%x", sha256.Sum256(sealed))
	if err := os.WriteFile(filepath.Join(dir, kind, id), sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	return id
}

// master is the key that everything but the keys is sealed with.
func master(dir string) (*sealer, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "keys", "*"))
	if err != nil || len(paths) != 1 {
		return nil, fmt.Errorf("wanted one key, found %d: %w", len(paths), err)
	}
	text, err := os.ReadFile(paths[0])
	if err != nil {
		return nil, err
	}
	var k keyFile
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, err
	}
	user, err := derive(k)
	if err != nil {
		return nil, err
	}
	plain, err := user.open(k.Data)
	if err != nil {
		return nil, err
	}
	var m struct {
		MAC struct {
			K []byte `json:"k"`
			R []byte `json:"r"`
		} `json:"mac"`
		Encrypt []byte `json:"encrypt"`
	}
	if err := json.Unmarshal(plain, &m); err != nil {
		return nil, err
	}
	return &sealer{encrypt: m.Encrypt, k: m.MAC.K, r: m.MAC.R}, nil
}

// Flip changes a byte in the first blob of the largest pack, as a disk does.
func Flip(t testing.TB, dir string) {
	t.Helper()
	var pack string
	var size int64
	err := filepath.WalkDir(filepath.Join(dir, "data"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			pack, size = p, info.Size()
		}
		return err
	})
	data, readErr := os.ReadFile(pack)
	if err := errors.Join(err, readErr); err != nil || len(data) < 11 {
		t.Fatalf("flipping a byte in a pack of %d bytes: %v", len(data), err)
	}
	data[10] ^= 0xff
	if err := errors.Join(os.Chmod(pack, 0o600), os.WriteFile(pack, data, 0o600)); err != nil {
		t.Fatal(err)
	}
}
