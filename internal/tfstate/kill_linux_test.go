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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/rclone"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"

	"filippo.io/age"
)

// TestMain lets this test binary be the backup that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("TFSTATE_TEST_HOLD"); path != "" {
		os.Exit(childHold(path))
	}
	if job := os.Getenv("TFSTATE_TEST_REPLACE"); job != "" {
		os.Exit(childReplace(job))
	}
	if job := os.Getenv("TFSTATE_TEST_BACKUP"); job != "" {
		os.Exit(childBackup(job))
	}
	os.Exit(m.Run())
}

// childHold takes OpenTofu's lock on a state and gives it back when its stdin
// ends.
func childHold(path string) int {
	l, err := lockFile(context.Background(), path, "OperationTypeApply", time.Second)
	if err != nil {
		return 1
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := l.Unlock(); err != nil {
		return 1
	}
	return 0
}

// A lock that is waited for is one on a file; whoever puts another file in its
// place meanwhile must not have that file's bytes taken for locked ones.
func TestStateReplacedWhileItIsWaitedFor(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(1, 3, "l"))
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), "TFSTATE_TEST_HOLD="+f.state)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Make(context.Background(), f.src, ForPlan); err == nil || !strings.Contains(err.Error(), "OperationTypeApply") {
		t.Fatalf("the lock was not respected: %v", err)
	}
	f.src.LockTimeout = 5 * time.Second
	time.AfterFunc(200*time.Millisecond, func() {
		other := f.state + ".new"
		_ = os.WriteFile(other, stateOf(2, 3, "l"), 0o600)
		_ = os.Rename(other, f.state)
		stdin.Close()
	})
	if _, err := f.Make(context.Background(), f.src, ForPlan); verdict.Reason(err) != "state-moved" {
		t.Fatalf("got %v", err)
	}
	_ = holder.Wait()
	f.mustMake(t)
}

type childJob struct {
	State, Local, Off, Recipient string
	Retain                       int
	// Rclone, if set, is the offsite place in Off's stead.
	Rclone *rclone.Remote
}

