package contracts

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/rclone"
	"edge-actions/internal/verdict"

	_ "modernc.org/sqlite" // without cgo: the runner has no C compiler
)

// object is what the forge expects of one LFS object.
type object struct {
	size    int64
	created time.Time
	// found is the size on the remote, nowhere if it is not there.
	found int64
}

// nowhere is the size of what is not there, and -1 rclone's where the remote does
// not know it.
const nowhere = -2

func (o *object) whole() bool { return o.found == o.size || o.found == -1 }

// lfs holds the objects on a remote against the forge's database. The name of
// an object is the hash of its content, so the copy proves itself; times of
// files prove nothing.
func (p *Place) lfs(ctx context.Context, c *Contract) []verdict.Check {
	l := c.LFS
	wanted := fmt.Sprintf("LFS objects in Forgejo's database %q", l.Database)
	expected, err := p.expected(ctx, l.Database)
	if err != nil {
		return []verdict.Check{verdict.CannotTell(LFSExpected, wanted, err, "correct database, or look at it as a user that may read it").Check}
	}
	if len(expected) == 0 {
		return []verdict.Check{verdict.CannotTell(LFSExpected, wanted, errors.New("none"), "see whether this is the database that the forge uses; a forge without LFS needs no contract for it").Check}
	}
	checks := []verdict.Check{{ID: LFSExpected, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("%d", len(expected))}}
	tree := &rclone.Tree{Path: l.program(), Base: l.Remote, Config: p.home(l.Config), Env: rclone.Environ(p.Environ), Timeout: p.Timeout}
	found := &mirror{expected: expected}
	p.Logf("listing the objects on %s", l.Remote)
	if err := tree.Objects(ctx, found.take); err != nil {
		return append(checks, verdict.ChecksOf(err)...)
	}
	checks = append(checks, found.present(l.Remote, p.Now, time.Duration(c.MaxAge)))
	return append(checks, p.content(ctx, tree, found, l.Sample))
}

func (l *LFS) program() string {
	if l.Program == "" {
		return "rclone"
	}
	return l.Program
}

// expected reads the rows of a live database, and changes nothing of it.
func (p *Place) expected(ctx context.Context, database string) (map[string]*object, error) {
	out, err := readExpected(ctx, database)
	if err == nil {
		return out, nil
	}
	// In WAL mode, with nobody who has it open, there is no shared memory, and
	// to make it would be to write.
	dir, remove, failed := tempDir()
	if failed != nil {
		return nil, errors.Join(err, failed)
	}
	defer remove()
	for _, suffix := range []string{"", "-wal"} {
		data, failed := os.ReadFile(database + suffix)
		if errors.Is(failed, fs.ErrNotExist) && suffix != "" {
			continue
		}
		if failed == nil {
			failed = os.WriteFile(filepath.Join(dir, "copy"+suffix), data, 0o600)
		}
		if failed != nil {
			return nil, failed
		}
	}
	if out, failed := readExpected(ctx, filepath.Join(dir, "copy")); failed == nil {
		return out, nil
	}
	return nil, err
}

func readExpected(ctx context.Context, database string) (map[string]*object, error) {
	if info, err := os.Stat(database); err != nil {
		return nil, err
	} else if info.Size() == 0 {
		return nil, errors.New("the database is a file of 0 bytes")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: database, RawQuery: "mode=ro&_pragma=busy_timeout(10000)"}).String())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `SELECT oid, size, COALESCE(created_unix, 0) FROM lfs_meta_object`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]*object{}
	for rows.Next() {
		var oid string
		var size, created int64
		if err := rows.Scan(&oid, &size, &created); err != nil {
			return nil, err
		}
		if !idForm.MatchString(oid) {
			return nil, fmt.Errorf("the oid %.80q is no SHA-256", oid)
		}
		at := time.Unix(created, 0)
		// Several repositories may have the same object; the first is when it came.
		if o := out[oid]; o == nil || at.Before(o.created) {
			out[oid] = &object{size: size, created: at, found: nowhere}
		}
	}
	return out, rows.Err()
}

// mirror is what a remote has of what is expected.
type mirror struct {
	expected map[string]*object
	objects  int
	others   int
	hashed   int
	wrong    []string // of another content
	wrongs   int
	unhashed []string // oids on the remote without a hash
}

var objectPath = regexp.MustCompile(`^([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{60})$`)

func oidOf(p string) (string, bool) {
	m := objectPath.FindStringSubmatch(p)
	if m == nil {
		return "", false
	}
	return m[1] + m[2] + m[3], true
}

