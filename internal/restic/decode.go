package restic

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxAnswer bounds one line of an answer: a snapshot with all its paths fits.
const maxAnswer = 16 << 20

// lines calls yield with each line of r. A last line without its end was cut
// off, and is an error.
func lines(r io.Reader, yield func(line []byte) error) error {
	br := bufio.NewReaderSize(r, 256<<10)
	var long []byte
	for {
		part, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) && len(long)+len(part) <= maxAnswer {
			long = append(long, part...)
			continue
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return unreadable("lines of at most %d bytes from restic", maxAnswer, "a longer one")
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		line := part
		if len(long) > 0 {
			line = append(long, part...)
			long = long[:0]
		}
		if err != nil {
			if len(bytes.TrimSpace(line)) > 0 {
				return unreadable("whole lines from restic", "one that was cut off")
			}
			return nil
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := yield(line); err != nil {
			return err
		}
	}
}
