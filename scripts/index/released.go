package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"edge-actions/scripts/index/catalog"

	"go.yaml.in/yaml/v4"
)

// releasedPath is where the inputs and outputs of the last release are kept:
// CI has no history to look at in a shallow checkout.
const releasedPath = "scripts/index/released.yaml"

const releasedHeader = "# The inputs and outputs of the last release, which CHANGELOG.md is held against.\n# Version " + nothing + " stands for none yet. Written by go run ./scripts/index -release VERSION\n"

// versioned holds the change log below root against the actions.
func versioned(root string, now *catalog.Catalog) error {
	released, err := catalog.Read(filepath.Join(root, releasedPath))
	if err != nil {
		return err
	}
	log, err := readChangelog(root)
	if err != nil {
		return err
	}
	return log.hold(released, now)
}

func readChangelog(root string) (*changelog, error) {
	text, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return nil, err
	}
	return parseChangelog(string(text))
}

// release makes the actions as they are the ones of that version. The change
// log has to have come that far.
func release(root, version string) error {
	version = strings.TrimPrefix(version, "v")
	log, err := readChangelog(root)
	if err != nil {
		return err
	}
	if log.latest != version {
		return fmt.Errorf("wanted version %q to be the newest in CHANGELOG.md, found %q: give what is below %s a heading \"## [%s] - YYYY-MM-DD\"", version, log.latest, unreleasedHeading, version)
	}
	now, _, _, err := collect(root)
	if err != nil {
		return err
	}
	bare := now.Bare()
	bare.Version = version
	data, err := yaml.Marshal(bare)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, releasedPath), []byte(releasedHeader+string(data)), 0o644)
}
