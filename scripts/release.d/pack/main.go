// Command pack makes the files of a release out of the binaries that were
// built: NAME_OS_ARCH.gz, and SHA256SUMS with their digests. It is the release's
// own compressor, because two gzips of two machines make two files of the same
// bytes. It uses the standard library alone. See scripts/release.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

func main() {
	tag := flag.String("tag", "", "version of the release")
	source := flag.String("source", "", "key of the source: sha256: and 64 digits")
	from := flag.String("from", "", "directory with a directory OS-ARCH for each machine")
	to := flag.String("to", "", "directory to make")
	flag.Parse()
	if err := pack(*tag, *source, *from, *to); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

var (
	tagForm    = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$`)
	sourceForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

func pack(tag, source, from, to string) error {
	if !tagForm.MatchString(tag) || !sourceForm.MatchString(source) {
		return fmt.Errorf("wanted a version and the key of a source, found %q and %q", tag, source)
	}
	binaries, err := filepath.Glob(filepath.Join(from, "*-*", "*"))
	if err != nil {
		return err
	}
	if len(binaries) == 0 {
		return fmt.Errorf("no binaries in %q", from)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	lines := make([]string, len(binaries))
	errs := make([]error, len(binaries))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4) // each holds a binary in memory
	for i, path := range binaries {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			lines[i], errs[i] = one(path, to)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	// sha256sum -c passes over the lines with #.
	list := "# release " + tag + "\n# source " + source + "\n" + strings.Join(lines, "")
	return os.WriteFile(filepath.Join(to, "SHA256SUMS"), []byte(list), 0o644)
}

// one compresses a binary into to, and returns its line of the list. Nothing of
// when and where it was made is in the result.
func one(path, to string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	system, arch, _ := strings.Cut(filepath.Base(filepath.Dir(path)), "-")
	name := filepath.Base(path) + "_" + system + "_" + arch + ".gz"
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(data); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(to, name), packed.Bytes(), 0o644); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x  %s\n", sha256.Sum256(packed.Bytes()), name), nil
}
