package restic

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSnapshots(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	c := p.client()
	all, err := c.Snapshots(t.Context())
	if err != nil || len(all) != 0 {
		t.Fatalf("an empty repository: %+v, %v", all, err)
	}
	first := p.backup("data", map[string]string{"a": "abc"}, "--host=edge-1", "--tag=x,y", "--exclude=*.tmp")
	second := p.backup("data", nil, "--host=edge-2", "--time=2199-01-01 00:00:00")
	all, err = c.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]Snapshot{}
	for _, s := range all {
		found[s.ID] = s
	}
	s := found[first]
	if len(all) != 2 || s.Hostname != "edge-1" || found[second].Hostname != "edge-2" || found[second].Time.Year() < 2198 {
		t.Fatalf("%+v", all)
	}
	if diff := cmp.Diff([][]string{{filepath.Join(p.dir, "data")}, {"x", "y"}, {"*.tmp"}}, [][]string{s.Paths, s.Tags, s.Excludes}); diff != "" {
		t.Error(diff)
	}
	if s.ShortID != first[:8] || time.Since(s.Time) > time.Hour || s.Username == "" || !fullID.MatchString(s.Tree) || !strings.HasPrefix(s.ProgramVersion, "restic 0.") {
		t.Errorf("%+v", s)
	}
	if sum := s.Summary; sum == nil || sum.TotalFilesProcessed != 1 || sum.TotalBytesProcessed != 3 || sum.BackupEnd.Before(sum.BackupStart) || sum.BackupStart.IsZero() {
		t.Errorf("%+v", sum)
	}
}

// restic leaves a snapshot out that it can't read, with exit code 0.
func TestSnapshotThatCannotBeRead(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	p.backup("data", map[string]string{"a": "abc"})
	write(t, filepath.Join(p.location, "snapshots", anywhere), "junk")
	all, err := p.client().Snapshots(t.Context())
	refused(t, err, Failed, anywhere, "Ignoring", "1 that restic does not show")
	if all != nil {
		t.Errorf("%+v", all)
	}
}

// The same two lists, as they come apart in time or by an environment that is
// not ours.
func TestSnapshotsAgainstTheirList(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	one := `[{"id":"` + a + `","time":"2026-11-25T00:00:00Z","paths":["/x"]}]`
	for name, test := range map[string]struct {
		lists []string // of the calls, the last one for all others
		shown string
		want  int // -1: refused
	}{
		"the same":             {[]string{a}, one, 1},
		"one came":             {[]string{""}, one, 1},
		"one went":             {[]string{a + `\n` + b, a}, one, 1},
		"one is hidden":        {[]string{a + `\n` + b}, one, -1},
		"all are hidden":       {[]string{a + `\n` + b}, "[]", -1},
		"a list that is none":  {[]string{"hello"}, one, -1},
		"an id that was cut":   {[]string{a[:20]}, one, -1},
		"nothing":              {[]string{""}, "", -1},
		"words":                {[]string{""}, "hello", -1},
		"null":                 {[]string{""}, "null", -1},
		"an object":            {[]string{""}, "{}", -1},
		"cut in a snapshot":    {[]string{a}, one[:30], -1},
		"cut at the end":       {[]string{a}, one[:len(one)-1], -1},
		"cut by a kill":        {[]string{a}, one + "'; kill -9 $$; echo '", -1},
		"a snapshot too short": {[]string{a}, `[{"id":"` + a + `"}]`, -1},
		"two lists":            {[]string{a}, one + one, -1},
		"a time of old":        {[]string{a}, strings.Replace(one, "2026-11-25", "0001-01-01", 1), 1},
		"no paths":             {[]string{a}, strings.Replace(one, `,"paths":["/x"]`, "", 1), 1},
		"an id that is a path": {[]string{""}, strings.Replace(one, a, "../../x", 1), -1},
		"a time that is none":  {[]string{a}, strings.Replace(one, "2026-11-25T00:00:00Z", "yesterday", 1), -1},
	} {
		script := `case $1 in snapshots) printf '%s\n' '` + test.shown + `';; list) n=$(cat "$0.n" 2>/dev/null || echo 0); echo $((n+1)) >"$0.n"; case $n in `
		for i, list := range test.lists[:len(test.lists)-1] {
			script += fmt.Sprintf(`%d) printf '%s\n';; `, i, list)
		}
		script += `*) printf '` + test.lists[len(test.lists)-1] + `\n';; esac;; esac`
		all, err := double(t, "0.18.1", script).Snapshots(t.Context())
		if test.want < 0 {
			t.Run(name, func(t *testing.T) { refused(t, err, Failed) })
		} else if err != nil || len(all) != test.want {
			t.Errorf("%s: %d, %v", name, len(all), err)
		}
	}
}

// manySnapshots is what restic says of n of them.
func manySnapshots(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		sep := ","
		if i == 0 {
			sep = "["
		}
		fmt.Fprintf(&b, `%s{"time":"2026-11-25T13:39:50.432526908Z","parent":"%064x","tree":"%064x","paths":["/srv/forgejo","/var/lib/postgres","/etc"],"hostname":"edge-1","username":"root","tags":["daily"],"excludes":["*.tmp","**/cache"],"program_version":"restic 0.18.1","summary":{"backup_start":"2026-11-25T13:39:50.432526908Z","backup_end":"2026-11-25T13:39:51.097513893Z","files_new":2,"files_changed":0,"files_unmodified":0,"dirs_new":2,"dirs_changed":0,"dirs_unmodified":0,"data_blobs":1,"tree_blobs":3,"data_added":1690,"data_added_packed":886,"total_files_processed":2,"total_bytes_processed":6},"id":"%064x","short_id":"%08x"}`, sep, i, i, i, i)
	}
	b.WriteString("]\n")
	return b.Bytes()
}

func TestManySnapshots(t *testing.T) {
	all, err := decodeSnapshots(bytes.NewReader(manySnapshots(10_000)))
	if err != nil || len(all) != 10_000 || all[9_999].ID != fmt.Sprintf("%064x", 9_999) {
		t.Errorf("%d, %v", len(all), err)
	}
}

// What 10,000 snapshots cost beyond restic's own time: two lists through pipes.
func BenchmarkSnapshots(b *testing.B) {
	dir := b.TempDir()
	write(b, filepath.Join(dir, "snapshots"), string(manySnapshots(10_000)))
	var ids bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&ids, "%064x\n", i)
	}
	write(b, filepath.Join(dir, "list"), ids.String())
	c := double(b, "0.18.1", `exec cat '`+dir+`'/"$1"`)
	for b.Loop() {
		if all, err := c.Snapshots(b.Context()); err != nil || len(all) != 10_000 {
			b.Fatal(len(all), err)
		}
	}
	os.RemoveAll(dir)
}
