// Package rclone keeps directories of files on an rclone remote. It uses a
// handful of subcommands, none of which can synchronise, and so none that can
// delete what it was not told to. It refuses to take an exit code for the
// truth: what was uploaded is read back by the caller.
package rclone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
)

// exitDirectoryMissing is how lsf ends where there is no such directory
// (rclone's documentation, "Exit code"). Only there: deletefile and rmdir of
// what is not there end with 1, as with any other error (1.60).
const exitDirectoryMissing = 3

// Remote is a place on an rclone remote where directories of a fixed set of
// files are kept.
type Remote struct {
	Path string // of rclone
	Base string // "remote:path"
	Env  []string
	// Files are the files of each directory, in the order in which they are
	// uploaded. A directory is complete when the last one is there.
	Files   []string
	Timeout time.Duration // of each command
}

var remote = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+@ -]*:`)

// IsRemote reports whether s is of the form "name:path". Connection strings
// (":backend,option=value:") are not: they carry secrets in an argument.
func IsRemote(s string) bool { return remote.MatchString(s) }

// Find returns the path of rclone, or a refusal that says how to install it.
func Find(name string) (string, error) {
	p, err := exec.LookPath(name)
	if err != nil {
		return "", verdict.CannotTell("tool-rclone", "rclone on PATH", errors.New("none"), "install it (apt install rclone, brew install rclone), or copy archives to a directory instead")
	}
	return p, nil
}

// Environ picks what rclone may see: its own variables, with the
// configuration's password among them, and nothing of the job's.
func Environ(from []string) []string {
	return command.Environ(from, append([]string{"RCLONE_*", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK"}, command.Base...), nil)
}

// Location implements the place's name for people.
func (r *Remote) Location(name string) string {
	if name == "" {
		return r.Base
	}
	if strings.HasSuffix(r.Base, ":") {
		return r.Base + name // "sftp:/name" would be the root, not the home
	}
	return strings.TrimSuffix(r.Base, "/") + "/" + name
}

// Put uploads the files of the local directory dir. Where one is already
// there it refuses: copyto would overwrite it, --immutable or not (measured).
// What it could not finish it takes away again, as far as the remote lets it.
func (r *Remote) Put(ctx context.Context, name, dir string) error {
	if there, _, err := r.list(ctx, r.Location(name), "--files-only"); err != nil || len(there) > 0 {
		return errors.Join(err, refuseExisting(r.Location(name), there))
	}
	for _, file := range r.Files {
		if err := r.run(ctx, io.Discard, "copyto", "--no-traverse", filepath.Join(dir, file), path.Join(r.Location(name), file)); err != nil {
			// The last file may be there although rclone could not tell, and
			// with it the directory would be taken for complete.
			return errors.Join(err, r.Remove(context.WithoutCancel(ctx), name))
		}
	}
	return nil
}

func refuseExisting(where string, there []string) error {
	if len(there) == 0 {
		return nil
	}
	return fmt.Errorf("%s already holds %q", where, there)
}

// Open downloads a file as it is read. A reader that comes to the end without
// an error has all of it: a download that broke off is an error of Read, and of
// Close. To close before the end ends rclone at once, and is no error.
func (r *Remote) Open(ctx context.Context, name, file string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	pr, pw := io.Pipe()
	d := &download{PipeReader: pr, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.err = r.run(ctx, pw, "cat", path.Join(r.Location(name), file))
		pw.CloseWithError(d.err)
	}()
	return d, nil
}

type download struct {
	*io.PipeReader
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when rclone is gone
	err    error         // how it ended, once done is closed
}

var errStopped = errors.New("the reader stopped")

func (d *download) Close() error {
	select {
	case <-d.done: // before the cancel, so that it is not taken for one
	default:
		// A remote that hangs would keep rclone, and us, until the timeout.
		d.PipeReader.CloseWithError(errStopped)
		d.cancel(errStopped)
		<-d.done
	}
	d.cancel(nil)
	if errors.Is(d.err, errStopped) {
		return nil
	}
	return d.err
}

// List returns the names of the complete directories. A place that is not
// there yet holds none.
func (r *Remote) List(ctx context.Context) ([]string, error) { return r.names(ctx, true) }

// Incomplete returns the names of the directories without their last file: one
// that is being uploaded, or one whose upload was killed.
func (r *Remote) Incomplete(ctx context.Context) ([]string, error) { return r.names(ctx, false) }

func (r *Remote) names(ctx context.Context, complete bool) ([]string, error) {
	last := r.Files[len(r.Files)-1]
	files, _, err := r.list(ctx, r.Base, "--files-only", "-R", "--max-depth", "2")
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, f := range files {
		if name, file, ok := strings.Cut(f, "/"); ok && name != "" && slices.Contains(r.Files, file) {
			found[name] = found[name] || file == last
		}
	}
	var names []string
	for name, isComplete := range found {
		if isComplete == complete {
			names = append(names, name)
		}
	}
	return names, nil
}

// Remove deletes the files of a directory, the last one first: from then on
// the directory is not complete, whatever happens to the rest.
func (r *Remote) Remove(ctx context.Context, name string) error {
	files, there, err := r.list(ctx, r.Location(name), "--files-only")
	if err != nil || !there {
		return err
	}
	for _, file := range slices.Backward(r.Files) {
		if !slices.Contains(files, file) {
			continue
		}
		if err := r.run(ctx, io.Discard, "deletefile", path.Join(r.Location(name), file)); err != nil {
			return err
		}
	}
	return r.run(ctx, io.Discard, "rmdir", r.Location(name))
}

// list returns what lsf prints for a place, and whether there is such a place.
func (r *Remote) list(ctx context.Context, where string, flags ...string) (names []string, there bool, err error) {
	var out bytes.Buffer
	err = r.run(ctx, &out, append(append([]string{"lsf"}, flags...), where)...)
	if command.Code(err) == exitDirectoryMissing {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return strings.FieldsFunc(out.String(), func(c rune) bool { return c == '\n' }), true, nil
}

func (r *Remote) run(ctx context.Context, stdout io.Writer, args ...string) error {
	// Retries are rclone's own; the timeout is over all of them.
	args = append([]string{"--ask-password=false", "--log-level", "ERROR", "--stats", "0"}, args...)
	return command.Run(ctx, command.Cmd{Path: r.Path, Args: args, Env: r.Env, Stdout: stdout, Timeout: r.Timeout, Grace: 10 * time.Second})
}
