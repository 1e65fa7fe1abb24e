package tfstate

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/rclone"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// newRemoteFixture is newFixture with a remote of the real rclone off the
// machine. It returns the directory that is behind the remote.
func newRemoteFixture(t testing.TB) (*fixture, *rclone.Remote, string) {
	t.Helper()
	f := newFixture(t)
	root := filepath.Join(f.dir, "remote")
	conf := filepath.Join(f.dir, "rclone.conf")
	if err := os.WriteFile(conf, []byte("[offsite]\ntype = alias\nremote = "+root+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	remote := &rclone.Remote{
		Path: realtools.Path(t, "rclone"), Base: "offsite:state/edge", Files: ArchiveFiles, Timeout: time.Minute,
		Env: rclone.Environ([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + f.dir, "RCLONE_CONFIG=" + conf, "RCLONE_RETRIES=1"}),
	}
	f.Offsite = remote
	return f, remote, filepath.Join(root, "state", "edge")
}

// remoteHolds fails unless the remote lists n archives, and the files behind
// it give the state back with age and zstd alone.
func (f *fixture) remoteHolds(t testing.TB, dir string, n int, state []byte) {
	t.Helper()
	names, err := archiveNames(context.Background(), f.Offsite)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != n {
		t.Fatalf("the remote lists %q, wanted %d", names, n)
	}
	for _, name := range names {
		if !bytes.Equal(f.open(t, filepath.Join(dir, name)), state) {
			t.Fatalf("%s is not the state", name)
		}
	}
}

func TestRemoteCopy(t *testing.T) {
	f, remote, dir := newRemoteFixture(t)
	state := stateOf(3, 500, "l-1")
	f.write(t, state)
	b := f.mustMake(t)
	if want := remote.Location(b.Manifest.Name); b.OffsitePath != want {
		t.Errorf("the copy is said to be at %s, not %s", b.OffsitePath, want)
	}
	f.remoteHolds(t, dir, 1, state)
	if err := f.Verify(t.Context(), b.Manifest.Name, b.Manifest.Archive.SHA256); err != nil {
		t.Fatal(err)
	}
	// A new runner has the remote's archive to hold the state against.
	if err := os.RemoveAll(f.Local.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.state); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Make(t.Context(), f.src, ForPlan); verdict.Reason(err) != "state-vanished" {
		t.Errorf("a lost state was taken for a new stack: %v", err)
	}
}

func TestRemoteRetention(t *testing.T) {
	t.Parallel()
	f, _, dir := newRemoteFixture(t)
	state := stateOf(3, 50, "l-1")
	f.write(t, state)
	f.RetainCount = 2
	var last *Backup
	for range 4 {
		last = f.mustMake(t)
	}
	f.remoteHolds(t, dir, 2, state)
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("%d directories are left on the remote", len(entries))
	}
	if _, err := os.Stat(filepath.Join(dir, last.Manifest.Name, ManifestFile)); err != nil {
		t.Errorf("the newest: %v", err)
	}
}

// flipping is a double of a provider that keeps one bit wrong of what the real
// rclone uploads to it. It follows the contract of Store and leaves nothing out.
type flipping struct {
	*rclone.Remote
	dir, file string
}

func (f flipping) Put(ctx context.Context, name, dir string) error {
	if err := f.Remote.Put(ctx, name, dir); err != nil {
		return err
	}
	path := filepath.Join(f.dir, name, f.file)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	return os.WriteFile(path, data, 0o600)
}

func TestRemoteCopyWithOneFlippedBit(t *testing.T) {
	f, remote, dir := newRemoteFixture(t)
	state := stateOf(3, 500, "l-1")
	f.write(t, state)
	good := f.mustMake(t)
	f.Offsite = flipping{remote, dir, ArchiveFile}
	_, err := f.Make(t.Context(), f.src, ForPlan)
	if verdict.Reason(err) != "backup-unproven" {
		t.Fatalf("got %v", err)
	}
	f.remoteHolds(t, dir, 1, state)
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || entries[0].Name() != good.Manifest.Name {
		t.Errorf("the remote holds %v", entries)
	}
	// The same after the fact: what was proved once is not taken on trust.
	f.Offsite = remote
	path := filepath.Join(dir, good.Manifest.Name, ArchiveFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(t.Context(), good.Manifest.Name, good.Manifest.Archive.SHA256); verdict.Reason(err) != "backup-unproven" {
		t.Errorf("Verify: %v", err)
	}
}

// A remote that can't be reached or doesn't exist is no remote without archives.
func TestRemoteThatCannotBeRead(t *testing.T) {
	f, remote, _ := newRemoteFixture(t)
	f.write(t, stateOf(3, 5, "l-1"))
	remote.Base = "offsit:state/edge"
	_, err := f.Make(t.Context(), f.src, ForPlan)
	if verdict.Reason(err) != "backup-unproven" || !strings.Contains(err.Error(), "didn't find section in config file") {
		t.Fatalf("got %v", err)
	}
	// Least of all where the state is lost, and a new one would be accepted.
	if err := os.Remove(f.state); err != nil {
		t.Fatal(err)
	}
	f.Accept = []string{"new"}
	if _, err := f.Make(t.Context(), f.src, ForPlan); verdict.Reason(err) != "backup-unproven" {
		t.Errorf("without a state: got %v", err)
	}
}

// What differs on the remote is only the manifest: the archive is right, and
// still nobody may be led to another one.
func TestRemoteManifestOfAnother(t *testing.T) {
	f, _, dir := newRemoteFixture(t)
	f.write(t, stateOf(3, 5, "l-1"))
	b := f.mustMake(t)
	path := filepath.Join(dir, b.Manifest.Name, ManifestFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(data), b.Manifest.Name, newName(time.Now(), 9, strings.Repeat("0", 64)), 1)
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(t.Context(), b.Manifest.Name, b.Manifest.Archive.SHA256); verdict.Reason(err) != "backup-unproven" || !strings.Contains(err.Error(), "has the manifest of") {
		t.Errorf("got %v", err)
	}
}

// What a killed upload left is removed a day later, and nothing that may be an
// upload under way, or somebody else's.
func TestRemainsOfUploadsAreSwept(t *testing.T) {
	f, _, dir := newRemoteFixture(t)
	state := stateOf(3, 5, "l-1")
	f.write(t, state)
	old := newName(time.Now().Add(-25*time.Hour), 3, strings.Repeat("a", 64))
	young := newName(time.Now().Add(-time.Hour), 3, strings.Repeat("b", 64))
	for _, name := range []string{old, young, "photos"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, ArchiveFile), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.mustMake(t)
	for name, want := range map[string]bool{old: false, young: true, "photos": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.remoteHolds(t, dir, 1, state)
}
