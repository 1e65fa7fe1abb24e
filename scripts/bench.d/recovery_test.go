package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// What the benchmark seals itself, the real restic takes for its own: it checks
// a repository that holds it, and lists as many entries as there should be.
func TestRecoverySealed(t *testing.T) {
	v, err := (&bench{ctx: t.Context(), dir: t.TempDir()}).vault("sealed")
	if err != nil {
		t.Fatalf("%v\nrun the tests with ./scripts/test, which installs restic", err)
	}
	total, err := v.manyEntries(4000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.restic("check", "--read-data", "--no-cache"); err != nil {
		t.Error(err)
	}
	ids, err := os.ReadDir(filepath.Join(v.repo, "snapshots"))
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	said, err := v.restic("ls", "--json", "--no-cache", ids[0].Name())
	if n := bytes.Count(said, []byte("\n")) - 1; n != total || err != nil { // the first line is the snapshot
		t.Errorf("%d entries, not %d: %v", n, total, err)
	}
}
