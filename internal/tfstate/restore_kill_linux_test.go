package tfstate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// replaceJob is what the child is told: the new state lies in New.
type replaceJob struct{ State, Journal, New string }

func childReplace(job string) int {
	var j replaceJob
	if err := json.Unmarshal([]byte(job), &j); err != nil {
		return 2
	}
	if err := j.run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (j replaceJob) run() error {
	data, err := os.ReadFile(j.New)
	if err != nil {
		return err
	}
	src := File{Path: j.State, LockTimeout: time.Second}
	was, err := Inspect(context.Background(), src)
	if err != nil {
		return err
	}
	scan := newScanner()
	_, _ = scan.Write(data)
	meta, err := scan.Meta()
	if err != nil {
		return err
	}
	return src.Replace(context.Background(), Rewrite{
		Journal: j.Journal, Was: was, Serial: meta.Serial, Lineage: meta.Lineage, Archive: "A", Run: "run 1",
		Fill: func(w io.Writer) error { _, err := w.Write(data); return err },
	})
}

// TestReplaceKilledAtEveryBoundary kills the write of a state with SIGKILL at
// the entry of each system call by which it changes the world. At no moment is
// there a file that OpenTofu would take for another state, or for none; and
// whoever comes next finds the old state or the new one, whole.
func TestReplaceKilledAtEveryBoundary(t *testing.T) {
	t.Parallel()
	strace := realtools.Path(t, "strace")
	large, small := stateOf(4, 400, "l"), stateOf(3, 100, "l")
	for name, c := range map[string]struct {
		old, new []byte
		calls    string
	}{
		"a larger one":  {small, large, "fsync,renameat,rename,unlinkat,unlink,fcntl,pwrite64,ftruncate,openat"},
		"a smaller one": {large, small, "pwrite64,ftruncate,fsync"},
		"over none":     {nil, small, "pwrite64,fsync,openat"},
		"over 0 bytes":  {[]byte{}, small, "pwrite64,fsync"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			j := replaceJob{State: filepath.Join(dir, "s", "edge.tfstate"), Journal: filepath.Join(dir, "journal"), New: filepath.Join(dir, "new")}
			job, err := json.Marshal(j)
			if err != nil {
				t.Fatal(err)
			}
			write := func(path string, data []byte) {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			reset := func() {
				os.RemoveAll(filepath.Dir(j.State))
				if err := os.Mkdir(filepath.Dir(j.State), 0o700); err != nil {
					t.Fatal(err)
				}
				if c.old != nil {
					write(j.State, c.old)
				}
			}
			write(j.New, c.new)
			run := func(args ...string) *exec.Cmd {
				cmd := exec.Command(strace, append(args, os.Args[0])...)
				cmd.Env = append(os.Environ(), "TFSTATE_TEST_REPLACE="+string(job), "GOMAXPROCS=1")
				return cmd
			}
			reset()
			trace := filepath.Join(dir, "trace")
			if out, err := run("-f", "-qq", "-o", trace, "-e", "trace=openat,"+c.calls, "-e", "signal=none").CombinedOutput(); err != nil {
				t.Fatalf("the write that nobody kills: %v\n%s", err, out)
			}
			if got, _ := os.ReadFile(j.State); !bytes.Equal(got, c.new) {
				t.Fatal("it does not even write when nobody kills it")
			}
			data, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			calls := map[string]int{}
			begun := false // from the first look at what is there on
			for line := range strings.Lines(string(data)) {
				_, call, _ := strings.Cut(strings.TrimSpace(line), " ")
				call, _, _ = strings.Cut(strings.TrimSpace(call), "(")
				begun = begun || strings.Contains(line, dir)
				if begun && !strings.Contains(call, " ") {
					calls[call]++
				} else if !strings.Contains(call, " ") && call != "" {
					calls[call+" before"]++
				}
			}
			ends := map[string]int{}
			enough := func() bool { return ends["new"] >= 3 && (len(c.old) == 0 || ends["old"] >= 3) }
			// strace counts the calls of each thread, so on a busy machine, where the
			// work wanders from one to another, some of the kills hit nothing.
			for round := 0; round < 3 && !enough(); round++ {
				for call, n := range calls {
					if !slices.Contains(strings.Split(c.calls, ","), call) {
						continue
					}
					for i := calls[call+" before"] + 1; i <= calls[call+" before"]+n; i++ {
						reset()
						err := run("-f", "-qq", "-o", os.DevNull, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, i)).Run()
						what := fmt.Sprint(call, " ", i)
						if err == nil {
							continue
						}
						if !strings.Contains(err.Error(), "killed") {
							t.Fatalf("%s: %v", what, err)
						}
						ends[afterKilledReplace(t, what, j, c.old, c.new)]++
					}
				}
			}
			if !enough() {
				t.Errorf("the kills were not before and after: %v of %v", ends, calls)
			}
		})
	}
}

