package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/files"
	"edge-actions/internal/testing/realtools"
)

// changing are the system calls by which an append changes the world. A kill at
// the entry of each of them is a kill at every boundary there is; openat makes
// files.
const changing = "openat,fsync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,flock,write,ftruncate"

// states are the ledgers that an append may find.
func states(t *testing.T) map[string]func(r *rig) {
	return map[string]func(r *rig){
		"none":   func(r *rig) {},
		"some":   func(r *rig) { r.grow(3) },
		"a torn": func(r *rig) { r.grow(3); r.put(EntriesFile, append(r.read(EntriesFile), `{"entry":{"sch`...)) },
		"one ahead": func(r *rig) {
			r.grow(3)
			behind := r.read(HeadFile)
			r.grow(1)
			r.put(HeadFile, behind)
		},
	}
}

// calls counts the changing system calls of an append.
func calls(t *testing.T, strace string, cmd func(wrap ...string) *exec.Cmd) map[string]int {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	if out, err := cmd(strace, "-f", "-qq", "-o", trace, "-e", "trace="+changing, "-e", "signal=none").CombinedOutput(); err != nil {
		t.Fatalf("the append that nobody kills: %v\n%s", err, out)
	}
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(data)) {
		_, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name, _, ok := strings.Cut(strings.TrimSpace(call), "("); ok && !strings.Contains(name, " ") {
			counts[name]++
		}
	}
	return counts
}

func (r *rig) clear() {
	r.t.Helper()
	if err := os.RemoveAll(r.Dir); err != nil {
		r.t.Fatal(err)
	}
}

// left holds what must be true after an append that came to no good end, and
// after the next.
func (r *rig) left(t *testing.T, what string, before int64) (entries int64) {
	t.Helper()
	if _, err := os.Stat(r.Dir); err == nil {
		s, err := r.check()
		if got := findings(err); err != nil && !slices.Equal(got, []string{"empty 0"}) && !slices.Equal(got, []string{"torn 4"}) {
			t.Fatalf("%s: %v", what, err)
		}
		if s.Entries != before && s.Entries != before+1 {
			t.Fatalf("%s: %d entries, and there were %d", what, s.Entries, before)
		}
		entries = s.Entries
	}
	if _, err := r.Append(context.Background(), about(9)); err != nil {
		t.Fatalf("%s: the next append: %v", what, err)
	}
	if n := r.whole(); n != entries+1 {
		t.Fatalf("%s: %d entries after the next append, and there were %d", what, n, entries)
	}
	if left, _ := filepath.Glob(filepath.Join(r.Dir, files.TempPrefix+"*")); len(left) > 0 {
		t.Fatalf("%s: the next append left %v", what, left)
	}
	return entries
}

func (r *rig) count() int64 {
	s, _ := r.check()
	return s.Entries
}

// TestKilledAtEveryBoundary kills an append with SIGKILL at the entry of each of
// the system calls in turn. After each the ledger holds what it held, and the
// next append is fine.
func TestKilledAtEveryBoundary(t *testing.T) {
	t.Parallel()
	strace := realtools.Path(t, "strace")
	for name, prepare := range states(t) {
		t.Run(name, func(t *testing.T) {
			r, key := newFileRig(t)
			cmd := func(wrap ...string) *exec.Cmd { return r.child(t, key, "killed", 1, wrap...) }
			prepare(r)
			counts := calls(t, strace, cmd)
			const enough = 15
			points, whole := 0, 0
			// strace counts the calls of each thread, so on a busy machine, where the
			// work wanders from one to another, some of the kills hit nothing.
			for round := 0; round < 3 && (points < enough || whole == 0); round++ {
				for call, n := range counts {
					for i := 1; i <= n; i++ {
						r.clear()
						prepare(r)
						before := r.count()
						out, err := cmd(strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, i)).CombinedOutput()
						what := fmt.Sprintf("%s %d", call, i)
						var exit *exec.ExitError
						if err == nil {
							continue // threads made fewer of these calls this time
						}
						if !errors.As(err, &exit) || !strings.Contains(err.Error(), "killed") {
							t.Fatalf("%s: %v\n%s", what, err, out)
						}
						points++
						if r.left(t, what, before) > before {
							whole++
						}
					}
				}
			}
			if points < enough || whole == 0 {
				t.Errorf("%d points, after %d of which the entry was there: %v", points, whole, counts)
			}
			t.Logf("killed at %d points, after %d of which the entry was there: %v", points, whole, counts)
		})
	}
}

