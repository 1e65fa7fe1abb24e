package tfstate

import (
	"bufio"
	"io"
)

// Indenter writes a JSON document as OpenTofu writes a local state. What it
// pulls from another backend is one line; put into a file like that, the next
// apply without changes would write it anew, with the same serial and other
// bytes, which is how an edited state looks (seen with 1.12.6).
type Indenter struct {
	w     *bufio.Writer
	depth int
	// opened: a bracket was, and whether anything is in it is not known yet.
	opened, inString, escaped bool
}

// NewIndenter returns an Indenter that writes to w. Flush it.
func NewIndenter(w io.Writer) *Indenter { return &Indenter{w: bufio.NewWriterSize(w, 256<<10)} }

// Write implements io.Writer.
func (n *Indenter) Write(p []byte) (int, error) {
	for _, b := range p {
		n.byte(b)
	}
	return len(p), nil // an error of a bufio.Writer stays, for Flush
}

// Flush ends the document, as OpenTofu does: with a line end of the document's
// own and one of the file's (internal/states/statemgr/filesystem.go, v1.12).
func (n *Indenter) Flush() error {
	n.put('\n')
	n.put('\n')
	return n.w.Flush()
}

func (n *Indenter) byte(b byte) {
	if n.inString {
		n.inString = n.escaped || b != '"'
		n.escaped = !n.escaped && b == '\\'
		n.put(b)
		return
	}
	switch b {
	case ' ', '\t', '\r', '\n':
		return
	case '}', ']':
		if n.opened {
			n.opened = false
		} else {
			n.depth--
			n.line()
		}
		n.put(b)
		return
	}
	if n.opened {
		n.opened = false
		n.depth++
		n.line()
	}
	n.put(b)
	switch b {
	case '"':
		n.inString = true
	case '{', '[':
		n.opened = true
	case ',':
		n.line()
	case ':':
		n.put(' ')
	}
}

func (n *Indenter) line() {
	n.put('\n')
	for range n.depth {
		n.put(' ')
		n.put(' ')
	}
}

func (n *Indenter) put(b byte) {
	n.w.WriteByte(b) //nolint:errcheck // Flush returns it
}
