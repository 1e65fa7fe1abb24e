package handoff

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/verdict"
)

// FuzzBuild: whatever the outputs and the mapping are, there is a document
// that is valid by the schema and fit for a matrix, or refusals that are fit
// for a log. The cases of the golden tests are where it starts from.
func FuzzBuild(f *testing.F) {
	dirs, err := filepath.Glob(filepath.Join("testdata", "*", "*", "outputs.json"))
	if err != nil || len(dirs) == 0 {
		f.Fatalf("no cases in testdata: %v", err)
	}
	for _, path := range dirs {
		outputs, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		mapping, err := os.ReadFile(filepath.Join(filepath.Dir(path), "mapping.yaml"))
		if err != nil && !os.IsNotExist(err) {
			f.Fatal(err)
		}
		f.Add(outputs, string(mapping))
	}
	f.Fuzz(func(t *testing.T, outputs []byte, text string) {
		m, err := ParseMapping(text, "edge_nodes")
		if err != nil {
			fit(t, err)
			return
		}
		doc, err := Build(outputs, m, about)
		if err != nil {
			fit(t, err)
			return
		}
		data, err := doc.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(data); err != nil {
			t.Fatalf("its own document is refused: %v\n%s", err, data)
		}
		matrix, err := doc.Matrix()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data)+matrix, "${{") || strings.ContainsAny(matrix, "\r\x00") {
			t.Fatalf("not fit for an output: %q", matrix)
		}
	})
}

func fit(t *testing.T, err error) {
	for _, c := range verdict.ChecksOf(err) {
		if c.ID == "run" || c.Hint == "" {
			t.Fatalf("no refusal of its own: %+v", c)
		}
		if text := c.Wanted + c.Got; strings.ContainsAny(text, "\n\r\x00\x1b") || len(text) > 8<<10 {
			t.Fatalf("not fit for a log: %.500q", text)
		}
	}
}