// After a power cut the head never names a line that is not on the disk: the
// line is synced before, and the directory after.
func TestTheOrderOfWhatIsSynced(t *testing.T) {
	strace := realtools.Path(t, "strace")
	r, key := newFileRig(t)
	trace := filepath.Join(t.TempDir(), "trace")
	if out, err := r.child(t, key, "traced", 1, strace, "-f", "-y", "-qq", "-o", trace, "-e", "trace=write,fsync,renameat", "-e", "signal=none").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(data)) {
		for _, step := range [][3]string{
			{"write(", "/" + EntriesFile + ">", "write line"}, {"fsync(", "/" + EntriesFile + ">", "sync line"}, {"write(", "/" + files.TempPrefix, "write head"}, {"fsync(", "/" + files.TempPrefix, "sync head"},
			{"renameat(", "/" + HeadFile, "rename head"}, {"fsync(", "/ledger>", "sync directory"},
		} {
			if strings.Contains(line, step[0]) && strings.Contains(line, step[1]) {
				got = append(got, step[2])
			}
		}
	}
	want := "write head, sync head, rename head, sync directory, write line, sync line, sync directory, write head, sync head, rename head, sync directory"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s\nwant %s\n%s", strings.Join(got, ", "), want, data)
	}
}

// TestEachCallFails has each of the calls by which an append makes something
// lasting fail in turn: the entry is there if the append says so, and only then.
func TestEachCallFails(t *testing.T) {
	t.Parallel()
	strace := realtools.Path(t, "strace")
	for name, prepare := range states(t) {
		t.Run(name, func(t *testing.T) {
			r, key := newFileRig(t)
			cmd := func(wrap ...string) *exec.Cmd { return r.child(t, key, "failed", 1, wrap...) }
			prepare(r)
			counts := calls(t, strace, cmd)
			failed := 0
			for _, call := range []string{"fsync", "renameat", "mkdirat", "ftruncate"} {
				for i := 1; i <= counts[call]; i++ {
					r.clear()
					prepare(r)
					before := r.count()
					out, err := cmd(strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:error=EIO:when=%d", call, i)).CombinedOutput()
					what := fmt.Sprintf("%s %d: %v %s", call, i, err, out)
					if err != nil {
						failed++
						if !bytes.Contains(out, []byte("input/output error")) {
							t.Errorf("%s: other words", what)
						}
					}
					if entries := r.left(t, what, before); (entries == before+1) != (err == nil) {
						t.Errorf("%s: %d entries, and there were %d", what, entries, before)
					}
				}
			}
			if failed < 3 {
				t.Errorf("%d failed: %v", failed, counts)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("a full disk needs a mount, and a mount needs root: run ./scripts/test as root")
	}
	disk := t.TempDir()
	if err := syscall.Mount("small", disk, "tmpfs", 0, "size=128k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	r := newRig(t)
	r.Dir = filepath.Join(disk, "ledger")
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	// Until nothing fits any more; entries of several lengths, so that the disk is
	// full in the middle of a line, before a head, and before either.
	var entries int64
	refused := 0
	for i := range 1000 {
		e := about(i)
		e.Job = strings.Repeat("x", i*37%3000)
		_, err := r.Append(context.Background(), e)
		if err == nil {
			entries++
		} else if refused++; !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if n := r.whole(); n != entries {
			t.Fatalf("%d entries on the disk, %d were appended; the last append: %v", n, entries, err)
		}
		if refused == 20 {
			break
		}
	}
	if refused < 20 || entries < 20 {
		t.Fatalf("%d entries, %d refused", entries, refused)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	r.grow(1)
	if n := r.whole(); n != entries+1 {
		t.Errorf("%d entries", n)
	}
	if left, _ := filepath.Glob(filepath.Join(r.Dir, "[.t]*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
