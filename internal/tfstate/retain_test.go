package tfstate

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// backdate gives an archive another time, in its name and its manifest.
func (f *fixture) backdate(t *testing.T, b *Backup, age time.Duration) string {
	t.Helper()
	m := *b.Manifest
	m.Created = m.Created.Add(-age)
	m.Name = newName(m.Created, m.State.Serial, m.State.SHA256)
	data, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range []Dir{f.Local, f.Offsite.(Dir)} {
		if err := os.WriteFile(filepath.Join(store.Location(b.Manifest.Name), ManifestFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(store.Location(b.Manifest.Name), store.Location(m.Name)); err != nil {
			t.Fatal(err)
		}
	}
	return m.Name
}

func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		count, days int
		ages        []int // in days, of the archives that are there
		want        []int // of those that stay, besides the new one
	}{
		{0, 0, []int{1, 100, 1000}, []int{1, 100, 1000}},
		{2, 0, []int{1, 2, 3}, []int{1}},
		{0, 10, []int{1, 9, 11, 30}, []int{1, 9}},
		{2, 10, []int{1, 9, 11, 30}, []int{1, 9}},
		{4, 10, []int{1, 9, 11, 30}, []int{1, 9, 11}},
		{1, 0, []int{1, 2}, nil},
	} {
		t.Run(fmt.Sprintf("%d archives, %d days", c.count, c.days), func(t *testing.T) {
			f := newFixture(t)
			f.write(t, stateOf(1, 5, "l"))
			byName := map[string]int{}
			slices.Sort(c.ages)
			for _, age := range slices.Backward(c.ages) {
				byName[f.backdate(t, f.mustMake(t), time.Duration(age)*day)] = age
			}
			f.RetainCount, f.RetainDays = c.count, c.days
			newest := f.mustMake(t).Manifest.Name
			for _, store := range []Dir{f.Local, f.Offsite.(Dir)} {
				names, err := archiveNames(context.Background(), store)
				if err != nil || !slices.Contains(names, newest) {
					t.Fatalf("%s: %v %v", store.Path, names, err)
				}
				var got []int
				for _, n := range names {
					if n != newest {
						got = append(got, byName[n])
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("%s: kept %v, wanted %v", store.Path, got, c.want)
				}
			}
			f.mustBeClean(t, len(c.want)+1)
		})
	}
}

// The newest archives were taken with an override, or have rotted: the last
// good one stays although it is beyond every limit.
func TestRetentionKeepsTheLastGoodOne(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(5, 10, "l"))
	older := f.backdate(t, f.mustMake(t), 400*24*time.Hour)
	good := f.backdate(t, f.mustMake(t), 300*24*time.Hour)
	rotten := f.backdate(t, f.mustMake(t), 200*24*time.Hour)
	for _, store := range []Dir{f.Local, f.Offsite.(Dir)} {
		if err := os.WriteFile(filepath.Join(store.Location(rotten), ArchiveFile), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.write(t, stateOf(6, 1, "l"))
	f.Accept, f.RetainCount = []string{"shrunk"}, 1
	newest := f.mustMake(t).Manifest.Name
	for _, store := range []Dir{f.Local, f.Offsite.(Dir)} {
		names, _ := archiveNames(context.Background(), store)
		if want := []string{newest, good}; !slices.Equal(names, want) {
			t.Errorf("kept %v, wanted %v (older: %s)", names, want, older)
		}
	}
}

// The clock was in the future once: the archive from there does not push the
// one that was just made beyond the limit.
func TestRetentionKeepsTheNewOneBehindAFutureOne(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(5, 10, "l"))
	future := f.backdate(t, f.mustMake(t), -400*24*time.Hour)
	f.RetainCount = 1
	newest := f.mustMake(t).Manifest.Name
	names, _ := archiveNames(context.Background(), f.Local)
	if want := []string{future, newest}; !slices.Equal(names, want) {
		t.Errorf("kept %v, wanted %v", names, want)
	}
}

// Nothing that is not an archive of ours is ever touched.
func TestRetentionLeavesStrangersAlone(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(5, 10, "l"))
	f.mustMake(t)
	for _, name := range []string{"photos", "20200101T000000.000Z-serial1-zzzzzzzzzzzz", ".partial-otherhost-1"} {
		if err := os.MkdirAll(filepath.Join(f.Local.Path, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	f.RetainCount = 1
	f.mustMake(t)
	entries, _ := os.ReadDir(f.Local.Path)
	if len(entries) != 5 { // three strangers, the lock, one archive
		t.Errorf("%v", entries)
	}
}

func TestLockIsWaitedForAndNamed(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(1, 1, "l"))
	unlock, err := f.lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Make(context.Background(), f.src, ForPlan); err == nil || !strings.Contains(err.Error(), "another run is writing them") {
		t.Fatalf("got %v", err)
	}
	time.AfterFunc(50*time.Millisecond, unlock)
	f.mustMake(t)
}