// afterKilledReplace holds what must be true at the moment of the kill, and
// after the next run has finished it. It returns which state that is.
func afterKilledReplace(t *testing.T, what string, j replaceJob, old, new []byte) string {
	t.Helper()
	now, err := os.ReadFile(j.State)
	absent := errors.Is(err, os.ErrNotExist)
	if !absent && !bytes.Equal(now, old) && !bytes.Equal(now, new) {
		if len(now) == 0 && len(old) > 0 {
			t.Errorf("%s: 0 bytes, which OpenTofu takes for no state", what)
		}
		if json.Valid(now) && len(now) > 0 {
			t.Errorf("%s: OpenTofu would take it for a state:\n%.200s", what, now)
		}
	}
	src := File{Path: j.State, LockTimeout: time.Second}
	if _, err := src.Finish(context.Background(), j.Journal); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	// A lock info of a killed run is the next lock's to remove.
	if err := src.Read(context.Background(), func(io.Reader) error { return nil }); err != nil && !errors.Is(err, ErrNoState) {
		t.Fatalf("%s: %v", what, err)
	}
	now, err = os.ReadFile(j.State)
	left, _ := os.ReadDir(filepath.Dir(j.State))
	for _, e := range left {
		if e.Name() != filepath.Base(j.State) {
			t.Errorf("%s: %s was left", what, e.Name())
		}
	}
	if _, err := os.Stat(j.Journal); err == nil {
		t.Errorf("%s: the record was left", what)
	}
	switch {
	case errors.Is(err, os.ErrNotExist) && old == nil, old != nil && bytes.Equal(now, old):
		return "old"
	case bytes.Equal(now, new):
		return "new"
	}
	t.Errorf("%s: neither the old nor the new state: %d bytes, %.60q", what, len(now), now)
	return ""
}

// A disk without room for the new state keeps the old one.
func TestReplaceOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	realtools.Output(t, "mount", "-t", "tmpfs", "-o", "mode=0700,size=256k", "small", disk)
	t.Cleanup(func() { realtools.Output(t, "umount", "-l", disk) })
	j := replaceJob{State: filepath.Join(disk, "edge.tfstate"), Journal: filepath.Join(dir, "journal"), New: filepath.Join(dir, "new")}
	old := stateOf(3, 10, "l")
	if err := errors.Join(os.WriteFile(j.State, old, 0o600), os.WriteFile(j.New, stateOf(4, 500, "l"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := j.run(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("got %v", err)
	}
	if now, err := os.ReadFile(j.State); err != nil || !bytes.Equal(now, old) {
		t.Errorf("the old state is not whole any more (%v)", err)
	}
	if left, _ := os.ReadDir(disk); len(left) != 1 {
		t.Errorf("%v was left", left)
	}
	if _, err := os.Stat(j.Journal); err == nil {
		t.Error("the record was left")
	}
}

// Somebody writes the state between the look and the lock.
func TestReplaceOfAStateThatMoved(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(1, 3, "l"))
	was, err := Inspect(context.Background(), f.src)
	if err != nil {
		t.Fatal(err)
	}
	moved := stateOf(2, 3, "l")
	f.write(t, moved)
	new := stateOf(9, 3, "l")
	w := Rewrite{Journal: filepath.Join(f.dir, "journal"), Was: was, Serial: 9, Lineage: "l", Fill: func(w io.Writer) error { _, err := w.Write(new); return err }}
	if err := f.src.Replace(context.Background(), w); verdict.Reason(err) != "state-moved" {
		t.Errorf("got %v", err)
	}
	w.Was = Live{Absent: true}
	if err := f.src.Replace(context.Background(), w); verdict.Reason(err) != "state-moved" {
		t.Errorf("got %v", err)
	}
	if now, _ := os.ReadFile(f.state); !bytes.Equal(now, moved) {
		t.Error("it was overwritten")
	}
	w.Was, _ = Inspect(context.Background(), f.src)
	w.Serial = 8
	if err := f.src.Replace(context.Background(), w); err == nil || !strings.Contains(err.Error(), "serial 9") {
		t.Errorf("another state than the one that was asked for: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(f.dir, ".edge*")); len(left) > 0 {
		t.Errorf("%q was left", left)
	}
}
