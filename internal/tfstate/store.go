package tfstate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"edge-actions/internal/files"
)

// Store is a place that keeps archives: a directory, or an rclone remote. An
// archive is a name with three files. It is there whole or not at all: List
// never shows one that was cut off half-way.
type Store interface {
	// Put copies the three files from the local directory dir and returns only
	// when they are complete and durable there. A name is never written twice.
	Put(ctx context.Context, name, dir string) error
	// Open reads a file of an archive from where it is kept, past any cache.
	Open(ctx context.Context, name, file string) (io.ReadCloser, error)
	// List returns the names of the complete archives, in no order.
	List(ctx context.Context) ([]string, error)
	// Remove takes an archive away, manifest first.
	Remove(ctx context.Context, name string) error
	// Location tells a person where an archive is.
	Location(name string) string
}

// ArchiveFiles are the files of an archive in the order in which they are written: the manifest last.
var ArchiveFiles = []string{ArchiveFile, ChecksumsFile, ManifestFile}

// Dir is a Store in a directory of a local or mounted file system. Each
// archive is a directory of its own, made under a temporary name and renamed.
type Dir struct{ Path string }

func (d Dir) Location(name string) string { return filepath.Join(d.Path, name) }

// stage makes the directory in which an archive is put together. Its name
// holds the host's, so that a later run here knows its own leftovers from
// what another runner is writing to the same place at this moment.
func (d Dir) stage() (string, error) {
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(d.Path, stagePrefix())
}

// commit gives a staged archive its name, at once and for good.
func (d Dir) commit(stage, name string) error {
	if err := files.SyncDir(stage); err != nil {
		return err
	}
	if _, err := os.Lstat(d.Location(name)); err == nil {
		return fmt.Errorf("archive %s is already there", name)
	}
	if err := os.Rename(stage, d.Location(name)); err != nil {
		return err
	}
	return files.SyncDir(d.Path)
}

// Put implements Store.
func (d Dir) Put(ctx context.Context, name, dir string) (err error) {
	stage, err := d.stage()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(stage)
		}
	}()
	for _, file := range ArchiveFiles {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := copyFile(filepath.Join(stage, file), filepath.Join(dir, file)); err != nil {
			return err
		}
	}
	return d.commit(stage, name)
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	return out.Close()
}

// Open implements Store.
func (d Dir) Open(_ context.Context, name, file string) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(d.Location(name), file))
	if err != nil {
		return nil, err
	}
	readPastCache(f)
	return f, nil
}

// List implements Store.
func (d Dir) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if archiveName.MatchString(e.Name()) && e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Remove implements Store. The rename makes it one step for every reader.
func (d Dir) Remove(_ context.Context, name string) error {
	gone := filepath.Join(d.Path, stagePrefix()+"removed-"+name)
	if err := os.Rename(d.Location(name), gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// sweep removes what a killed run of this host left half-done. The caller
// holds the stack's lock, so no other run of this host is writing here.
func (d Dir) sweep() error {
	entries, err := os.ReadDir(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stagePrefix()) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(d.Path, e.Name())))
		}
	}
	return err
}

func stagePrefix() string {
	host, _ := os.Hostname()
	return files.TempPrefix + strings.ReplaceAll(host, string(filepath.Separator), "_") + "-"
}
