package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edge-actions/internal/signature"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestAWholeLedger(t *testing.T) {
	r := newRig(t)
	mark := r.grow(5)
	var got []Entry
	s, err := Check(context.Background(), r.Dir, r.signers(), Options{Each: func(e *Entry) error { got = append(got, *e); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if s.Entries != 5 || s.Last != mark || s.Ahead != 0 || s.SetAside != nil || !s.FirstTime.Equal(got[0].Time) || !s.LastTime.Equal(got[4].Time) {
		t.Errorf("summary %+v", s)
	}
	for i, e := range got {
		want := about(i)
		want.Schema, want.Seq, want.Previous, want.Time = Schema, int64(i+1), e.Previous, e.Time
		if diff := cmp.Diff(want, e); diff != "" {
			t.Errorf("entry %d (-want +got):\n%s", i+1, diff)
		}
		if time.Since(e.Time) > time.Minute || e.Time.Location() != time.UTC {
			t.Errorf("time %v", e.Time)
		}
	}
	stop := errors.New("enough")
	if _, err := Check(context.Background(), r.Dir, r.signers(), Options{Each: func(*Entry) error { return stop }}); !errors.Is(err, stop) {
		t.Errorf("the caller's error: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Check(ctx, r.Dir, r.signers(), Options{}); !verdict.Has(err, "ledger-read") {
		t.Errorf("cancelled: %v", err)
	}
}

// Whatever byte of a ledger is changed, and into whatever, it is found, and in
// which line.
func TestEverySingleByteChangeIsFound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 100 {
		if _, err := r.Append(context.Background(), Entry{Job: "node", Report: verdict.Report{Verdict: verdict.Proven}}); err != nil {
			t.Fatal(err)
		}
	}
	keys := newKeyring(r.signers()...)
	h, err := readHead(r.Dir, keys)
	if err != nil {
		t.Fatal(err)
	}
	// The lines before the change are walked once, and not for each change.
	w := walk{snapshot: &snapshot{head: h, size: h.Size}, previous: firstPrevious()}
	lines := r.lines()
	var group sync.WaitGroup
	busy := make(chan struct{}, runtime.GOMAXPROCS(0))
	offset := int64(0)
	for i, text := range lines {
		if !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		l := line{int64(i + 1), offset, []byte(text)}
		before := w
		group.Go(func() {
			busy <- struct{}{}
			defer func() { <-busy }()
			changeEach(t, before, l, lines[min(i+1, len(lines)-1)], keys)
		})
		w.take(judge(l, keys))
		offset += int64(len(text))
	}
	group.Wait()
	if err := w.judge(); err != nil || w.summary.Entries != 100 {
		t.Fatalf("without a change: %d entries, %v", w.summary.Entries, err)
	}
	document := r.read(HeadFile)
	for at := range document {
		for b := range 256 {
			changed := slices.Clone(document)
			changed[at] = byte(b)
			if _, err := parseHead(changed, keys); err == nil && byte(b) != document[at] {
				t.Fatalf("head, byte %d: %q instead of %q is not found", at, rune(b), document[at])
			}
		}
	}
}

// changeEach changes each byte of the line that comes next in a walk.
func changeEach(t *testing.T, before walk, l line, next string, keys keyring) {
	for at, is := range l.text {
		// A flipped bit, and what means something to a reader of lines and of
		// JSON.
		for _, b := range []byte{is ^ 1, '\n', '"'} {
			if b == is {
				continue
			}
			text := slices.Clone(l.text)
			text[at] = b
			w := before
			// It may have become two lines, or one with the next.
			r := newLines(io.MultiReader(bytes.NewReader(text), strings.NewReader(next)), l.number, l.offset)
			for w.wrong == nil {
				part, err := r.next()
				if err != nil {
					break
				}
				w.take(judge(part, keys))
			}
			w.rest, w.restAt, w.next = r.left, r.offset, r.number
			err := w.judge()
			f := (*Finding)(nil)
			if !errors.As(err, &f) || f.Line != l.number || f.Offset != l.offset || verdict.Of(verdict.ChecksOf(err)) != verdict.Disproven {
				t.Errorf("line %d, byte %d: %q instead of %q: %v", l.number, at, b, is, err)
				return
			}
		}
	}
}

// The same through the files, for some of them.
func TestChangedFiles(t *testing.T) {
	r := newRig(t)
	r.grow(4)
	for _, name := range []string{EntriesFile, HeadFile} {
		data := r.read(name)
		for at := 0; at < len(data); at += 7 {
			changed := slices.Clone(data)
			changed[at] ^= 1
			r.put(name, changed)
			if _, err := r.check(); verdict.Of(verdict.ChecksOf(err)) != verdict.Disproven {
				t.Fatalf("%s, byte %d: %v", name, at, err)
			}
		}
		r.put(name, data)
	}
	r.whole()
}

func TestLinesInAnotherOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.grow(30)
	lines := r.lines()
	try := func(what string, changed []string, want ...string) {
		t.Helper()
		r.putLines(changed)
		s, err := r.check()
		if diff := cmp.Diff(want, findings(err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		var kind string
		var line int64
		fmt.Sscanf(want[0], "%s %d", &kind, &line)
		if s.Entries != line-1 {
			t.Errorf("%s: %d entries hold", what, s.Entries)
		}
	}
	for i := range lines {
		n := i + 1
		removed := slices.Delete(slices.Clone(lines), i, n)
		if n == len(lines) {
			try("removed at the end", removed, fmt.Sprint("truncated ", n))
		} else {
			try("removed", removed, fmt.Sprint("cut ", n))
		}
		for _, to := range []int{0, i, len(lines) - 1} { // again: before all, after itself, after all
			at := to + 2
			if to == 0 {
				at, to = 1, -1
			}
			want := fmt.Sprint("repeated ", at)
			if to == -1 && n > 1 {
				want = "reordered 1" // one that comes first takes the first one's place
			} else if to == -1 {
				want = "repeated 2"
			}
			try(fmt.Sprint("entry ", n, " again as line ", at), slices.Insert(slices.Clone(lines), to+1, lines[i]), want)
		}
		for j := i + 1; j < len(lines); j++ {
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			try(fmt.Sprint("swapped ", n, " and ", j+1), swapped, fmt.Sprint("reordered ", n))
		}
	}
	try("several removed", slices.Concat(lines[:3], lines[9:]), "cut 4")
	try("all removed", nil, "truncated 1")
}

// Cut off anywhere, the file is found to be too short, and where.
func TestTruncatedAtEveryByte(t *testing.T) {
	r := newRig(t)
	r.grow(3)
	data := r.read(EntriesFile)
	for size := range data {
		r.put(EntriesFile, data[:size])
		_, err := r.check()
		want := []string{fmt.Sprint("truncated ", bytes.Count(data[:size], []byte("\n"))+1)}
		if diff := cmp.Diff(want, findings(err)); diff != "" {
			t.Fatalf("at byte %d (-want +got):\n%s", size, diff)
		}
		if _, err := r.Append(context.Background(), about(9)); !verdict.Has(err, "ledger-truncated") {
			t.Fatalf("at byte %d an append goes on: %v", size, err)
		}
	}
}

func TestOtherFindings(t *testing.T) {
	stranger := newSigner(t)
	foreign := func(r *rig) *Ledger { l := *r.Ledger; l.Signer = stranger; l.Former = r.signers(); return &l }
	sealed := func(r *rig, name string, document any) []byte {
		line, err := seal(name, document, r.Signer)
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	for name, tt := range map[string]struct {
		spoil func(r *rig)
		want  []string
	}{
		"another key": {func(r *rig) {
			if _, err := foreign(r).Append(context.Background(), about(9)); err != nil {
				t.Fatal(err)
			}
		}, []string{"foreign-key 4", "foreign-key 0"}},
		"torn":           {func(r *rig) { r.put(EntriesFile, append(r.read(EntriesFile), `{"entry":{`...)) }, []string{"torn 4"}},
		"rubbish at end": {func(r *rig) { r.put(EntriesFile, append(r.read(EntriesFile), "x\n"...)) }, []string{"edited 4"}},
		"no head":        {func(r *rig) { remove(t, r, HeadFile) }, []string{"headless 0"}},
		"no entries":     {func(r *rig) { remove(t, r, EntriesFile) }, []string{"truncated 1"}},
		"nothing":        {func(r *rig) { remove(t, r, EntriesFile); remove(t, r, HeadFile) }, []string{"empty 0"}},
		"head of none":   {func(r *rig) { remove(t, r, EntriesFile); r.put(HeadFile, sealed(r, "head", newHead(time.Now()))) }, []string{"empty 0"}},
		"an entry as head": {func(r *rig) {
			line := r.lines()[2]
			r.put(HeadFile, []byte(strings.Replace(line, `{"entry":`, `{"head":`, 1)))
		}, []string{"edited 0"}},
		"another form": {func(r *rig) {
			e := about(9)
			e.Schema, e.Seq = "edge-actions/evidence/v2", 4
			r.put(EntriesFile, append(r.read(EntriesFile), sealed(r, "entry", e)...))
		}, []string{"not-ours 4"}},
		"no form": {func(r *rig) { r.put(EntriesFile, append(r.read(EntriesFile), sealed(r, "entry", "x")...)) }, []string{"not-ours 4"}},
		"a first that is not": {func(r *rig) {
			e := about(9)
			e.Schema, e.Seq, e.Previous = Schema, 1, strings.Repeat("1", 64)
			r.putLines([]string{string(sealed(r, "entry", e))})
		}, []string{"cut 1"}},
		"gone on otherwise": {func(r *rig) {
			// A copy of the first two goes on with another third, before a fourth
			// that follows ours.
			r.grow(1)
			other := r.lines()
			e := about(9)
			e.Schema, e.Seq, e.Previous = Schema, 3, digest([]byte(other[1]))
			other[2] = string(sealed(r, "entry", e))
			r.putLines(other)
		}, []string{"edited 3"}},
		"another last": {func(r *rig) {
			other := r.lines()
			e := about(9)
			e.Schema, e.Seq, e.Previous, e.Time = Schema, 3, digest([]byte(other[1])), timeOf(t, r)
			if other[2] = string(sealed(r, "entry", e)); len(other[2]) != len(r.lines()[2])+1 {
				t.Fatal("it has another length, and not only other words")
			}
			r.putLines(other)
		}, []string{"edited 3"}},
		"fewer and longer": {func(r *rig) {
			other := r.lines()[:2]
			e := about(9)
			e.Schema, e.Seq, e.Previous, e.Job = Schema, 2, digest([]byte(other[0])), strings.Repeat("x", 9000)
			other[1] = string(sealed(r, "entry", e))
			r.putLines(other)
		}, []string{"truncated 3"}},
		"no end": {func(r *rig) {
			data := r.read(EntriesFile)
			data[len(data)-1] = ' '
			r.put(EntriesFile, data)
		}, []string{"edited 3"}},
		"a head of another form": {func(r *rig) {
			h := headOf(t, r)
			h.Schema = "edge-actions/evidence-head/v2"
			r.put(HeadFile, sealed(r, "head", h))
		}, []string{"edited 0"}},
		"a line of less than nothing": {func(r *rig) {
			h := headOf(t, r)
			h.Offset = h.Size + 1
			r.put(HeadFile, sealed(r, "head", h))
		}, []string{"edited 0"}},
		"a line of a gigabyte": {func(r *rig) {
			h := headOf(t, r)
			h.Size += 1 << 30
			r.put(HeadFile, sealed(r, "head", h))
		}, []string{"edited 0"}},
		"a head of entries without bytes": {func(r *rig) {
			h := newHead(time.Now())
			h.Seq = 3
			r.put(HeadFile, sealed(r, "head", h))
		}, []string{"edited 0"}},
		"a line without end": {func(r *rig) { r.put(EntriesFile, append(r.read(EntriesFile), make([]byte, maxLine+1)...)) }, []string{"edited 4"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.grow(3)
			tt.spoil(r)
			_, err := r.check()
			if diff := cmp.Diff(tt.want, findings(err)); diff != "" {
				t.Errorf("-want +got:\n%s\n%v", diff, err)
			}
			want := verdict.Disproven
			if strings.HasPrefix(tt.want[0], "torn") || strings.HasPrefix(tt.want[0], "empty") {
				want = verdict.Unproven
			}
			for _, c := range verdict.ChecksOf(err) {
				if c.Wanted == "" || c.Got == "" || c.Hint == "" || !strings.HasPrefix(c.ID, "ledger-") {
					t.Errorf("a check without words: %+v", c)
				}
			}
			if got := verdict.Of(verdict.ChecksOf(err)); got != want {
				t.Errorf("verdict %s, want %s", got, want)
			}
		})
	}
}

func headOf(t *testing.T, r *rig) head {
	t.Helper()
	h, err := readHead(r.Dir, r.keys())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// timeOf is that of the last entry.
func timeOf(t *testing.T, r *rig) time.Time { return headOf(t, r).Time }

// A ledger that was set back with its head is whole by itself; whoever has seen
// it before can tell.
func TestWitness(t *testing.T) {
	r := newRig(t)
	third := r.grow(3)
	old := r.copyTo(filepath.Join(t.TempDir(), "old"))
	fifth := r.grow(2)
	at := func(r *rig, m Mark) []string {
		_, err := Check(context.Background(), r.Dir, r.signers(), Options{Witness: &m})
		return findings(err)
	}
	old.whole()
	for name, tt := range map[string]struct {
		got  []string
		want []string
	}{
		"the same":        {at(r, fifth), nil},
		"it has grown":    {at(r, third), nil},
		"nothing seen":    {at(r, Mark{}), nil},
		"set back":        {at(old, fifth), []string{"set-back 0"}},
		"another history": {at(r, Mark{Seq: 4, SHA256: third.SHA256}), []string{"set-back 4"}},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// Emptied, and gone on: a third entry again, and not the one that was seen.
	old.grow(2)
	old.whole()
	if got := at(old, fifth); !slices.Equal(got, []string{"set-back 5"}) {
		t.Errorf("gone on from an old copy: %v", got)
	}
}

// A key that was changed: what it signed in its time holds while it is listed.
func TestAChangeOfKeys(t *testing.T) {
	r := newRig(t)
	r.grow(2)
	first := r.Signer
	r.Signer = newSigner(t)
	_, err := r.Append(context.Background(), about(2))
	if !verdict.Has(err, "ledger-foreign-key") {
		t.Fatalf("an append after somebody else's head: %v", err)
	}
	r.Former = []signature.Signer{{Key: first.PublicKey(), Until: time.Now().Add(time.Hour)}}
	r.grow(1)
	r.Former = nil // wanted once
	r.grow(1)
	both := append(r.signers(), signature.Signer{Key: first.PublicKey(), Until: time.Now().Add(time.Hour)})
	if s, err := Check(context.Background(), r.Dir, both, Options{}); err != nil || s.Entries != 4 {
		t.Errorf("%d entries, %v", s.Entries, err)
	}
	if _, err := r.check(); !slices.Equal(findings(err), []string{"foreign-key 1"}) {
		t.Errorf("the old key is not listed: %v", err)
	}
	both[1].Until = time.Now().Add(-time.Hour)
	if _, err := Check(context.Background(), r.Dir, both, Options{}); !slices.Equal(findings(err), []string{"foreign-key 1"}) {
		t.Errorf("the old key had ended before: %v", err)
	}
	if _, err := Check(context.Background(), r.Dir, nil, Options{}); !verdict.Has(err, "ledger-signers") {
		t.Errorf("no key: %v", err)
	}
}
