package restic

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Node is one entry of a snapshot. Path is foreign text; restic replaces what
// is not UTF-8 in it. What restic ls does not tell (the names of owner and
// group, the target of a link, the count of hard links) is not here either.
type Node struct {
	Path string `json:"path"`
	// Type is file, dir, symlink, dev, chardev, fifo, socket or irregular.
	Type    string      `json:"type"`
	Size    uint64      `json:"size"` // of a file
	Mode    fs.FileMode `json:"mode"`
	UID     uint32      `json:"uid"`
	GID     uint32      `json:"gid"`
	ModTime time.Time   `json:"mtime"`
	Inode   uint64      `json:"inode"`
}

// Ls calls yield with each entry of a snapshot, as they come. An error of yield
// ends restic and is returned.
func (c *Client) Ls(ctx context.Context, id string, yield func(Node) error) error {
	seen := false
	return c.ask(ctx, &stderr{}, func(r io.Reader) error {
		err := lines(r, func(line []byte) error {
			if !seen {
				seen = true
				return header(line, id)
			}
			var n struct {
				Node
				StructType string `json:"struct_type"`
			}
			if err := json.Unmarshal(line, &n); err != nil {
				return unreadable("the entries of snapshot %.8s", id, err)
			}
			if n.StructType != "node" || len(n.Path) < 2 || n.Path[0] != '/' || n.Type == "" {
				return unreadable("an entry of snapshot %.8s", id, fmt.Sprintf("%.200q", line))
			}
			return yield(n.Node)
		})
		if err == nil && !seen {
			err = unreadable("the entries of snapshot %.8s", id, "nothing")
		}
		return err
	}, "ls", id)
}

// header is the first line of an answer: of which snapshot it is.
func header(line []byte, id string) error {
	var s struct {
		ID         string `json:"id"`
		StructType string `json:"struct_type"`
	}
	if err := json.Unmarshal(line, &s); err != nil {
		return unreadable("the entries of snapshot %.8s", id, err)
	}
	if s.ID != id || s.StructType != "snapshot" {
		return unreadable("the entries of snapshot %.8s", id, fmt.Sprintf("those of %.100q", s.ID))
	}
	return nil
}

// Stats is what a restore of a snapshot takes.
type Stats struct {
	Bytes uint64
	// Files counts directories and links too.
	Files uint64
}

// RestoreSize asks how much a whole restore of a snapshot takes.
func (c *Client) RestoreSize(ctx context.Context, id string) (Stats, error) {
	out, err := c.answer(ctx, 64<<10, "stats", id, "--mode=restore-size")
	if err != nil {
		return Stats{}, err
	}
	var s struct {
		Size      *uint64 `json:"total_size"`
		Files     *uint64 `json:"total_file_count"`
		Snapshots uint64  `json:"snapshots_count"`
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return Stats{}, unreadable("the size of snapshot %.8s", id, err)
	}
	// A snapshot that is not there is a warning and exit code 0.
	if s.Snapshots != 1 || s.Size == nil {
		return Stats{}, unreadable("the size of snapshot %.8s", id, fmt.Sprintf("that of %d snapshots", s.Snapshots))
	}
	stats := Stats{Bytes: *s.Size}
	if s.Files != nil {
		stats.Files = *s.Files
	}
	return stats, nil
}
