// Package files writes and checks the files that must survive a power cut or
// a SIGKILL: whole or not at all, for the owner only. It refuses to write
// through a half-finished file and to read a secret that others can read.
package files

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// TempPrefix starts the name of every file that is not finished yet. A file
// of this name is never evidence of anything and may be swept by its owner.
const TempPrefix = ".partial-"

// Write puts data at path with mode 0600: temp file in the same directory,
// fsync, rename, fsync of the directory.
func Write(path string, data []byte) error {
	return WriteFrom(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteFrom is Write for content that is made as it is written. Nothing is
// left at path, and no temp file, when fill fails.
func WriteFrom(path string, fill func(io.Writer) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, TempPrefix) // 0600 by os.CreateTemp
	if err != nil {
		return err
	}
	whole := false
	defer func() {
		if !whole { // after an error, and after a panic in fill
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	whole = true
	return SyncDir(dir)
}

// SyncDir makes the entries of dir durable. Renaming alone is not: ext4 and
// APFS may forget a rename that was not followed by this.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err // EINVAL: a file system without directory sync
	}
	return nil
}

// SHA256 returns the lower-case hex digest of the file at path.
func SHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Inside reports whether path is dir or lies under it, with symbolic links
// resolved as far as they exist.
func Inside(dir, path string) bool {
	if dir == "" {
		return false
	}
	rel, err := filepath.Rel(resolve(dir), resolve(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// resolve follows links in the longest prefix of path that exists, and a link
// to nothing too: writing to it makes what it points to.
func resolve(path string) string { return resolveLinks(path, 40) }

func resolveLinks(path string, links int) string {
	path = filepath.Clean(path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	path = filepath.Join(resolveLinks(parent, links), filepath.Base(path))
	if to, err := os.Readlink(path); err == nil && links > 0 {
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		return resolveLinks(to, links-1)
	}
	return path
}

// CheckSecret returns an error unless path is a regular file of the caller's
// that nobody else can read or write. The message says how to mend it.
func CheckSecret(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return WithoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("is not a regular file (%s)", info.Mode().Type())
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("has mode %04o, so others on this machine can read or write it: run chmod 600 %s", mode, path)
	}
	return checkOwner(info, path)
}

// CheckPrivateDir returns an error unless path is a directory of the caller's
// that nobody else can write to.
func CheckPrivateDir(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return WithoutPath(err)
	}
	if !info.IsDir() {
		return errors.New("is not a directory")
	}
	if mode := info.Mode(); mode.Perm()&0o022 != 0 && mode&fs.ModeSticky == 0 {
		return fmt.Errorf("has mode %04o, so others on this machine can replace what is in it: run chmod go-w %s", mode.Perm(), path)
	}
	return nil
}

func checkOwner(info fs.FileInfo, path string) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if uid := os.Geteuid(); ok && uid != 0 && int(st.Uid) != uid {
		return fmt.Errorf("belongs to uid %d, not to the runner's uid %d: run chown on %s", st.Uid, uid, path)
	}
	return nil
}

// WithoutPath is an error without the path, for a message that names it
// already.
func WithoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
