package tfstate

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"

	"filippo.io/age"
)

func TestCopySerial(t *testing.T) {
	for name, c := range map[string]struct{ in, want, err string }{
		"as OpenTofu writes it": {"{\n  \"version\": 4,\n  \"serial\": 7,\n  \"lineage\": \"l\"\n}\n", "{\n  \"version\": 4,\n  \"serial\": 12,\n  \"lineage\": \"l\"\n}\n", ""},
		"packed":                {`{"serial":7,"lineage":"l"}`, `{"serial":12,"lineage":"l"}`, ""},
		"last":                  {`{"lineage":"serial","serial":7}`, `{"lineage":"serial","serial":12}`, ""},
		"blanks":                {"{\"serial\" :\n 7 }", "{\"serial\" :\n 12 }", ""},
		"deeper ones stay":      {`{"a":{"serial":1},"b":[{"serial":2}],"serial":7}`, `{"a":{"serial":1},"b":[{"serial":2}],"serial":12}`, ""},
		"in strings they stay":  {`{"a":"\"serial\":1","b\"":"{","serial":7}`, `{"a":"\"serial\":1","b\"":"{","serial":12}`, ""},
		"a string of the name":  {`{"a":"serial","x":1,"serial":7}`, `{"a":"serial","x":1,"serial":12}`, ""},
		"none":                  {`{"a":{"serial":1}}`, "", "found 0"},
		"two":                   {`{"serial":1,"serial":2}`, "", "found 2"},
		"no number":             {`{"serial":"7"}`, "", "a whole number"},
		"a fraction":            {`{"serial":7.5}`, "", "a whole number"},
		"a power":               {`{"serial":7e3}`, "", "a whole number"},
		"cut":                   {`{"serial":`, "", "reading the serial"},
	} {
		var out bytes.Buffer
		err := CopySerial(&out, iotest.OneByteReader(strings.NewReader(c.in)), 12)
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: got %v", name, err)
		case c.err == "" && (err != nil || out.String() != c.want):
			t.Errorf("%s: %q, %v", name, out.String(), err)
		}
	}
	if err := CopySerial(&bytes.Buffer{}, iotest.ErrReader(os.ErrClosed), 1); err == nil {
		t.Error("a state that can't be read")
	}
}

