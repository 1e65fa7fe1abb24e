package restic

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLs(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	hostile := []string{"::set-env name=PATH::x", "new\nline", "escape\x1b[2J", `quote"back\slash`, "ünïcode", "--delete"}
	files := map[string]string{"plain": "12345"}
	for _, name := range hostile {
		files["dir/"+name] = ""
	}
	for name, text := range files {
		write(t, filepath.Join(p.dir, "data", name), text)
	}
	root := filepath.Join(p.dir, "data")
	if err := errors.Join(os.Symlink("plain", filepath.Join(root, "link")), syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600), os.Chmod(filepath.Join(root, "plain"), 0o4751|fs.ModeSetuid)); err != nil {
		t.Fatal(err)
	}
	id := p.backup("data", nil)
	got := map[string]Node{}
	var order []string
	if err := p.client().Ls(t.Context(), id, func(n Node) error {
		got[n.Path] = n
		order = append(order, n.Path)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"/data", "/data/dir", "/data/link", "/data/pipe", "/data/plain"}
	for _, name := range hostile {
		want = append(want, "/data/dir/"+name)
	}
	slices.Sort(want)
	slices.Sort(order)
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
	var stat syscall.Stat_t
	if err := syscall.Lstat(filepath.Join(root, "plain"), &stat); err != nil {
		t.Fatal(err)
	}
	n := got["/data/plain"]
	if n.Type != "file" || n.Size != 5 || n.Mode.Perm() != 0o751 || n.Mode&fs.ModeSetuid == 0 || n.UID != uint32(os.Getuid()) || n.GID != uint32(os.Getgid()) || n.ModTime.IsZero() || n.Inode != stat.Ino {
		t.Errorf("%+v", n)
	}
	if got["/data"].Type != "dir" || !got["/data"].Mode.IsDir() || got["/data/link"].Type != "symlink" || got["/data/pipe"].Type != "fifo" {
		t.Errorf("%+v", got)
	}
	stats, err := p.client().RestoreSize(t.Context(), id)
	if err != nil || stats != (Stats{Bytes: 5, Files: uint64(len(want))}) {
		t.Errorf("%+v, %v", stats, err)
	}

	// restic stats of what is not there is a warning and exit code 0.
	stats, err = p.client().RestoreSize(t.Context(), anywhere)
	refused(t, err, Failed, "0 snapshots")
	if stats != (Stats{}) {
		t.Errorf("%+v", stats)
	}
	refused(t, p.client().Ls(t.Context(), anywhere, func(Node) error { return errors.New("an entry") }), Failed, "failed to load snapshot")
}

// An error of the one who reads ends restic and comes back as it is.
func TestLsThatIsStopped(t *testing.T) {
	c := double(t, "0.18.1", listing(anywhere)+`i=0; while :; do echo '{"path":"/x","type":"file","struct_type":"node"}'; done`)
	why := errors.New("seen enough")
	before := runtime.NumGoroutine()
	n := 0
	err := c.Ls(t.Context(), anywhere, func(Node) error {
		if n++; n == 3 {
			return why
		}
		return nil
	})
	if !errors.Is(err, why) || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
	for end := time.Now().Add(generous); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

// listing prints the first line of a restic ls.
func listing(id string) string {
	return `echo '{"id":"` + id + `","message_type":"snapshot","struct_type":"snapshot"}'` + "\n"
}

func TestLsThatIsNotWhole(t *testing.T) {
	node := `{"name":"a","type":"file","path":"/a","struct_type":"node"}`
	for name, script := range map[string]string{
		"nothing":             "",
		"another snapshot":    listing(strings.Repeat("f", 64)),
		"no snapshot":         "echo '" + node + "'",
		"words":               listing(anywhere) + "echo hello",
		"cut in a line":       listing(anywhere) + "echo '" + node[:20] + "'",
		"cut before the end":  listing(anywhere) + "printf '%s' '" + node + "'",
		"a path that is none": listing(anywhere) + "echo '" + strings.Replace(node, `"/a"`, `"../a"`, 1) + "'",
		"something else":      listing(anywhere) + "echo '" + strings.Replace(node, `"struct_type":"node"`, `"struct_type":"note"`, 1) + "'",
		"no type":             listing(anywhere) + "echo '" + strings.Replace(node, `"file"`, `""`, 1) + "'",
		"a size that is none": listing(anywhere) + "echo '" + strings.Replace(node, `"/a"`, `"/a","size":-1`, 1) + "'",
		"a failure at last":   listing(anywhere) + "echo '" + node + "'; exit 1",
		"a kill at last":      listing(anywhere) + "echo '" + node + "'; kill -9 $$",
		"a line without end":  listing(anywhere) + "head -c 20000000 /dev/zero | tr '\\0' x",
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, double(t, "0.18.1", script).Ls(t.Context(), anywhere, func(Node) error { return nil }), Failed)
		})
	}
}

// A line is bounded, and so is what is kept of what restic says beside it.
func TestLineWithoutEnd(t *testing.T) {
	err := lines(io.LimitReader(zeros{}, 2*maxAnswer), func([]byte) error { return nil })
	refused(t, err, Failed, "a longer one")
	said := &stderr{}
	io.Copy(said, io.LimitReader(zeros{}, 1<<20))
	if len(said.line) > maxLine {
		t.Errorf("%d bytes are kept", len(said.line))
	}
	said.Write([]byte("\nthe end\n"))
	if !said.last("the end") {
		t.Errorf("%q", said.words())
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A damaged tree ends a real listing half-way.
func TestLsOfADamagedRepository(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	id := p.backup("data", map[string]string{"a/b": "c", "d": "e"})
	damage(t, p.location)
	refused(t, p.client().Ls(t.Context(), id, func(Node) error { return nil }), Failed)
}

// damage flips bytes in the middle of every pack.
func damage(t testing.TB, location string) {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(location, "data", "*", "*"))
	if err != nil || len(packs) == 0 {
		t.Fatalf("%d packs, %v", len(packs), err)
	}
	for _, pack := range packs {
		b, err := os.ReadFile(pack)
		if err != nil {
			t.Fatal(err)
		}
		b[20] ^= 0xff
		if err := errors.Join(os.Chmod(pack, 0o600), os.WriteFile(pack, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// A million entries go by without being kept.
func TestLsOfAMillion(t *testing.T) {
	const many = 1_000_000
	c := double(t, "0.18.1", listing(anywhere)+fmt.Sprintf(`exec awk 'BEGIN { for (i = 0; i < %d; i++) printf "{\"name\":\"file-%%d\",\"type\":\"file\",\"path\":\"/srv/forgejo/repositories/file-%%d\",\"uid\":1000,\"gid\":1000,\"size\":12345,\"mode\":420,\"permissions\":\"-rw-r--r--\",\"mtime\":\"2026-11-25T13:39:47.856315627Z\",\"atime\":\"2026-11-25T13:39:47.856315627Z\",\"ctime\":\"2026-11-25T13:39:47.856315627Z\",\"inode\":%%d,\"message_type\":\"node\",\"struct_type\":\"node\"}\n", i, i, i }'`, many))
	c = c.WithTimeout(5 * generous)
	n, most := 0, uint64(0)
	var m runtime.MemStats
	err := c.Ls(t.Context(), anywhere, func(Node) error {
		if n++; n%100_000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		return nil
	})
	if err != nil || n != many {
		t.Errorf("%d, %v", n, err)
	}
	t.Logf("%d entries with at most %d KiB in use", n, most>>10)
	if most > 32<<20 {
		t.Errorf("%d MiB in use", most>>20)
	}
}
