package restic

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Config identifies a repository.
type Config struct {
	ID      string // 64 hex digits, drawn when the repository was made
	Version int    // of its format
}

// Config reads which repository this is. A new one in the place of the old one
// looks the same in everything else.
func (c *Client) Config(ctx context.Context) (Config, error) {
	out, err := c.answer(ctx, 64<<10, "cat", "config")
	if err != nil {
		return Config{}, err
	}
	var config Config
	if err := json.Unmarshal(out, &config); err != nil {
		return Config{}, unreadable("the configuration of %s", c.repo, err)
	}
	if !fullID.MatchString(config.ID) || config.Version < 1 {
		return Config{}, unreadable("a repository id and a version of %s", c.repo, fmt.Sprintf("%.200q", config.ID))
	}
	return config, nil
}

// Snapshot is one snapshot as its writer described it: whoever may add to the
// repository may write anything into it, a time in the future too.
type Snapshot struct {
	ID             string    `json:"id"`
	ShortID        string    `json:"short_id"`
	Time           time.Time `json:"time"`
	Hostname       string    `json:"hostname"`
	Username       string    `json:"username"`
	Paths          []string  `json:"paths"`
	Tags           []string  `json:"tags"`
	Excludes       []string  `json:"excludes"`
	Tree           string    `json:"tree"`
	Parent         string    `json:"parent"`
	ProgramVersion string    `json:"program_version"`
	// Summary is nil before restic 0.17 and where a snapshot was rewritten.
	Summary *Summary `json:"summary"`
}

// Summary is what the backup counted.
type Summary struct {
	BackupStart         time.Time `json:"backup_start"`
	BackupEnd           time.Time `json:"backup_end"`
	FilesNew            uint64    `json:"files_new"`
	FilesChanged        uint64    `json:"files_changed"`
	FilesUnmodified     uint64    `json:"files_unmodified"`
	DirsNew             uint64    `json:"dirs_new"`
	DirsChanged         uint64    `json:"dirs_changed"`
	DirsUnmodified      uint64    `json:"dirs_unmodified"`
	DataAdded           uint64    `json:"data_added"`
	TotalFilesProcessed uint64    `json:"total_files_processed"`
	TotalBytesProcessed uint64    `json:"total_bytes_processed"`
}

// Snapshots returns all snapshots, in no order that means anything. restic
// leaves out what it can't load, and all if it can't list them, with exit code
// 0 ("Ignoring …", "could not load snapshots"); and RESTIC_HOST, which a wrapper
// may set, hides the others. So the ids are listed too, and each of them has to
// be there.
func (c *Client) Snapshots(ctx context.Context) ([]Snapshot, error) {
	var ids []string
	var listing error
	listed := make(chan struct{})
	// At once: each restic works on its key for half a second before it asks.
	go func() {
		defer close(listed)
		ids, listing = c.list(ctx, "snapshots")
	}()
	all, _, err := c.show(ctx)
	<-listed
	if err = cmp.Or(listing, err); err != nil {
		return nil, err
	}
	if len(hidden(ids, all)) == 0 {
		return all, nil
	}
	// One may have come after they were shown: once more, in this order.
	if ids, err = c.list(ctx, "snapshots"); err != nil {
		return nil, err
	}
	all, said, err := c.show(ctx)
	if err != nil {
		return nil, err
	}
	missing := hidden(ids, all)
	if len(missing) == 0 {
		return all, nil
	}
	// It may have been forgotten in between.
	if ids, err = c.list(ctx, "snapshots"); err != nil {
		return nil, err
	}
	missing = slices.DeleteFunc(missing, func(id string) bool { return !slices.Contains(ids, id) })
	if len(missing) > 0 {
		found := fmt.Sprintf("%d that restic does not show, %s the first", len(missing), missing[0])
		if said != "" {
			found += fmt.Sprintf(": %q", said)
		}
		return nil, unreadable("all snapshots of %s", c.repo, found)
	}
	return all, nil
}

// show returns the snapshots that restic shows, and what it says beside them.
func (c *Client) show(ctx context.Context) (all []Snapshot, said string, err error) {
	stderr := &stderr{}
	err = c.ask(ctx, stderr, func(r io.Reader) error {
		all, err = decodeSnapshots(r)
		return err
	}, "snapshots")
	return all, stderr.words(), err
}

func hidden(ids []string, all []Snapshot) []string {
	shown := make(map[string]bool, len(all))
	for _, s := range all {
		shown[s.ID] = true
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return shown[id] })
}

func decodeSnapshots(r io.Reader) ([]Snapshot, error) {
	d := json.NewDecoder(r)
	if token, err := d.Token(); err != nil || token != json.Delim('[') {
		return nil, unreadable("a list of snapshots", orError(err, "something else"))
	}
	all := []Snapshot{}
	for d.More() {
		var s struct {
			Snapshot
			Time *time.Time `json:"time"` // goes before the one inside
		}
		if err := d.Decode(&s); err != nil {
			return nil, unreadable("a list of snapshots", err)
		}
		// No more than this: a strange snapshot that somebody planted is not to
		// hide the others.
		if !fullID.MatchString(s.ID) || s.Time == nil {
			return nil, unreadable("snapshots with an id and a time", fmt.Sprintf("one with the id %.100q", s.ID))
		}
		s.Snapshot.Time = *s.Time
		all = append(all, s.Snapshot)
	}
	if _, err := d.Token(); err != nil {
		return nil, unreadable("a whole list of snapshots", err)
	}
	if token, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, unreadable("one list of snapshots", orError(err, fmt.Sprintf("%v after it", token)))
	}
	return all, nil
}

// orError is err, or if there is none what else was found.
func orError(err error, found string) any {
	if err != nil {
		return err
	}
	return found
}

// list returns the ids of the repository's files of one kind.
func (c *Client) list(ctx context.Context, kind string) ([]string, error) {
	var ids []string
	err := c.ask(ctx, &stderr{}, func(r io.Reader) error {
		return lines(r, func(line []byte) error {
			id := string(bytes.Trim(line, `"`))
			if !fullID.MatchString(id) {
				return unreadable("the ids of %s", kind, fmt.Sprintf("%.100q", line))
			}
			ids = append(ids, strings.Clone(id))
			return nil
		})
	}, "list", kind)
	return ids, err
}