func childBackup(job string) int {
	var j childJob
	if err := json.Unmarshal([]byte(job), &j); err != nil {
		return 2
	}
	r, err := age.ParseX25519Recipient(j.Recipient)
	if err != nil {
		return 2
	}
	a := &Archives{
		Local: Dir{j.Local}, Offsite: Dir{j.Off}, Recipients: []age.Recipient{r}, Stack: "edge", Workspace: "default",
		ShrinkPercent: 50, RetainCount: j.Retain, LockTimeout: time.Second, Logf: func(string, ...any) {},
	}
	if j.Rclone != nil {
		a.Offsite = j.Rclone
	}
	if _, err := a.Make(context.Background(), File{Path: j.State, LockTimeout: time.Second}, ForPlan); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// changing are the system calls by which a backup changes the world. A kill at
// the entry of each of them is a kill at every boundary there is.
const changing = "fsync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,fcntl,flock,write"

// TestKilledAtEveryBoundary kills the backup with SIGKILL at the entry of each
// of the system calls in turn. After each: no partial archive is taken for
// one, every archive opens, the state is untouched, and the next run is clean.
func TestKilledAtEveryBoundary(t *testing.T) {
	t.Parallel()
	strace := realtools.Path(t, "strace")
	f := newFixture(t)
	state := stateOf(3, 400, "l-1")
	f.write(t, state)
	for range 3 { // so that retention has something to remove in each run
		f.mustMake(t)
	}
	job, _ := json.Marshal(childJob{State: f.state, Local: f.Local.Path, Off: f.Offsite.(Dir).Path, Recipient: f.RecipientNames[0], Retain: 2})
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(strace, append(args, os.Args[0])...)
		cmd.Env = append(os.Environ(), "TFSTATE_TEST_BACKUP="+string(job), "GOMAXPROCS=2")
		return cmd
	}
	trace := filepath.Join(f.dir, "trace")
	if out, err := run("-f", "-qq", "-o", trace, "-e", "trace="+changing, "-e", "signal=none").CombinedOutput(); err != nil {
		t.Fatalf("the backup that nobody kills: %v\n%s", err, out)
	}
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	// How often each call is made; fcntl is narrowed to what locks.
	calls := map[string]int{}
	for line := range strings.Lines(string(data)) {
		_, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, ok := strings.Cut(strings.TrimSpace(call), "(")
		if ok && !strings.Contains(name, " ") {
			calls[name]++
		}
	}
	const enough = 20
	points := 0
	// strace counts the calls of each thread, so on a busy machine, where the
	// work wanders from one to another, some of the kills hit nothing.
	for round := 0; round < 3 && points < enough; round++ {
		for name, n := range calls {
			if name == "write" {
				n = min(n, 8) // the archive itself is a handful of writes; the rest wakes threads
			}
			for i := 1; i <= n; i++ {
				cmd := run("-f", "-qq", "-o", os.DevNull, "-e", "trace="+name, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", name, i))
				out, err := cmd.CombinedOutput()
				what := name + " " + strconv.Itoa(i)
				var exit *exec.ExitError
				if err == nil {
					continue // threads made fewer of these calls this time
				}
				if !errors.As(err, &exit) || !strings.Contains(err.Error(), "killed") {
					t.Fatalf("%s: %v\n%s", what, err, out)
				}
				points++
				f.afterKill(t, what, state)
			}
		}
	}
	if points < enough {
		t.Fatalf("only %d points: %v", points, calls)
	}
	t.Logf("killed at %d points: %v", points, calls)
}

// afterKill holds what must be true after a killed backup, and after the next.
func (f *fixture) afterKill(t *testing.T, what string, state []byte) {
	t.Helper()
	if now, err := os.ReadFile(f.state); err != nil || !bytes.Equal(now, state) {
		t.Fatalf("%s: the state was changed (%v)", what, err)
	}
	for _, store := range []Dir{f.Local, f.Offsite.(Dir)} {
		names, err := archiveNames(context.Background(), store)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !bytes.Equal(f.open(t, store.Location(name)), state) {
				t.Fatalf("%s: %s is taken for an archive and is none", what, name)
			}
		}
		if len(names) == 0 {
			t.Fatalf("%s: no archive is left in %s", what, store.Path)
		}
	}
	f.RetainCount = 2
	f.mustMake(t)
	for _, store := range []Dir{f.Local, f.Offsite.(Dir)} {
		entries, _ := os.ReadDir(store.Path)
		for _, e := range entries {
			if e.Name() != ".lock" && !archiveName.MatchString(e.Name()) {
				t.Fatalf("%s: the next run left %s in %s", what, e.Name(), store.Path)
			}
		}
	}
	if _, err := os.Stat(lockInfoPath(f.state)); err == nil {
		t.Fatalf("%s: the next run left the lock info", what)
	}
}

// TestKilledWhileUploading kills the backup and its rclone with SIGKILL while
// the real rclone uploads, as a cancel on the runner does.
func TestKilledWhileUploading(t *testing.T) {
	t.Parallel()
	f, remote, dir := newRemoteFixture(t)
	state := stateOf(3, 4000, "l-1")
	f.write(t, state)
	f.mustMake(t)
	slow := *remote
	slow.Env = append([]string{"RCLONE_BWLIMIT=16k"}, remote.Env...)
	job, _ := json.Marshal(childJob{State: f.state, Local: f.Local.Path, Recipient: f.RecipientNames[0], Rclone: &slow})
	for range 3 {
		before, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TFSTATE_TEST_BACKUP="+string(job))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			now, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
			if len(now) > len(before) || time.Now().After(deadline) {
				break
			}
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the backup was not killed: %v", err)
		}
		if now, _ := os.ReadFile(f.state); !bytes.Equal(now, state) {
			t.Fatal("the state was changed")
		}
		half, _ := filepath.Glob(filepath.Join(dir, "*"))
		f.remoteHolds(t, dir, 1, state)
		if len(half) != 2 {
			t.Fatalf("the kill did not hit an upload: %q", half)
		}
		// The next run is clean, and nothing here speaks of the killed one.
		f.RetainCount = 1
		f.mustMake(t)
		f.remoteHolds(t, dir, 1, state)
		entries, _ := os.ReadDir(f.Local.Path)
		for _, e := range entries {
			if e.Name() != ".lock" && !archiveName.MatchString(e.Name()) {
				t.Errorf("the next run left %s", e.Name())
			}
		}
		// What the kill left there is no archive; it would be counted below.
		for _, path := range half {
			if _, err := os.Stat(filepath.Join(path, ManifestFile)); errors.Is(err, os.ErrNotExist) {
				os.RemoveAll(path)
			}
		}
	}
}
