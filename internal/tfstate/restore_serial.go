package tfstate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// CopySerial copies a state and changes nothing in it but its serial. The
// bytes around it stay as they are: a state that was decoded and written again
// would lose what this program does not know of.
func CopySerial(dst io.Writer, src io.Reader, serial uint64) error {
	r, w := bufio.NewReaderSize(src, 256<<10), bufio.NewWriterSize(dst, 256<<10)
	c := &serialCopy{r: r, w: w, serial: strconv.FormatUint(serial, 10)}
	for {
		b, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = c.byte(b)
		}
		if err != nil {
			return err
		}
	}
	if c.found != 1 {
		return fmt.Errorf("wanted one serial in the state, found %d", c.found)
	}
	return w.Flush()
}

// serialCopy is where CopySerial is in the document.
type serialCopy struct {
	r      *bufio.Reader
	w      *bufio.Writer
	serial string
	found  int

	depth    int
	inString bool
	escaped  bool
	last     []byte // the last string at the top level
}

func (c *serialCopy) byte(b byte) error {
	if c.inString {
		switch {
		case c.escaped:
			c.escaped = false
		case b == '\\':
			c.escaped = true
		case b == '"':
			c.inString = false
		}
		if c.inString && c.depth == 1 && len(c.last) < 64 {
			c.last = append(c.last, b)
		}
		return c.w.WriteByte(b)
	}
	switch b {
	case '"':
		c.inString, c.last = true, c.last[:0]
	case '{', '[':
		c.depth++
	case '}', ']':
		c.depth--
	case ':':
		if err := c.w.WriteByte(b); err != nil {
			return err
		}
		if c.depth == 1 && string(c.last) == "serial" {
			return c.number()
		}
		return nil
	}
	return c.w.WriteByte(b)
}

// number writes the new serial in the place of the one that follows.
func (c *serialCopy) number() error {
	digits := 0
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return fmt.Errorf("reading the serial: %w", err)
		}
		switch {
		case b >= '0' && b <= '9':
			digits++
		case digits == 0 && (b == ' ' || b == '\t' || b == '\n' || b == '\r'):
			if err := c.w.WriteByte(b); err != nil {
				return err
			}
		case digits == 0 || b == '.' || b == 'e' || b == 'E':
			return fmt.Errorf("wanted a whole number as the serial, found %q in it", b)
		default:
			c.found++
			if _, err := c.w.WriteString(c.serial); err != nil {
				return err
			}
			return c.r.UnreadByte()
		}
	}
}
