package rclone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
)

// The ids of the refusals of a Tree. All are unproven but NoDirectory.
const (
	// NoDirectory: the remote answers and there is no such directory (exit code
	// 3). Some remotes have no directories and list nothing instead.
	NoDirectory = "rclone-directory"
	// Timeout: rclone did not end before the deadline.
	Timeout = "rclone-timeout"
	// Failed: anything else, a remote that can't be reached among it.
	Failed = "rclone-failed"
)

// Tree is what lies below one place on an rclone remote, to be read and never
// written.
type Tree struct {
	Path    string // of rclone
	Base    string // "remote:path"
	Config  string // rclone's configuration; "" is the user's own
	Env     []string
	Timeout time.Duration // of each command
}

// Object is one file of a Tree. Path is foreign text, relative to the place.
type Object struct {
	Path string `json:"Path"`
	Size int64  `json:"Size"` // bytes; -1 where the remote does not know it
	// SHA256 is lower-case hex, "" where the remote has none. A remote on a disk
	// reads the file for it.
	SHA256 string `json:"-"`
}

// readOnly are the only subcommands of a Tree.
var readOnly = []string{"lsjson", "cat"}

// Objects calls yield with each file, as they come. Where there is none, it
// says so by calling it never.
func (t *Tree) Objects(ctx context.Context, yield func(Object) error) error {
	pr, pw := io.Pipe()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		err := t.run(ctx, pw, "lsjson", "--recursive", "--files-only", "--hash", "--hash-type", "sha256", "--no-modtime", "--no-mimetype", t.Base)
		pw.CloseWithError(err)
		ended <- err
	}()
	unread := decodeObjects(pr, yield)
	if unread != nil {
		cancel(errStopped)
		pr.CloseWithError(errStopped)
	}
	if err := <-ended; err != nil && !errors.Is(err, errStopped) {
		return t.failed(err) // why rclone ended explains why its output is cut
	}
	return unread
}

func decodeObjects(r io.Reader, yield func(Object) error) error {
	unreadable := func(err error) error {
		return verdict.CannotTell(Failed, "a list of files from rclone", err, "see which rclone it is: 1.60 and newer are known")
	}
	d := json.NewDecoder(r)
	if token, err := d.Token(); err != nil || token != json.Delim('[') {
		return unreadable(errors.Join(err, fmt.Errorf("it begins with %v", token)))
	}
	for d.More() {
		var o struct {
			Object
			IsDir  bool
			Hashes map[string]string
		}
		if err := d.Decode(&o); err != nil {
			return unreadable(err)
		}
		if o.IsDir || o.Path == "" {
			return unreadable(fmt.Errorf("an entry %.200q that is no file", o.Path))
		}
		o.SHA256 = o.Hashes["sha256"]
		if err := yield(o.Object); err != nil {
			return err
		}
	}
	_, err := d.Token()
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		return unreadable(err)
	}
	return nil
}

// Digest downloads a file and returns its SHA-256 and its size. Nothing of it
// is kept.
func (t *Tree) Digest(ctx context.Context, file string) (sha string, size int64, err error) {
	sum := &counter{h: sha256.New()}
	if err := t.run(ctx, sum, "cat", path.Join(t.Base, file)); err != nil {
		return "", 0, t.failed(err)
	}
	return hex.EncodeToString(sum.h.Sum(nil)), sum.n, nil
}

type counter struct {
	h interface {
		io.Writer
		Sum([]byte) []byte
	}
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.h.Write(p)
}

func (t *Tree) run(ctx context.Context, stdout io.Writer, args ...string) error {
	if !slices.Contains(readOnly, args[0]) {
		return fmt.Errorf("running rclone: wanted a subcommand that only reads, found %q", args[0])
	}
	limited, cancel := context.WithTimeoutCause(ctx, t.Timeout, errDeadline)
	defer cancel()
	flags := []string{"--ask-password=false", "--log-level", "ERROR", "--stats", "0"}
	if t.Config != "" {
		flags = append(flags, "--config", t.Config)
	}
	const grace = 10 * time.Second
	err := command.Run(limited, command.Cmd{Path: t.Path, Args: append(flags, args...), Env: t.Env, Stdout: stdout, Timeout: t.Timeout + grace, Grace: grace})
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return errors.Join(errDeadline, err)
	}
	return err
}

var errDeadline = errors.New("the deadline")

func (t *Tree) failed(err error) error {
	wanted := "an answer of rclone about " + t.Base
	switch {
	case errors.Is(err, errDeadline):
		return verdict.CannotTell(Timeout, fmt.Sprintf("%s within %s", wanted, t.Timeout), errors.New("none"), "see whether the remote can be reached from there, or give a longer timeout")
	case command.Code(err) == exitDirectoryMissing:
		return verdict.Refuse(NoDirectory, "a directory at "+t.Base, "none", "correct the remote's path, or see who removed it: rclone sync of an empty source empties the copy")
	}
	return verdict.CannotTell(Failed, wanted, err, "see rclone's words; rclone config show, on that machine and as that user, says whether it knows the remote")
}
