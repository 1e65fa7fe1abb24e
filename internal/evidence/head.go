package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/files"
)

// HeadSchema names the format of a head.
const HeadSchema = "edge-actions/evidence-head/v1"

// The files of a ledger.
const (
	EntriesFile = "ledger.jsonl"
	HeadFile    = "head.json"
	lockName    = "lock"
	tornPrefix  = "torn-"
)

// head names the end of the ledger: without it, lines that are cut off at the
// end would be missed by nobody. Its document and its signature are in one file,
// which is replaced at once: two would not fit each other after a kill.
type head struct {
	Schema string `json:"schema"`
	// Seq and SHA256 are of the last line; 0 and 64 zeros before there is one.
	Seq    int64  `json:"seq"`
	SHA256 string `json:"sha256"`
	// Offset is where the last line begins and Size where it ends, so that an
	// append reads no other.
	Offset int64     `json:"offset"`
	Size   int64     `json:"size"`
	Time   time.Time `json:"time"`
}

func (h head) mark() Mark { return Mark{h.Seq, h.SHA256} }

// firstPrevious is what the first entry follows.
func firstPrevious() string { return strings.Repeat("0", 64) }

func newHead(now time.Time) head {
	return head{Schema: HeadSchema, SHA256: firstPrevious(), Time: stamp(now)}
}

// stamp is a time as it is written.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// errNoHead says that there is no file of a head.
var errNoHead = errors.New("there is no " + HeadFile)

// readHead returns errNoHead if there is none, and an *fs.PathError if it can't
// be read; any other error is of a head that is not as it was written.
func readHead(dir string, keys keyring) (head, error) {
	data, err := os.ReadFile(filepath.Join(dir, HeadFile))
	if errors.Is(err, os.ErrNotExist) {
		return head{}, errNoHead
	}
	if err != nil {
		return head{}, err
	}
	return parseHead(data, keys)
}

func parseHead(data []byte, keys keyring) (head, error) {
	document, sig, err := unseal("head", data)
	if err != nil {
		return head{}, err
	}
	if err := keys.verify(document, sig); err != nil {
		return head{}, fmt.Errorf("its signature does not hold: %w", err)
	}
	var h head
	if err := json.Unmarshal(document, &h); err != nil || h.Schema != HeadSchema {
		return head{}, fmt.Errorf("it is signed, and not of the form %s", HeadSchema)
	}
	if h.Seq < 0 || h.Offset < 0 || h.Size < h.Offset || h.Size-h.Offset > maxLine || (h.Seq == 0) != (h.Size == 0) {
		return head{}, errors.New("it is signed, and its numbers make no sense")
	}
	return h, keys.permit(sig, h.Time)
}

// write puts the head in its place. A kill leaves the old one or the new one.
func (l *Ledger) writeHead(h head) error {
	line, err := seal("head", h, l.Signer)
	if err != nil {
		return err
	}
	return files.Write(filepath.Join(l.Dir, HeadFile), line)
}