func pathOf(oid string) string { return path.Join(oid[:2], oid[2:4], oid[4:]) }

func (m *mirror) bad(format string, args ...any) {
	if m.wrongs++; len(m.wrong) < maxListed {
		m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
	}
}

// take looks at one file on the remote.
func (m *mirror) take(o rclone.Object) error {
	oid, ok := oidOf(o.Path)
	if !ok {
		m.others++
		return nil
	}
	m.objects++
	want := m.expected[oid]
	if want != nil {
		want.found = o.Size
	}
	switch {
	case o.SHA256 == "":
		if want != nil { // what the forge no longer has is not downloaded for it
			m.unhashed = append(m.unhashed, oid)
		}
	case o.SHA256 == oid:
		m.hashed++
	default:
		m.bad("%.12s… has the content %.12s…", oid, o.SHA256)
	}
	return nil
}

// present wants on the remote what the forge has had for longer than the copy
// may be old.
func (m *mirror) present(remote string, now time.Time, maxAge time.Duration) verdict.Check {
	wanted := fmt.Sprintf("each object that the forge has for longer than %s on %s, with its size", maxAge, remote)
	var missing []string
	count, young := 0, 0
	for oid, o := range m.expected {
		switch {
		case o.whole():
			count++
		case o.found != nowhere:
			missing = append(missing, fmt.Sprintf("%s has %d bytes, not %d", oid, o.found, o.size))
		case now.Sub(o.created) <= maxAge:
			young++
		default:
			missing = append(missing, oid+" is not there")
		}
	}
	got := fmt.Sprintf("%d of %d, %d younger ones not yet", count, len(m.expected), young)
	if m.others > 0 {
		got += fmt.Sprintf("; %d files are no objects", m.others)
	}
	switch {
	case len(missing) > 0:
		slices.Sort(missing)
		n := len(missing)
		return verdict.Refuse(LFSPresent, wanted, fmt.Sprintf("%d missing or cut (%s)\n%s", n, got, strings.Join(missing[:min(n, maxListed)], "\n")), "see the unit that copies them, and whether it copies this directory; rclone sync of an empty source empties the copy").Check
	case count == 0:
		return verdict.CannotTell(LFSPresent, wanted, fmt.Errorf("none: %s", got), "look again when the copy has run").Check
	}
	return verdict.Check{ID: LFSPresent, Verdict: verdict.Proven, Wanted: wanted, Got: got}
}

// content wants the objects to be what their names say: by the remote's own
// hashes, or by downloads of some.
func (p *Place) content(ctx context.Context, tree *rclone.Tree, m *mirror, sample int) verdict.Check {
	const wanted = "objects whose content is what their names say"
	chosen := choose(m.unhashed, sample, p.Now)
	for i, oid := range chosen {
		p.Logf("downloading object %d of %d", i+1, len(chosen))
		sha, _, err := tree.Digest(ctx, pathOf(oid))
		if err != nil {
			c := verdict.ChecksOf(err)[0]
			c.ID, c.Wanted = LFSContent, wanted
			return c
		}
		if sha != oid {
			m.bad("%.12s… has the content %.12s…", oid, sha)
		}
	}
	got := fmt.Sprintf("%d by the remote's hashes", m.hashed)
	if n := len(m.unhashed); n > 0 {
		got += fmt.Sprintf(", %d downloaded of %d without one (others each day)", len(chosen), n)
	}
	switch {
	case m.wrongs > 0:
		return verdict.Refuse(LFSContent, wanted, fmt.Sprintf("%d wrong (%s)\n%s", m.wrongs, got, strings.Join(m.wrong, "\n")), "copy them again from the forge; if they are wrong there too, restore them from an older copy").Check
	case m.hashed+len(chosen) == 0:
		return verdict.CannotTell(LFSContent, wanted, errors.New("nothing was there to be looked at"), "see "+LFSPresent).Check
	}
	return verdict.Check{ID: LFSContent, Verdict: verdict.Proven, Wanted: wanted, Got: got}
}

// choose picks n, others each day and the same ones all day.
func choose(oids []string, n int, now time.Time) []string {
	day := now.UTC().Format(time.DateOnly)
	key := make(map[string][32]byte, len(oids))
	for _, oid := range oids {
		key[oid] = sha256.Sum256([]byte(day + oid))
	}
	sorted := slices.SortedFunc(slices.Values(oids), func(a, b string) int {
		x, y := key[a], key[b]
		return slices.Compare(x[:], y[:])
	})
	return sorted[:min(n, len(sorted))]
}
