package contracts

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/restic"
	"edge-actions/internal/verdict"
)

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// listing is what a snapshot of everything below dir would list, in restic's
// order: directory by directory, the names by their bytes.
func listing(t testing.TB, dir string) (nodes []restic.Node) {
	t.Helper()
	c := newCoverage([]string{dir}, nil, time.Now())
	defer c.stop()
	for l, err := range c.walk {
		if err != nil {
			t.Fatal(err)
		}
		n := restic.Node{Path: asListed(l.path), Type: "file", Size: uint64(l.size)}
		switch {
		case l.mode.IsDir():
			n.Type = "dir"
		case !l.mode.IsRegular():
			n.Type = "symlink"
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func cover(t testing.TB, dir string, exclude []string, nodes []restic.Node) verdict.Check {
	t.Helper()
	c := newCoverage([]string{dir}, exclude, time.Now().Add(time.Second))
	for _, n := range nodes {
		if err := c.see(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c.check()
}

// Names around the slash, in every script and in none, and those that are no
// text at all: the two lists run beside each other, and each single one that is
// dropped from the snapshot's is found.
func TestCoverageFindsEachMissingOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a", "a.b/c", "a-b/c", "a b", "b/b/c", "b/b-c", "b/b.c", "b!", "a0/x", "A/x", "ä/ö", "\xff/x", "\xfe", "😀/x", "\x01/x", "new\nline/x", "z/\xffy", "z/🙂", "�"} {
		put(t, filepath.Join(dir, name), "x")
	}
	nodes := listing(t, dir)
	// What holds no data is in no snapshot.
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := cover(t, dir, nil, nodes); c.Verdict != verdict.Proven {
		t.Fatalf("%+v", c)
	}
	for i, n := range nodes {
		c := cover(t, dir, nil, slices.Delete(slices.Clone(nodes), i, i+1))
		if strings.ContainsRune(n.Path, '�') { // two of these names are listed as one
			continue
		}
		if c.Verdict != verdict.Disproven || !strings.Contains(c.Got, "1 missing") {
			t.Errorf("without %q: %+v", n.Path, c)
		}
	}
	// Of what restic could not list by its name, too.
	var without []restic.Node
	for _, n := range nodes {
		if !strings.HasPrefix(n.Path, dir+"/z/�") {
			without = append(without, n)
		}
	}
	if c := cover(t, dir, nil, without); c.Verdict != verdict.Disproven {
		t.Errorf("%+v", c)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		p := dir
		for range 1 + r.IntN(4) {
			p = filepath.Join(p, string(rune("ab.-!0"[r.IntN(6)]))+string(rune("ab.-!0"[r.IntN(6)])))
		}
		if os.MkdirAll(p, 0o755) != nil {
			t.Fatal(p)
		}
	}
	nodes := listing(t, dir)
	for i := 1; i < len(nodes); i++ {
		if order(nodes[i-1].Path, nodes[i].Path) >= 0 || order(nodes[i].Path, nodes[i-1].Path) <= 0 {
			t.Fatalf("%q before %q", nodes[i-1].Path, nodes[i].Path)
		}
	}
	if order("/a", "/a") != 0 || len(nodes) < 200 {
		t.Error(len(nodes))
	}
}

func TestCoverageOfOthers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(n []restic.Node) []restic.Node
		want   verdict.Verdict
		says   string
	}{
		"another size": {func(n []restic.Node) []restic.Node { n[2].Size = 7; return n }, verdict.Disproven, "7 bytes there and 1 here"},
		"another kind": {func(n []restic.Node) []restic.Node { n[2].Type = "symlink"; return n }, verdict.Disproven, "a symlink there and a file here"},
		"more than here": {func(n []restic.Node) []restic.Node {
			return append(n, restic.Node{Path: n[len(n)-1].Path + "~", Type: "file"})
		}, verdict.Proven, "4 compared"},
		"nothing": {func(n []restic.Node) []restic.Node { return nil }, verdict.Disproven, "4 missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			put(t, filepath.Join(dir, "d/f"), "1")
			put(t, filepath.Join(dir, "e"), "1")
			if c := cover(t, dir, nil, tt.change(listing(t, dir))); c.Verdict != tt.want || !strings.Contains(c.Got, tt.says) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// What came after the backup began is not missing, and what it was before is not
// known.
func TestCoverageOfWhatIsNewer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "f"), "1")
	nodes := listing(t, dir)
	nodes[1].Size = 7
	for i, want := range []string{"2 compared, 0 newer", "1 compared, 1 newer"} {
		c := newCoverage([]string{dir}, nil, time.Now().Add(-time.Hour))
		for _, n := range nodes[:2-i] {
			if err := c.see(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.rest(t.Context()); err != nil {
			t.Fatal(err)
		}
		if check := c.check(); check.Verdict != verdict.Proven || !strings.Contains(check.Got, want) {
			t.Errorf("%+v", check)
		}
	}
	// All of it is: then nothing was compared.
	c := newCoverage([]string{filepath.Join(dir, "f")}, nil, time.Now().Add(-time.Hour))
	if err := c.rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if check := c.check(); check.Verdict != verdict.Unproven {
		t.Errorf("%+v", check)
	}
}

func TestExcludes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		pattern, path string
		want          bool
	}{
		"itself":                         {"/srv/cache", "/srv/cache", true},
		"below":                          {"/srv/cache", "/srv/cache/a/b", true},
		"a neighbour":                    {"/srv/cache", "/srv/cache2", false},
		"one level":                      {"/srv/*/cache", "/srv/a/cache/b", true},
		"two levels":                     {"/srv/*/cache", "/srv/a/b/cache", false},
		"any level":                      {"/srv/**/cache", "/srv/a/b/cache/c", true},
		"a branch of that name":          {"/srv/**/tmp", "/srv/ops/site.git/refs/heads/tmp", false},
		"a repository of that owner":     {"/srv/**/cache", "/srv/cache/site.git/HEAD", false},
		"a branch, named outright":       {"/srv/ops/site.git/refs/heads/tmp", "/srv/ops/site.git/refs/heads/tmp", true},
		"a repository, named outright":   {"/srv/old.git", "/srv/old.git/HEAD", true},
		"in a repository, with one star": {"/srv/*/old.git", "/srv/ops/old.git/HEAD", true},
	} {
		t.Run(name, func(t *testing.T) {
			c := &coverage{exclude: []string{tt.pattern}}
			if got := c.excludes(tt.path); got != tt.want {
				t.Error(got)
			}
		})
	}
}

func TestOutermost(t *testing.T) {
	got := outermost([]string{"/var/lib", "/etc", "/var/lib/a", "/var/lib-a", "/etc"})
	if want := []string{"/etc", "/var/lib", "/var/lib-a"}; !slices.Equal(got, want) {
		t.Error(got)
	}
	if got := outermost([]string{"/", "/etc"}); !slices.Equal(got, []string{"/"}) {
		t.Error(got)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	dir, id := filepath.Join(t.TempDir(), "new"), strings.Repeat("a", 64)
	now := time.Now()
	var order []int
	for i := range 7 {
		r, err := openRotation(dir, id, 3)
		if err != nil {
			t.Fatal(err)
		}
		p := r.next(nil)
		order = append(order, p.Number)
		if i == 3 { // a run that did not come to its end
			continue
		}
		if err := r.mark(p.Number, now.Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int{1, 2, 3, 1, 1, 2, 3}; !slices.Equal(order, want) {
		t.Error(order)
	}
	r, err := openRotation(dir, id, 3)
	if err != nil || r.next(map[int]bool{1: true}).Number != 2 || r.next(map[int]bool{1: true, 2: true, 3: true}).Number != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if other, err := openRotation(dir, id, 4); err != nil || len(other.Read) != 0 {
		t.Errorf("%+v %v", other, err)
	}
	for _, text := range []string{"", "{}", `{"schema":"x"}`, fmt.Sprintf(`{"schema":%q,"repository_id":"b","parts":3,"read":{}}`, rotationSchema)} {
		put(t, r.path, text)
		if other, err := openRotation(dir, id, 3); err == nil || other.next(nil).Number != 1 {
			t.Errorf("%q: %v", text, err)
		}
	}
}
