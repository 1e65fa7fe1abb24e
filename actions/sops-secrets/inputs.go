package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/sopsx"
)

const (
	modeDecrypt = "decrypt"
	modeCheck   = "check"
	modeSweep   = "sweep"
)

const (
	maxList = 1 << 20 // of required_from
	maxKey  = 64 << 10
	maxPick = 500 // of keys: each has its line in an output
)

// pick is one value to decrypt, and the name of its file.
type pick struct {
	name  sopsx.Name
	given string // the name as it was given
	file  string
}

// config is what the inputs say.
type config struct {
	mode       string
	data       []byte // the SOPS file
	path       string // as it was given
	format     sopsx.Format
	picks      []pick
	want       sopsx.Want
	identities []sopsx.Identity
	keepFor    time.Duration
}

// parse reads the inputs. All of them are read in each mode, and what is wrong
// with any of them is said at once.
func parse(a *action.Action) (config, error) {
	in := a.Inputs()
	r := reader{in, a.Workspace()}
	c := config{
		mode: in.OneOf("mode", modeDecrypt, modeCheck, modeSweep), path: in.Text("file"),
		keepFor: in.Duration("keep_for", time.Minute, 5*24*time.Hour),
	}
	format := in.OneOf("format", "auto", string(sopsx.YAML), string(sopsx.JSON), string(sopsx.Dotenv), string(sopsx.INI), string(sopsx.Binary))
	if c.format = sopsx.Format(format); format == "auto" {
		c.format = sopsx.FormatOf(c.path)
	}
	c.picks = r.picks()
	c.want.Clear = r.names("allow_unencrypted", in.Lines("allow_unencrypted"))
	c.want.Names = append(r.names("required", in.Lines("required")), r.requiredFrom()...)
	for _, p := range c.picks {
		c.want.Names = append(c.want.Names, p.name)
	}
	c.want.Names = unique(c.want.Names)
	c.want.Recipients = r.recipients()
	c.identities = r.identities()
	if c.mode == modeSweep {
		return c, in.Err()
	}
	if c.path == "" {
		in.Wrong("file", "the path of the SOPS file in the checkout", "nothing", "set the input file")
	} else {
		c.data = r.workspaceFile("file", c.path, sopsx.MaxFile)
	}
	switch keyFile := in.Text("age_key_file"); {
	case c.mode == modeDecrypt && keyFile == "":
		in.Wrong("age_key_file", "the file with the age identity that decrypts", "nothing", "set the input age_key_file, or mode: check")
	case c.mode == modeCheck && keyFile != "":
		in.Wrong("age_key_file", "no key: check decrypts nothing", fmt.Sprintf("%q", keyFile), "leave it out, or set mode: decrypt")
	}
	switch {
	case c.mode == modeDecrypt && in.Text("keys") == "":
		in.Wrong("keys", "the names to decrypt, one a line", "nothing", "set the input keys, or mode: check")
	case c.mode == modeCheck && len(c.want.Names)+len(c.want.Recipients) == 0 && in.Err() == nil:
		in.Wrong("required", "something to check", "neither names nor recipients", "set required, required_from, keys or recipients")
	}
	for _, n := range c.want.Clear {
		if !slices.ContainsFunc(c.want.Names, n.Equal) && in.Err() == nil {
			in.Wrong("allow_unencrypted", "names among keys and required", fmt.Sprintf("%q", n), "correct the input allow_unencrypted")
		}
	}
	return c, in.Err()
}

// reader reads the inputs that only this action has.
type reader struct {
	*action.Inputs
	workspace string
}

func (r reader) names(input string, lines []string) []sopsx.Name {
	var out []sopsx.Name
	for _, line := range lines {
		n, err := sopsx.ParseName(line)
		if err != nil {
			r.Wrong(input, `names such as k3s/token or ["k3s"]["token"], one a line`, fmt.Sprintf("%.200q: %v", line, err), "correct the input "+input)
			continue
		}
		out = append(out, n)
	}
	return out
}

func unique(names []sopsx.Name) []sopsx.Name {
	var out []sopsx.Name
	for _, n := range names {
		if !slices.ContainsFunc(out, n.Equal) {
			out = append(out, n)
		}
	}
	return out
}

// fileName is what a file may be called: one element of a path, not hidden,
// and no option of a command.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$`)

