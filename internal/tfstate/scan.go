package tfstate

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// Meta is what a state says of itself.
type Meta struct {
	// Version is the format, 4 for every OpenTofu; 0 in an encrypted state.
	Version int `json:"version"`
	// Serial grows by one with each change that is persisted.
	Serial uint64 `json:"serial"`
	// Lineage is made once, when the state is; another lineage is another state.
	Lineage string `json:"lineage"`
	// TerraformVersion is the version of the tool that wrote the state.
	TerraformVersion string `json:"terraform_version,omitempty"`
	// Resources counts resource blocks, Instances their instances. Both are -1
	// in an encrypted state, which does not show them.
	Resources int `json:"resources"`
	Instances int `json:"instances"`
	// Encrypted tells a state under OpenTofu's encryption block: serial and
	// lineage stay readable beside encryption_version and encrypted_data.
	Encrypted bool `json:"encrypted,omitempty"`
}

var errEmpty = errors.New("0 bytes, which is what a killed tofu leaves behind")

// scanner finds the Meta of a state in one pass over a stream of any size and
// any chunking. It is not a JSON validator: OpenTofu reads the state anyway
// when it plans. It finds what a validator would not look for: a state that is
// cut short, empty, or a document of another kind.
type scanner struct {
	meta Meta

	depth     int
	key       [4][]byte // last key seen at depth 1 to 3
	str       []byte    // the string being read, when it is kept
	keep      bool
	inString  bool
	escaped   bool
	isKey     bool // the last string was followed by a colon
	scalar    []byte
	seen      map[string]bool
	bytes     int64
	ended     bool // the top-level object is closed
	malformed error
}

func newScanner() *scanner { return &scanner{seen: map[string]bool{}} }

const eightBlanks = 0x2020202020202020

func (s *scanner) Write(p []byte) (int, error) {
	n := len(p)
	s.bytes += int64(n)
	for i := 0; i < len(p); {
		if s.inString {
			i += s.stringBytes(p[i:])
			continue
		}
		c := p[i]
		i++
		switch c {
		case '\n':
			// A state is indented: a third of it is these blanks.
			for i+8 <= len(p) && binary.LittleEndian.Uint64(p[i:]) == eightBlanks {
				i += 8
			}
		case ' ', '\t', '\r':
		case '"':
			s.inString = true
			s.keep = s.depth <= 3
			s.str = s.str[:0]
		case ':':
			if s.depth <= 3 && s.depth > 0 {
				s.key[s.depth] = append(s.key[s.depth][:0], s.str...)
				s.isKey = true
				s.scalar = s.scalar[:0]
			}
		case '{', '[':
			s.open(c)
		case '}', ']':
			s.endScalar()
			s.depth--
			if s.depth == 0 {
				s.ended = true
			}
			if s.depth < 0 {
				s.fail("a bracket closes that was never opened")
				s.depth = 0
			}
		case ',':
			s.endScalar()
		default:
			if s.depth == 0 {
				s.fail(fmt.Sprintf("%q outside the document", c))
			}
			if s.depth == 1 && s.isKey && len(s.scalar) < 64 {
				s.scalar = append(s.scalar, c)
			}
		}
	}
	return n, nil
}

func (s *scanner) fail(what string) {
	if s.malformed == nil {
		s.malformed = fmt.Errorf("%s, at byte %d or before", what, s.bytes)
	}
}

// stringBytes consumes p up to the end of the string that is open and returns
// how many bytes that were.
func (s *scanner) stringBytes(p []byte) int {
	i := 0
	if s.escaped {
		s.escaped = false
		s.keepBytes(p[:1])
		i = 1
	}
	for {
		q := bytes.IndexByte(p[i:], '"')
		end := q
		if q < 0 {
			end = len(p) - i
		}
		b := bytes.IndexByte(p[i:i+end], '\\')
		if b < 0 {
			s.keepBytes(p[i : i+end])
			if q < 0 {
				return len(p)
			}
			s.inString = false
			s.endString()
			return i + q + 1
		}
		// An escape: the next byte is part of the string, whatever it is.
		if i+b+1 >= len(p) {
			s.keepBytes(p[i:])
			s.escaped = true
			return len(p)
		}
		s.keepBytes(p[i : i+b+2])
		i += b + 2
	}
}

