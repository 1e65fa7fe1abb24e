package fourrepos

import (
	"path/filepath"
	"testing"

	"edge-actions/scripts/index/catalog"
	"edge-actions/scripts/workflows"
)

// Each workflow of the example keeps the rules of package workflows: one run at a
// time, timeouts that end before the job's, inputs and outputs that there are.
func TestRules(t *testing.T) {
	index, err := catalog.Read("../../../action-index.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(example + "/*/workflows")
	if err != nil || len(dirs) != 4 {
		t.Fatalf("%d repositories: %v", len(dirs), err)
	}
	paths, err := workflows.Find(dirs...)
	if err != nil || len(paths) != 8 {
		t.Fatalf("%d workflows: %v", len(paths), err)
	}
	for _, path := range paths {
		w, err := workflows.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range w.Problems(index) {
			t.Error(problem)
		}
	}
}
