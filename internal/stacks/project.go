package stacks

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// skipFile is the name of the file with which Terramate leaves a directory and
// all under it out.
const skipFile = ".tmskip"

// Member is a directory of the project that may be a stack.
type Member struct {
	// Path is relative to the project, with slashes; "." is the project.
	Path string
	Dir  string // absolute
	// Declared: there is a stack block in it.
	Declared bool
	Block

	picked bool // by a pattern
}

// Project is a checkout, or a part of it, with everything in it that may be a
// stack: directories with a stack block, and directories with configuration.
type Project struct {
	Root    string
	Members []*Member // by path
	byPath  map[string]*Member
	// dirs are all directories that were looked at, by path.
	dirs map[string]bool
}

// Read walks the project. All that is wrong with its stack blocks is returned
// together. Hidden directories, and symbolic links to directories, are no part
// of it.
func Read(root string) (*Project, error) {
	p := &Project{Root: root, byPath: map[string]*Member{}, dirs: map[string]bool{}}
	var errs []error
	err := filepath.WalkDir(root, func(dir string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		if dir != root && strings.HasPrefix(e.Name(), ".") {
			return fs.SkipDir
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == skipFile }) {
			return fs.SkipDir
		}
		rel, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		p.dirs[rel] = true
		m, err := member(rel, dir, entries)
		errs = append(errs, err)
		if m != nil {
			p.Members, p.byPath[rel] = append(p.Members, m), m
		}
		return nil
	})
	slices.SortFunc(p.Members, func(a, b *Member) int { return strings.Compare(a.Path, b.Path) })
	return p, errors.Join(append(errs, err)...)
}

// member looks at one directory; it is nil if nothing in it could be a stack.
func member(rel, dir string, entries []fs.DirEntry) (*Member, error) {
	m := &Member{Path: rel, Dir: dir}
	configured := false
	var errs []error
	for _, e := range entries {
		name := e.Name()
		switch {
		case e.IsDir() || strings.HasPrefix(name, "."):
		case strings.HasSuffix(name, ".tm") || strings.HasSuffix(name, ".tm.hcl"):
			block, err := readBlock(filepath.Join(dir, name), filepath.ToSlash(filepath.Join(rel, name)))
			if err == nil && block != nil && m.Declared {
				err = wrongBlock(filepath.ToSlash(filepath.Join(rel, name)), "one stack block in a directory", "a second one")
			}
			if block != nil {
				m.Declared, m.Block = true, *block
			}
			errs = append(errs, err)
		case isConfig(name):
			configured = true
		}
	}
	if !m.Declared && !configured {
		m = nil
	}
	return m, errors.Join(errs...)
}

func isConfig(name string) bool {
	return slices.ContainsFunc([]string{".tf", ".tofu", ".tf.json", ".tofu.json"}, func(s string) bool { return strings.HasSuffix(name, s) })
}

// stack reports whether the member is one: configuration alone may be a module.
func (m *Member) stack() bool { return m.Declared || m.picked }

// under returns the stacks in a directory and below it.
func (p *Project) under(path string) (out []*Member) {
	for _, m := range p.Members {
		if m.stack() && isUnder(path, m.Path) {
			out = append(out, m)
		}
	}
	return out
}

func isUnder(dir, path string) bool {
	return dir == "." || path == dir || strings.HasPrefix(path, dir+"/")
}
