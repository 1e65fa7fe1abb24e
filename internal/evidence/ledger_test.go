package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/signature"
	"edge-actions/internal/verdict"
)

// TestMain lets this test binary be a run that appends.
func TestMain(m *testing.M) {
	if job := os.Getenv("EVIDENCE_TEST_APPEND"); job != "" {
		os.Exit(childAppend(job))
	}
	os.Exit(m.Run())
}

type childJob struct {
	Dir, Key, Run string
	Count         int
}

func childAppend(job string) int {
	var j childJob
	if err := json.Unmarshal([]byte(job), &j); err != nil {
		return 2
	}
	signer, err := signature.ReadSigner(j.Key, signature.Source{})
	if err != nil {
		return 2
	}
	l := &Ledger{Dir: j.Dir, Signer: signer, Wait: time.Minute, Logf: func(string, ...any) {}}
	for i := range j.Count {
		e := about(i)
		e.RunID = j.Run
		if _, err := l.Append(context.Background(), e); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

// child is a run that appends in a process of its own, with the rig's key from
// a file.
func (r *rig) child(t testing.TB, key, run string, count int, wrap ...string) *exec.Cmd {
	t.Helper()
	job, err := json.Marshal(childJob{Dir: r.Dir, Key: key, Run: run, Count: count})
	if err != nil {
		t.Fatal(err)
	}
	argv := append(wrap, os.Args[0])
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "EVIDENCE_TEST_APPEND="+string(job), "GOMAXPROCS=2")
	return cmd
}

// newFileRig is a rig whose key is a file.
func newFileRig(t testing.TB) (r *rig, key string) {
	t.Helper()
	r = newRig(t)
	key = keyFile(t, filepath.Join(t.TempDir(), "key"))
	var err error
	if r.Signer, err = signature.ReadSigner(key, signature.Source{}); err != nil {
		t.Fatal(err)
	}
	return r, key
}

// Two processes at once, a thousand entries each: none is lost, and each
// writer's are all there in their order.
func TestTwoWritersAtOnce(t *testing.T) {
	t.Parallel()
	const each = 1000
	r, key := newFileRig(t)
	var writers []*exec.Cmd
	for _, run := range []string{"a", "b"} {
		cmd := r.child(t, key, run, each)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		writers = append(writers, cmd)
	}
	for _, cmd := range writers {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	next, turns, last := map[string]int{}, 0, ""
	s, err := Check(context.Background(), r.Dir, r.signers(), Options{Each: func(e *Entry) error {
		if want := fmt.Sprint("edge-", next[e.RunID]); e.Report.Subject != want {
			t.Errorf("entry %d of %s is %s, want %s", e.Seq, e.RunID, e.Report.Subject, want)
		}
		next[e.RunID]++
		if e.RunID != last {
			turns, last = turns+1, e.RunID
		}
		return nil
	}})
	if err != nil || s.Entries != 2*each || next["a"] != each || next["b"] != each {
		t.Errorf("%d entries, %v of each: %v", s.Entries, next, err)
	}
	if turns < 3 {
		t.Errorf("they wrote one after the other: %d turns", turns)
	}
	t.Logf("%d turns", turns)
}

func TestALedgerThatIsHeld(t *testing.T) {
	r := newRig(t)
	r.grow(1)
	r.Wait = 20 * time.Millisecond
	unlock, err := lock(context.Background(), r.Dir, syscall.LOCK_EX, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(context.Background(), about(1)); err == nil || !strings.Contains(err.Error(), "another run held") {
		t.Errorf("appended to a held ledger: %v", err)
	}
	unlock()
	r.grow(1)
	if n := r.whole(); n != 2 {
		t.Errorf("%d entries", n)
	}
}

// What a kill can leave of an entry at the end: any part of it. The next append
// keeps whole ones and sets torn ones aside, and nothing is lost.
func TestTornAtEveryByte(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.grow(3)
	whole, behind := r.read(EntriesFile), r.read(HeadFile)
	r.grow(1)
	fourth := r.read(EntriesFile)[len(whole):]
	for size := range len(fourth) + 1 {
		r.put(EntriesFile, append(slices.Clone(whole), fourth[:size]...))
		r.put(HeadFile, behind)
		s, err := r.check()
		wantAhead, wantEntries := int64(0), int64(4)
		switch size {
		case 0:
			if err != nil {
				t.Fatal(err)
			}
		case len(fourth):
			wantAhead, wantEntries = 1, 5
			if err != nil {
				t.Fatalf("ahead of its head: %v", err)
			}
		default:
			if got := findings(err); !slices.Equal(got, []string{"torn 4"}) {
				t.Fatalf("torn at %d: %v", size, err)
			}
		}
		if s.Ahead != wantAhead {
			t.Errorf("torn at %d: %d ahead", size, s.Ahead)
		}
		r.grow(1)
		if s, err = r.check(); err != nil || s.Entries != wantEntries || s.Ahead != 0 {
			t.Fatalf("torn at %d, the next append: %+v, %v", size, s, err)
		}
		if size == 0 || size == len(fourth) {
			if s.SetAside != nil {
				t.Fatalf("set aside: %v", s.SetAside)
			}
			continue
		}
		if len(s.SetAside) != 1 || string(r.read(s.SetAside[0])) != string(fourth[:size]) {
			t.Fatalf("torn at %d: set aside %v", size, s.SetAside)
		}
		remove(t, r, s.SetAside[0])
	}
	if log := r.log.String(); !strings.Contains(log, "set aside as torn-") || !strings.Contains(log, "Entry 4 of the ledger was written by a run that was ended") {
		t.Errorf("log:\n%.500s", log)
	}
}

// An append goes on after nothing but its own end.
func TestAppendRefuses(t *testing.T) {
	stranger := newSigner(t)
	for name, tt := range map[string]struct {
		spoil func(r *rig)
		want  string
	}{
		"a head by somebody else": {func(r *rig) {
			l := *r.Ledger
			l.Signer = stranger
			h, err := readHead(r.Dir, r.keys())
			if err != nil {
				t.Fatal(err)
			}
			if err := l.writeHead(h); err != nil {
				t.Fatal(err)
			}
		}, "ledger-foreign-key"},
		"an edited head": {func(r *rig) {
			r.put(HeadFile, []byte(strings.Replace(string(r.read(HeadFile)), `"seq":3`, `"seq":2`, 1)))
		}, "ledger-edited"},
		"no head":    {func(r *rig) { remove(t, r, HeadFile) }, "ledger-headless"},
		"no entries": {func(r *rig) { remove(t, r, EntriesFile) }, "ledger-truncated"},
		"an edited last line": {func(r *rig) {
			r.put(EntriesFile, []byte(strings.Replace(string(r.read(EntriesFile)), "edge-2", "edge-9", 1)))
		}, "ledger-edited"},
		"rubbish at the end": {func(r *rig) { r.put(EntriesFile, append(r.read(EntriesFile), "x\n"...)) }, "ledger-edited"},
		"an entry of another ledger at the end": {func(r *rig) {
			other := newRig(t)
			other.Signer = r.Signer
			other.grow(4)
			r.put(EntriesFile, append(r.read(EntriesFile), other.lines()[3]+"\n"...))
		}, "ledger-edited"},
		"a foreign entry at the end": {func(r *rig) {
			line, err := seal("entry", about(3), stranger)
			if err != nil {
				t.Fatal(err)
			}
			r.put(EntriesFile, append(r.read(EntriesFile), line...))
		}, "ledger-foreign-key"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.grow(3)
			tt.spoil(r)
			before, _ := os.ReadFile(filepath.Join(r.Dir, EntriesFile))
			if _, err := r.Append(context.Background(), about(3)); !verdict.Has(err, tt.want) {
				t.Errorf("wanted %s, got %v", tt.want, err)
			}
			if after, _ := os.ReadFile(filepath.Join(r.Dir, EntriesFile)); string(after) != string(before) {
				t.Error("it wrote all the same")
			}
		})
	}
}

func TestTheDirectory(t *testing.T) {
	r := newRig(t)
	r.grow(1)
	for _, name := range []string{"", EntriesFile, HeadFile, lockName} {
		info, err := os.Stat(filepath.Join(r.Dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q: %v, %v", name, info.Mode(), err)
		}
	}
	if err := os.Chmod(r.Dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(context.Background(), about(1)); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a directory that others can write to: %v", err)
	}
	r.Dir = filepath.Join(r.Dir, "a", "b")
	if _, err := r.Append(context.Background(), about(1)); err == nil {
		t.Error("made more than the directory")
	}
}

// The hash that an entry names is the one that sha256sum prints of the line.
func TestTheChainIsThatOfSha256sum(t *testing.T) {
	r := newRig(t)
	last := r.grow(2)
	lines := r.lines()
	if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(lines[0]))); !strings.HasPrefix(lines[1], `{"entry":{"schema":"edge-actions/evidence/v1","seq":2,"previous":"`+sum+`",`) {
		t.Errorf("line 2: %.200s", lines[1])
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(lines[1]+"\n"))); sum != last.SHA256 {
		t.Errorf("the last line has %s, the mark %s", sum, last.SHA256)
	}
	if !strings.HasPrefix(lines[0], `{"entry":{"schema":"edge-actions/evidence/v1","seq":1,"previous":"`+strings.Repeat("0", 64)) {
		t.Errorf("line 1: %.200s", lines[0])
	}
	if entries, _ := filepath.Glob(filepath.Join(r.Dir, files.TempPrefix+"*")); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}
