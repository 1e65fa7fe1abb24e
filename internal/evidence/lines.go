package evidence

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"edge-actions/internal/signature"
)

func digest(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// line is one line of the file, with its newline.
type line struct {
	number, offset int64
	text           []byte
}

// lines reads whole lines. What comes after the last newline is left.
type lines struct {
	r              *bufio.Reader
	number, offset int64
	// left is the length of what has no newline.
	left int64
}

func newLines(r io.Reader, number, offset int64) *lines {
	return &lines{r: bufio.NewReaderSize(r, 256<<10), number: number, offset: offset}
}

// next returns io.EOF when there is no whole line any more, and a finding for
// one that is longer than any entry.
func (l *lines) next() (line, error) {
	var text []byte
	for {
		part, err := l.r.ReadSlice('\n')
		text = append(text, part...)
		if len(text) > maxLine {
			return line{}, find(Edited, l.number, l.offset, "it is longer than any entry")
		}
		switch {
		case err == nil:
			out := line{l.number, l.offset, text}
			l.number++
			l.offset += int64(len(text))
			return out, nil
		case err == io.EOF:
			l.left = int64(len(text))
			return line{}, io.EOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return line{}, err
		}
	}
}

// judged is a line that was looked at by itself.
type judged struct {
	line
	sum   string
	entry *Entry // of a signed one, and nil if wrong is not
	wrong *Finding
}

// judge holds a line against its signature and decodes it.
func judge(l line, keys keyring) judged {
	out := judged{line: l, sum: digest(l.text)}
	wrong := func(kind Kind, format string, args ...any) judged {
		out.wrong = find(kind, l.number, l.offset, format, args...)
		return out
	}
	document, sig, err := unseal("entry", l.text)
	if err != nil {
		return wrong(Edited, "it is no entry: %v", err)
	}
	unknown := (*signature.UnknownKeyError)(nil)
	if err := keys.verify(document, sig); errors.As(err, &unknown) {
		return wrong(ForeignKey, "it is signed, %v", unknown)
	} else if err != nil {
		return wrong(Edited, "its signature does not hold: %v", err)
	}
	e := &Entry{}
	if err := json.Unmarshal(document, e); err != nil {
		return wrong(NotOurs, "it is signed, and no entry: %.200q", fmt.Sprint(err))
	}
	if e.Schema != Schema {
		return wrong(NotOurs, "it is signed, and of the form %.100q instead of %s", e.Schema, Schema)
	}
	if err := keys.permit(sig, e.Time); err != nil {
		return wrong(ForeignKey, "it is signed %v", err)
	}
	out.entry = e
	return out
}