func (r reader) picks() []pick {
	const hint = "write NAME=FILE with another FILE in the input keys"
	var out []pick
	taken := map[string]string{}
	for _, line := range r.Lines("keys") {
		n, rest, err := sopsx.CutName(line)
		if err == nil && rest != "" && !strings.HasPrefix(rest, "=") {
			err = fmt.Errorf("%.200q after the name", rest)
		}
		if err != nil {
			r.Wrong("keys", "NAME or NAME=FILE, one a line", fmt.Sprintf("%.200q: %v", line, err), `correct the input keys; a name is k3s/token or ["k3s"]["token"]`)
			continue
		}
		p := pick{name: n, given: strings.TrimSuffix(line, rest), file: strings.TrimPrefix(rest, "=")}
		if rest == "" {
			p.file = strings.Join(n.Steps(), "-")
		}
		// In small letters, since macOS takes Token and token for one file.
		switch other, twice := taken[strings.ToLower(p.file)]; {
		case !fileName.MatchString(p.file):
			r.Wrong("keys", "file names of letters, digits, '.', '_' and '-', no dot or hyphen first", fmt.Sprintf("%.200q for %q", p.file, n), hint)
		case twice:
			r.Wrong("keys", "one file for each name", fmt.Sprintf("%q for %q and %q", p.file, other, p.given), hint)
		}
		taken[strings.ToLower(p.file)] = p.given
		out = append(out, p)
	}
	if len(out) > maxPick {
		r.Wrong("keys", fmt.Sprintf("at most %d names", maxPick), fmt.Sprint(len(out)), "decrypt them in several steps")
	}
	return out
}

func (r reader) requiredFrom() []sopsx.Name {
	const input = "required_from"
	path := r.Text(input)
	if path == "" {
		return nil
	}
	data := r.workspaceFile(input, path, maxList)
	if data == nil {
		return nil
	}
	var lines []string
	if strings.HasSuffix(path, ".json") {
		if err := json.Unmarshal(data, &lines); err != nil {
			r.Wrong(input, `a JSON list of names, such as ["k3s/token"]`, fmt.Sprintf("something else in %q", path), "correct the file")
			return nil
		}
	} else {
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
	}
	if len(lines) == 0 { // a list that could not be made is often an empty one
		r.Wrong(input, "at least one name in the file", fmt.Sprintf("none in %q", path), "correct the file, or leave the input out")
	}
	return r.names(input, lines)
}

func (r reader) recipients() []string {
	lines := r.Lines("recipients")
	for _, line := range lines {
		if err := sopsx.ParseRecipient(line); err != nil {
			r.Wrong("recipients", "age recipients (age1…), one a line", fmt.Sprintf("%.200q, which %v", line, err), "print the node's with age-keygen -y, or with ssh-to-age")
		}
	}
	return lines
}

func (r reader) identities() []sopsx.Identity {
	path := r.KeyFile("age_key_file")
	if path == "" {
		return nil
	}
	data, err := readFile(os.Open, path, maxKey)
	var ids []sopsx.Identity
	if err == nil {
		ids, err = sopsx.ParseIdentities(data)
	}
	if err != nil {
		r.Wrong("age_key_file", "a file with an age identity, as age-keygen writes it", fmt.Sprintf("%q, which %v", path, err), "correct the file or the input age_key_file")
	}
	return ids
}

// workspaceFile reads a file of the checkout. Neither its path nor a link on
// the way to it may lead out.
func (r reader) workspaceFile(input, path string, limit int64) []byte {
	wrong := func(err error) []byte {
		r.Wrong(input, "a file in the checkout "+r.workspace, fmt.Sprintf("%q, which %v", path, err), "check it out before this step, or correct the input "+input)
		return nil
	}
	root, err := os.OpenRoot(r.workspace)
	if err != nil {
		return wrong(errors.New("has no checkout"))
	}
	defer root.Close()
	if filepath.IsAbs(path) {
		if rel, err := filepath.Rel(r.workspace, path); err == nil {
			path = rel
		}
	}
	if !filepath.IsLocal(path) {
		return wrong(errors.New("leads out of it"))
	}
	data, err := readFile(func(name string) (*os.File, error) { return root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) }, path, limit)
	if err != nil {
		return wrong(err)
	}
	return data
}

// readFile reads a regular file of at most limit bytes.
func readFile(open func(string) (*os.File, error), path string, limit int64) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		if e := (*fs.PathError)(nil); errors.As(err, &e) {
			err = e.Err
		}
		return nil, fmt.Errorf("can't be read: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("has more than %d bytes", limit)
	}
	return data, err
}
