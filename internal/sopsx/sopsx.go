// Package sopsx reads SOPS files with age keys: which names are in one, who
// can read it, and what it holds. It is the only importer of sops, and takes
// from it what the file format is: the metadata, the rules for what is
// encrypted, the cipher and the MAC. The data key is opened with the given age identities alone: no KMS, no PGP, no
// network, no child and nothing from the environment.
//
// It refuses a file whose MAC is wrong, always. No value of a file, encrypted
// or not, is ever part of an error: sops itself quotes them in its own.
package sopsx

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"edge-actions/internal/verdict"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/stores"
)

const (
	// MaxFile is the largest file that is read. YAML takes a hundred times its
	// size in memory.
	MaxFile = 4 << 20
	// maxNames and maxRule bound the work: sops compiles the rule anew for each
	// step of each name.
	maxNames = 10_000
	maxRule  = 1_000
	maxKeys  = 1_000
)

// Format is one of sops' own formats, under sops' own name.
type Format string

// The formats of sops.
const (
	YAML   Format = "yaml"
	JSON   Format = "json"
	Dotenv Format = "dotenv"
	INI    Format = "ini"
	// Binary is one value, named "data", in a JSON envelope.
	Binary Format = "binary"
)

// FormatOf returns the format that sops takes a file of this name for.
func FormatOf(path string) Format {
	for suffix, format := range map[string]Format{".yaml": YAML, ".yml": YAML, ".json": JSON, ".env": Dotenv, ".ini": INI} {
		if strings.HasSuffix(path, suffix) {
			return format
		}
	}
	return Binary
}

// File is an encrypted file that was read and not decrypted.
type File struct {
	data    []byte
	format  Format
	meta    sops.Metadata
	entries []Entry
	byName  map[string]int // of entries, by Name.key
}

// Entry is one value of a file.
type Entry struct {
	Name  Name
	State State
}

// Read reads an encrypted file. Its errors are checks with the id sops-file.
func Read(data []byte, format Format) (*File, error) {
	tree, err := load(data, format)
	if err != nil {
		return nil, notSOPS(format, err)
	}
	f := &File{data: data, format: format, meta: tree.Metadata, byName: map[string]int{}}
	if err := checkMetadata(tree.Metadata); err != nil {
		return nil, notSOPS(format, err)
	}
	if f.entries, err = entries(tree); err != nil {
		return nil, notSOPS(format, err)
	}
	for i, e := range f.entries {
		if _, twice := f.byName[e.Name.key()]; twice {
			return nil, notSOPS(format, fmt.Errorf("the name %q is there twice", e.Name))
		}
		f.byName[e.Name.key()] = i
	}
	return f, nil
}

func notSOPS(format Format, err error) error {
	return verdict.Refuse("sops-file", fmt.Sprintf("a file that sops encrypted, as %s", format), err.Error(), "encrypt it with sops, or correct the path or the format")
}

// load reads the values of a file and has sops read its metadata.
func load(data []byte, format Format) (tree sops.Tree, err error) {
	defer func() {
		if recover() != nil { // its words may be the file's
			err = errors.New("something that can't be read: a defect in the reader")
		}
	}()
	if len(data) > MaxFile {
		return tree, fmt.Errorf("more than %d bytes", MaxFile)
	}
	branch, err := parse(data, format)
	if err != nil {
		return tree, err
	}
	var how stores.MetadataOpts
	switch format {
	case Dotenv:
		how.Flatten = stores.MetadataFlattenFull
	case INI:
		how = stores.MetadataOpts{Flatten: stores.MetadataFlattenBelowTop, EscapeNewlines: true}
	}
	tree.Branches, tree.Metadata, err = stores.ExtractMetadata(sops.TreeBranches{branch}, how)
	switch {
	case errors.Is(err, sops.MetadataNotFound):
		err = errors.New("no sops metadata in it: it is not encrypted, or it has another format")
	case err != nil:
		err = errors.New("sops metadata that sops can't read") // its words quote them
	}
	return tree, err
}

func checkMetadata(m sops.Metadata) error {
	keys := 0
	for _, group := range m.KeyGroups {
		keys += len(group)
	}
	switch {
	case keys > maxKeys:
		return fmt.Errorf("%d keys, more than %d", keys, maxKeys)
	case m.ShamirThreshold < 0 || m.ShamirThreshold > max(1, len(m.KeyGroups)):
		return fmt.Errorf("a shamir_threshold of %d for %d key groups", m.ShamirThreshold, len(m.KeyGroups))
	case !sealed.MatchString(m.MessageAuthenticationCode):
		return errors.New("no encrypted mac in its metadata, so nothing vouches for its values")
	case m.UnencryptedCommentRegex != "" || m.EncryptedCommentRegex != "":
		return errors.New("a rule that goes by comments (encrypted_comment_regex), which is not followed here: use a suffix or a regex of the keys")
	}
	for _, rule := range []string{m.UnencryptedSuffix, m.EncryptedSuffix, m.UnencryptedRegex, m.EncryptedRegex} {
		if len(rule) > maxRule {
			return fmt.Errorf("a rule of %d bytes for what is encrypted, more than %d", len(rule), maxRule)
		}
	}
	for _, rule := range []string{m.UnencryptedRegex, m.EncryptedRegex} {
		if _, err := regexp.Compile(rule); err != nil { // sops ignores it, and with it the rule
			return errors.New("a rule for what is encrypted that is no regular expression")
		}
	}
	return nil
}

// Entries returns the values of the file in their order.
func (f *File) Entries() []Entry { return slices.Clone(f.entries) }

// Names returns the names of the values as they are written.
func (f *File) Names() []string {
	names := make([]string, 0, len(f.entries))
	for _, e := range f.entries {
		names = append(names, e.Name.String())
	}
	return names
}

// Groups returns the age recipients of each key group. Each group can open one
// part of the data key, and Needed of them are enough.
func (f *File) Groups() [][]string {
	groups := make([][]string, len(f.meta.KeyGroups))
	for i, group := range f.meta.KeyGroups {
		for _, key := range group {
			if key, ok := key.(*age.MasterKey); ok {
				groups[i] = append(groups[i], key.Recipient)
			}
		}
	}
	return groups
}

// Needed is how many key groups it takes to read the file.
func (f *File) Needed() int {
	groups := len(f.meta.KeyGroups)
	if groups > 1 && f.meta.ShamirThreshold > 0 {
		return f.meta.ShamirThreshold
	}
	return groups
}

// Recipients returns the age recipients of all key groups, sorted, each once.
func (f *File) Recipients() []string {
	all := map[string]bool{}
	for _, group := range f.Groups() {
		for _, r := range group {
			all[r] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// GroupsOf counts the key groups that one of the recipients is in.
func (f *File) GroupsOf(recipients ...string) int {
	n := 0
	for _, group := range f.Groups() {
		if slices.ContainsFunc(group, func(r string) bool { return slices.Contains(recipients, r) }) {
			n++
		}
	}
	return n
}

// otherKeys counts the keys that are no age keys.
func (f *File) otherKeys() int {
	n := 0
	for i, group := range f.Groups() {
		n += len(f.meta.KeyGroups[i]) - len(group)
	}
	return n
}
