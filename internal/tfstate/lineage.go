package tfstate

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"

	"edge-actions/internal/files"
)

// noLineage is how OpenTofu writes it, among the first lines of the file.
const noLineage = `"lineage": ""`

// GiveLineage gives the state at path a lineage if it has none, and changes
// nothing else. OpenTofu leaves such a one when a stack's very first write fails:
// it makes the lineage when it first meets the backend, which was gone (seen with
// 1.12.6). Without one nobody could tell it from another state's.
func GiveLineage(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 4<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	before, after, found := bytes.Cut(head[:n], []byte(noLineage))
	if !found || bytes.Contains(before, []byte(`"outputs"`)) { // what comes from there on is the stack's own
		return nil
	}
	var id [16]byte
	rand.Read(id[:])
	given := fmt.Sprintf(`"lineage": "%x-%x-%x-%x-%x"`, id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	return files.WriteFrom(path, func(w io.Writer) error {
		_, err := io.Copy(w, io.MultiReader(bytes.NewReader(before), bytes.NewReader([]byte(given)), bytes.NewReader(after), f))
		return err
	})
}
