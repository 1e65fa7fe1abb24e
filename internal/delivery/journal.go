package delivery

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"edge-actions/internal/files"
)

// Journal remembers on the runner which run was started for which handoff, so
// that a delivery that was cut is completed and not begun again.
type Journal struct{ Dir string }

const journalSchema = "edge-actions/delivery/v1"

type entry struct {
	Schema string `json:"schema"`
	Key    string `json:"key"`
	// SHA256 is of the handoff, RunID of the run that was started for it.
	SHA256 string `json:"sha256"`
	// Asked: a run was about to be started, when Before was the newest one.
	Asked  bool  `json:"asked,omitempty"`
	Before int64 `json:"before,omitempty"`
	RunID  int64 `json:"run_id"`
	// URL is the run's page.
	URL string `json:"url,omitempty"`
	// Done: it ended well.
	Done bool `json:"done"`
}

func (j *Journal) path(key string) string {
	return filepath.Join(j.Dir, fmt.Sprintf("%x.json", sha256.Sum256([]byte(key))))
}

// read returns the last entry, an empty one if there is none.
func (j *Journal) read(key string) (entry, error) {
	data, err := os.ReadFile(j.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, err
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil || e.Schema != journalSchema || e.Key != key {
		return entry{}, fmt.Errorf("%s is no record of deliveries to %s", j.path(key), key)
	}
	return e, nil
}

func (j *Journal) write(key string, e entry) error {
	e.Schema, e.Key = journalSchema, key
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(j.Dir, 0o700); err != nil {
		return err
	}
	return files.Write(j.path(key), append(data, '\n'))
}