// TestFinish holds every file that a killed write can leave against what must
// become of it.
func TestFinish(t *testing.T) {
	old, new := stateOf(3, 20, "l"), stateOf(9, 40, "l")
	other, spoilt := stateOf(5, 20, "l"), bytes.Replace(new, []byte("hunter2-9"), []byte("hunter3-9"), 1)
	for name, c := range map[string]struct {
		now, was, beside, want []byte
		says                   string
	}{
		"not begun":                   {old, old, new, old, "the state is whole"},
		"it had grown":                {append(bytes.Clone(old), new[len(old):len(old)+50]...), old, new, old, "the state is whole"},
		"marked":                      {append([]byte("#"), old[1:]...), old, new, new, "it was finished, the state has serial 9"},
		"half":                        {append([]byte("#"), new[1:700]...), old, new, new, "it was finished"},
		"0 bytes":                     {[]byte{}, nil, new, new, "it was finished"},
		"done":                        {new, old, new, new, "the state is whole"},
		"done, its copy gone":         {new, old, nil, new, "the state is whole"},
		"written by somebody since":   {other, old, new, other, "the state is whole"},
		"none, and there was none":    {nil, nil, new, nil, "there is still none"},
		"marked, its copy is another": {append([]byte("#"), old[1:]...), old, spoilt, append([]byte("#"), old[1:]...), "restore-unfinished"},
		"marked, its copy is gone":    {append([]byte("#"), old[1:]...), old, nil, append([]byte("#"), old[1:]...), "restore-unfinished"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			src := File{Path: filepath.Join(dir, "edge.tfstate"), LockTimeout: time.Second}
			journal := filepath.Join(dir, "journal")
			j := rewriting{State: src.Path, New: sumOf(new), Serial: 9, Archive: "A", Run: "run 1"}
			if c.was != nil {
				j.Was = sumOf(c.was)
			}
			for path, data := range map[string][]byte{src.Path: c.now, besidePath(src.Path): c.beside, journal: jsonOf(t, j)} {
				if data == nil {
					continue
				}
				if err := files.Write(path, data); err != nil {
					t.Fatal(err)
				}
			}
			how, err := src.Finish(context.Background(), journal)
			said := how
			if err != nil {
				said = err.Error()
			}
			if !strings.Contains(said, c.says) {
				t.Errorf("%q", said)
			}
			if now, _ := os.ReadFile(src.Path); !bytes.Equal(now, c.want) {
				t.Errorf("the state is %.60q", now)
			}
			_, left := os.Stat(journal)
			if kept := verdict.Reason(err) == "restore-unfinished"; kept != (left == nil) {
				t.Errorf("the record: %v", left)
			}
		})
	}
	src := File{Path: filepath.Join(t.TempDir(), "edge.tfstate"), LockTimeout: time.Second}
	if how, err := src.Finish(context.Background(), src.Path+".none"); how != "" || err != nil {
		t.Errorf("nothing to finish: %q, %v", how, err)
	}
	for name, journal := range map[string][]byte{"noise": []byte("x"), "of another state": jsonOf(t, rewriting{State: "/elsewhere"})} {
		if err := files.Write(src.Path+".j", journal); err != nil {
			t.Fatal(err)
		}
		if _, err := src.Finish(context.Background(), src.Path+".j"); verdict.Reason(err) != "restore-unfinished" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What can be restored unasked is neither damaged history nor an accident.
func TestNewestGood(t *testing.T) {
	f := newFixture(t)
	if _, err := f.NewestGood(context.Background(), FromAny); verdict.Reason(err) != ArchiveThere {
		t.Errorf("none at all: %v", err)
	}
	f.write(t, stateOf(1, 3, "l"))
	want := f.mustMake(t).Manifest.Name
	make := func(state []byte, reason string, accept ...string) {
		f.Accept = accept
		f.write(t, state)
		if _, err := f.Make(context.Background(), f.src, reason); err != nil {
			t.Fatal(err)
		}
	}
	make(stateOf(2, 3, "l"), BeforeRestore)
	make(stateOf(3, 3, "other"), ForPlan, "lineage")
	make(stateOf(4, 3, "third"), Errored, Guards...)
	if got, err := f.NewestGood(context.Background(), FromAny); err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	make(stateOf(5, 3, "other"), AfterRestore)
	for _, from := range []string{FromAny, FromLocal, FromOffsite} {
		if got, err := f.NewestGood(context.Background(), from); err != nil || got == want {
			t.Errorf("from %s: %s, %v", from, got, err)
		}
	}
	h, err := f.History(context.Background())
	if err != nil || h.Serial != 5 || h.Newest.Reason != AfterRestore {
		t.Errorf("%+v, %v", h, err)
	}
}

// What is written is what was opened: an archive that is another one when it
// is read again gives nothing.
func TestArchiveThatChangesWhileItIsRead(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(1, 300, "l"))
	name := f.mustMake(t).Manifest.Name
	key, err := os.Open(f.key)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	if f.Identities, err = age.ParseIdentities(key); err != nil {
		t.Fatal(err)
	}
	o, err := f.Open(context.Background(), name, FromAny)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := o.CopyTo(context.Background(), &out); err != nil || !bytes.Equal(out.Bytes(), stateOf(1, 300, "l")) {
		t.Errorf("%v", err)
	}
	f.write(t, stateOf(2, 300, "l"))
	other := f.mustMake(t)
	if err := os.Rename(filepath.Join(other.Path, ArchiveFile), filepath.Join(f.Local.Location(name), ArchiveFile)); err != nil {
		t.Fatal(err)
	}
	for what, copy := range map[string]error{"as it is": o.CopyTo(context.Background(), &out), "with a serial": o.CopyWithSerial(context.Background(), &out, 5)} {
		if copy == nil || !strings.Contains(copy.Error(), "changes while it is read") {
			t.Errorf("%s: %v", what, copy)
		}
	}
}

func sumOf(data []byte) Digest {
	sum := newDigester()
	_, _ = sum.Write(data)
	return sum.Digest()
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