func (s *scanner) keepBytes(p []byte) {
	if s.keep && len(s.str) < 256 {
		s.str = append(s.str, p[:min(len(p), 256)]...)
	}
}

// endString takes a string value at the top level.
func (s *scanner) endString() {
	if s.depth != 1 || !s.isKey {
		return
	}
	switch string(s.key[1]) {
	case "lineage":
		s.text("lineage", &s.meta.Lineage)
	case "terraform_version":
		s.text("terraform_version", &s.meta.TerraformVersion)
	case "encryption_version", "encrypted_data":
		s.seen[string(s.key[1])] = true
	}
	s.isKey = false
}

func (s *scanner) text(key string, into *string) {
	var v string
	if err := json.Unmarshal(append(append([]byte{'"'}, s.str...), '"'), &v); err != nil {
		s.fail("an unreadable " + key)
		return
	}
	if s.seen[key] {
		s.fail("a second " + key)
	}
	s.seen[key] = true
	*into = v
}

// open enters an object or array and counts it if it is a resource or an
// instance: the elements of resources[] and of resources[].instances[].
func (s *scanner) open(c byte) {
	if s.depth == 0 && (s.ended || c != '{') {
		s.fail("something else than one JSON object")
	}
	if c == '{' && s.depth >= 2 && string(s.key[1]) == "resources" {
		switch s.depth {
		case 2:
			s.meta.Resources++
		case 4:
			if string(s.key[3]) == "instances" {
				s.meta.Instances++
			}
		}
	}
	if s.depth == 1 {
		s.seen[string(s.key[1])] = true
	}
	s.isKey = false
	s.depth++
	if s.depth <= 3 {
		s.key[s.depth] = s.key[s.depth][:0]
	}
}

// endScalar takes a number at the top level.
func (s *scanner) endScalar() {
	if s.depth == 1 && s.isKey && len(s.scalar) > 0 {
		var into any
		key := string(s.key[1])
		switch key {
		case "version":
			into = &s.meta.Version
		case "serial":
			into = &s.meta.Serial
		}
		if into != nil {
			if s.seen[key] {
				s.fail("a second " + key)
			}
			if err := json.Unmarshal(s.scalar, into); err != nil {
				s.fail(fmt.Sprintf("an unreadable %s %q", key, s.scalar))
			}
			s.seen[key] = true
		}
	}
	s.isKey = false
	s.scalar = s.scalar[:0]
}

// Meta returns what was found, or an error unless it was one whole state:
// `tofu show -json` takes {"version":4} for a state, this does not.
func (s *scanner) Meta() (Meta, error) {
	m := s.meta
	m.Encrypted = s.seen["encryption_version"] && s.seen["encrypted_data"]
	if m.Encrypted {
		m.Resources, m.Instances = -1, -1
	}
	var wrong []error
	switch {
	case s.bytes == 0:
		return Meta{}, errEmpty
	case s.malformed != nil:
		wrong = append(wrong, s.malformed)
	case !s.ended || s.depth != 0 || s.inString:
		wrong = append(wrong, fmt.Errorf("it is cut short: %d brackets are still open after %d bytes", s.depth, s.bytes))
	}
	if m.Version == 4 && s.seen["serial"] && s.seen["lineage"] && s.seen["resources"] && m.Serial == 0 && m.Lineage == "" && m.Resources == 0 && wrong == nil {
		return Meta{}, ErrNoState // what state pull prints where a backend holds none
	}
	if !m.Encrypted && (!s.seen["version"] || m.Version != 4) {
		wrong = append(wrong, fmt.Errorf("its version is %d, not 4", m.Version))
	}
	if !s.seen["serial"] {
		wrong = append(wrong, errors.New("it has no serial"))
	}
	if m.Lineage == "" {
		wrong = append(wrong, errors.New("it has no lineage"))
	}
	if !m.Encrypted && !s.seen["resources"] {
		wrong = append(wrong, errors.New("it has no list of resources"))
	}
	return m, errors.Join(wrong...)
}
