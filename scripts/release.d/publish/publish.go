package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"edge-actions/internal/forge"
)

// The list of a release, and its signature.
const (
	listName      = "SHA256SUMS"
	signatureName = "SHA256SUMS.sig"
)

// publication is one release on its way into the forge.
type publication struct {
	repo           *forge.Repo
	dir, changelog string
	tag, commit    string
	logf           func(format string, args ...any)
}

func open(c *forge.Client, repository string) (*forge.Repo, error) {
	owner, name, _ := strings.Cut(repository, "/")
	return c.Repo(owner, name)
}

func (p *publication) run(ctx context.Context) error {
	notes, err := p.notes()
	if err != nil {
		return err
	}
	names, err := p.assets()
	if err != nil {
		return err
	}
	have, err := p.repo.TagCommit(ctx, p.tag)
	if err != nil {
		return err
	}
	if have != p.commit {
		return fmt.Errorf("wanted tag %q at commit %q, found it at %q: was it moved? give the commit that the release was built from (-commit)", p.tag, p.commit, have)
	}
	rel, err := p.repo.EnsureRelease(ctx, p.tag, p.tag, notes)
	if err != nil {
		return err
	}
	if rel.Draft {
		return fmt.Errorf("release %q is a draft: publish it or delete it in the forge", p.tag)
	}
	added := 0
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil {
			return err
		}
		isNew, err := p.repo.PutAsset(ctx, rel, name, data)
		if err != nil {
			return err
		}
		if isNew {
			p.logf("added %s (%d bytes)", name, len(data))
			added++
		}
	}
	p.logf("release %s is published: %d files, %d of them now", p.tag, len(names), added)
	return nil
}

var (
	lineForm = regexp.MustCompile(`^([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*)$`)
	partForm = regexp.MustCompile(`^## \[([^\]]+)\]`)
)

// assets returns the files in the order in which they are sent, having held
// them against the list. The list is last: with it the release is there.
func (p *publication) assets() ([]string, error) {
	list, err := os.ReadFile(filepath.Join(p.dir, listName))
	if err != nil {
		return nil, fmt.Errorf("reading the list of the release: %w", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(list), "\n"), "\n")
	if lines[0] != "# release "+p.tag {
		return nil, fmt.Errorf("wanted %s of release %q, found %.100q: build it from the commit of that tag", listName, p.tag, lines[0])
	}
	known := map[string]bool{listName: true, signatureName: true}
	var names []string
	for _, line := range lines {
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := lineForm.FindStringSubmatch(line)
		if m == nil || known[m[2]] {
			return nil, fmt.Errorf("wanted lines with a checksum and the name of a file in %s, each once, found %.100q", listName, line)
		}
		data, err := os.ReadFile(filepath.Join(p.dir, m[2]))
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != m[1] {
			return nil, fmt.Errorf("%s has not the checksum that %s names: build the release again", m[2], listName)
		}
		known[m[2]] = true
		names = append(names, m[2])
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s names no file", listName)
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !known[e.Name()] {
			return nil, fmt.Errorf("%q is not in %s: a release has nothing that is not signed", e.Name(), listName)
		}
	}
	if _, err := os.Stat(filepath.Join(p.dir, signatureName)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the release is not signed: scripts/release sign %q KEY", p.dir)
	}
	return append(names, signatureName, listName), nil
}

// notes returns what the change log says of this version.
func (p *publication) notes() (string, error) {
	data, err := os.ReadFile(p.changelog)
	if err != nil {
		return "", err
	}
	var notes strings.Builder
	inside := false
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "## ") {
			m := partForm.FindStringSubmatch(line)
			inside = m != nil && "v"+m[1] == p.tag
			continue
		}
		if inside {
			notes.WriteString(line)
		}
	}
	text := strings.TrimSpace(notes.String())
	if text == "" {
		return "", fmt.Errorf("CHANGELOG.md has nothing about %q: give it a part \"## [%s] - YYYY-MM-DD\"", p.tag, strings.TrimPrefix(p.tag, "v"))
	}
	return text + "\n", nil
}
