package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Open returns the lab of an owner, or nil.
func Open(owner string) (*Lab, error) {
	owners, err := filepath.Glob(filepath.Join(root, "*", "owner"))
	if err != nil {
		return nil, err
	}
	for _, path := range owners {
		if data, err := os.ReadFile(path); err == nil && string(data) == owner {
			return reopen(filepath.Dir(path))
		}
	}
	return nil, nil
}

// reopen returns a lab of which only the directory is known.
func reopen(dir string) (*Lab, error) {
	number, err := strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return nil, err
	}
	l := &Lab{dir: dir, number: number, Key: filepath.Join(dir, "operator")}
	hosts, err := filepath.Glob(filepath.Join(dir, "hosts", "*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range hosts {
		h, err := l.reopen(dir)
		if err != nil {
			return nil, err
		}
		l.Hosts = append(l.Hosts, h)
	}
	slices.SortFunc(l.Hosts, func(a, b *Host) int { return a.number - b.number })
	return l, nil
}

func (l *Lab) reopen(dir string) (*Host, error) {
	name := filepath.Base(dir)
	text, counted := strings.CutPrefix(name, "edge-")
	if !counted {
		data, err := os.ReadFile(filepath.Join(dir, "number"))
		if err != nil {
			return nil, err
		}
		text = string(data)
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	_, bare := os.Stat(filepath.Join(dir, "bare"))
	h := l.host(name, number, bare == nil)
	// On the way to another system there may be none of it.
	if err := h.read(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return h, nil
}

// Add brings up more hosts, each a node with a name of its own. If one fails, Down
// removes what there is of it.
func (l *Lab) Add(names ...string) (err error) {
	if err := l.stock(); err != nil {
		return err
	}
	var hosts []*Host
	taken := map[string]bool{}
	for _, h := range l.Hosts {
		taken[h.Name] = true
	}
	for _, name := range names {
		if !nameForm.MatchString(name) || strings.HasPrefix(name, "edge-") || taken[name] {
			return fmt.Errorf("wanted a new name of 2 to 32 lower-case letters, digits and '-', not \"edge-…\", with a letter at its end; found %q", name)
		}
		taken[name] = true
		hosts = append(hosts, l.host(name, len(l.Hosts)+len(hosts)+1, false))
	}
	return l.bring(hosts)
}

// stock finds what hosts are made of and boot with, if the lab was opened.
func (l *Lab) stock() (err error) {
	if l.base != "" {
		return nil
	}
	if l.base, err = base(); err != nil {
		return fmt.Errorf("making the base: %w", err)
	}
	l.bin, err = labhost()
	return err
}

// nameForm is of names that become directories and networks. Those that begin
// with "edge-" are counted.
var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}[a-z]$`)
