package tfstate

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestGiveLineage(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for name, c := range map[string]struct {
		state string
		given bool
	}{
		"none":               {"{\n  \"version\": 4,\n  \"serial\": 0,\n  \"lineage\": \"\",\n  \"outputs\": {\"o\": {\"value\": \"" + long + "\"}},\n  \"resources\": []\n}\n\n", true},
		"one":                {"{\n  \"version\": 4,\n  \"lineage\": \"l\",\n  \"outputs\": {}\n}\n", false},
		"in what it manages": {"{\n  \"version\": 4,\n  \"lineage\": \"l\",\n  \"outputs\": {\"o\": {\"lineage\": \"\"}}\n}\n", false},
		"0 bytes":            {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "errored.tfstate")
			if err := os.WriteFile(path, []byte(c.state), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := GiveLineage(path); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			given := regexp.MustCompile(`"lineage": "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"`)
			if given.Match(got) != c.given || given.ReplaceAllString(string(got), noLineage) != c.state {
				t.Errorf("%.300s", got)
			}
			// Another time it stays.
			if err := GiveLineage(path); err != nil {
				t.Fatal(err)
			}
			if again, err := os.ReadFile(path); err != nil || string(again) != string(got) {
				t.Errorf("it changed: %v", err)
			}
		})
	}
	if err := GiveLineage(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}
