package runnertest

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
)

// ParseFile reads a file such as GITHUB_OUTPUT the way Forgejo's runner v12
// does. lost says that a line of 64 KiB or more ended the reading, which that
// runner does not say. An error fails the step, and nothing of the file counts.
func ParseFile(data []byte) (values map[string]string, lost bool, err error) {
	values = map[string]string{}
	s := bufio.NewScanner(bytes.NewReader(data)) // strips \r at line ends, too
	for s.Scan() {
		line := s.Text()
		single, multi := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case single >= 0 && (multi < 0 || single < multi):
			values[line[:single]] = line[single+1:]
		case multi >= 0:
			var value strings.Builder
			found := false
			for s.Scan() {
				if s.Text() == line[multi+2:] {
					found = true
					break
				}
				if value.Len() > 0 { // and so empty lines at the start are lost
					value.WriteByte('\n')
				}
				value.WriteString(s.Text())
			}
			if s.Err() != nil {
				return values, true, nil // another Scan would give half a line
			}
			if !found {
				return nil, false, fmt.Errorf("delimiter %.100q not found before the end of the file", line[multi+2:])
			}
			values[line[:multi]] = value.String()
		default:
			return nil, false, fmt.Errorf("line %.100q has neither = nor <<", line)
		}
	}
	return values, s.Err() != nil, nil
}
