package tfstate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// stateOf makes a state as OpenTofu writes it.
func stateOf(serial, instances int, lineage string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n  \"version\": 4,\n  \"terraform_version\": \"1.12.6\",\n  \"serial\": %d,\n  \"lineage\": %q,\n  \"outputs\": {},\n  \"resources\": [", serial, lineage)
	r := rand.New(rand.NewPCG(uint64(serial), uint64(instances)))
	for i := range instances {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "\n    {\n      \"mode\": \"managed\",\n      \"type\": \"oci_core_instance\",\n      \"name\": \"n%d\",\n      \"instances\": [\n        {\n          \"attributes\": {\n            \"id\": \"ocid1.%x\",\n            \"secret\": \"hunter2-%d\"\n          }\n        }\n      ]\n    }", i, r.Uint64(), i)
	}
	b.WriteString("\n  ],\n  \"check_results\": null\n}\n")
	return b.Bytes()
}

type fixture struct {
	*Archives
	dir, state, key string
	src             File
}

// newFixture makes an archive of one state, with a directory off the machine
// and a key made by the real age-keygen.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "key.txt")
	realtools.Output(t, "age-keygen", "-o", key)
	name := strings.TrimSpace(realtools.Output(t, "age-keygen", "-y", key))
	recipient, err := age.ParseX25519Recipient(name)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{dir: dir, state: filepath.Join(dir, "edge.tfstate"), key: key}
	f.src = File{Path: f.state, LockTimeout: 200 * time.Millisecond}
	f.Archives = &Archives{
		Local: Dir{filepath.Join(dir, "local")}, Offsite: Dir{filepath.Join(dir, "off")},
		Recipients: []age.Recipient{recipient}, RecipientNames: []string{name},
		Stack: "edge", Workspace: "default", TofuVersion: "1.12.6", ShrinkPercent: 50,
		LockTimeout: 200 * time.Millisecond, Logf: t.Logf,
	}
	return f
}

func (f *fixture) write(t testing.TB, state []byte) {
	t.Helper()
	if err := os.WriteFile(f.state, state, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) mustMake(t testing.TB) *Backup {
	t.Helper()
	b, err := f.Make(context.Background(), f.src, ForPlan)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// open opens an archive as the operator would who has nothing but age, zstd
// and the key.
func (f *fixture) open(t testing.TB, dir string) []byte {
	t.Helper()
	cmd := exec.Command("bash", "-c", `set -o pipefail; "$1" -d -i "$2" "$3" | "$4" -d`, "-",
		realtools.Path(t, "age"), f.key, filepath.Join(dir, ArchiveFile), realtools.Path(t, "zstd"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("age -d | zstd -d of %s: %v", dir, err)
	}
	return out
}

func TestArchiveOpensWithAgeAndZstdAlone(t *testing.T) {
	for _, size := range []int{0, 1, 100, 20000} {
		t.Run(fmt.Sprint(size, " instances"), func(t *testing.T) {
			f := newFixture(t)
			want := stateOf(3, size, "l-1")
			f.write(t, want)
			b := f.mustMake(t)
			for _, dir := range []string{b.Path, b.OffsitePath} {
				if got := f.open(t, dir); !bytes.Equal(got, want) {
					t.Errorf("%s gives back %d bytes, not the state's %d", dir, len(got), len(want))
				}
				cmd := exec.Command("sha256sum", "-c", ChecksumsFile)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 2 {
					t.Errorf("sha256sum -c in %s: %v\n%s", dir, err, out)
				}
				entries, _ := os.ReadDir(dir)
				for _, e := range entries {
					if info, _ := e.Info(); info.Mode().Perm() != 0o600 {
						t.Errorf("%s/%s has mode %o", dir, e.Name(), info.Mode().Perm())
					}
				}
			}
			m := b.Manifest
			if m.State.Instances != size || m.State.Serial != 3 || m.State.Size != int64(len(want)) || m.State.Lineage != "l-1" {
				t.Errorf("the manifest says %+v", m.State)
			}
			for _, c := range b.Checks {
				if c.Verdict != verdict.Proven {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

func TestManyRecipients(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(1, 3, "l"))
	ssh := filepath.Join(f.dir, "id_ed25519")
	realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh)
	pub, err := os.ReadFile(ssh + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	r, err := agessh.ParseRecipient(string(pub))
	if err != nil {
		t.Fatal(err)
	}
	f.Recipients = append(f.Recipients, r)
	b := f.mustMake(t)
	age := realtools.Path(t, "age")
	for _, key := range []string{f.key, ssh} {
		if out, err := exec.Command(age, "-d", "-i", key, "-o", os.DevNull, filepath.Join(b.Path, ArchiveFile)).CombinedOutput(); err != nil {
			t.Errorf("age -d with %s: %s", filepath.Base(key), out)
		}
	}
}

func TestPostQuantumRecipient(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(1, 3, "l"))
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	f.Recipients = []age.Recipient{id.Recipient()}
	f.mustMake(t)
}

// With an identity the proof uses it, so a key that is not the recipient's is
// found out at once and not on the day of the restore.
func TestIdentityOfAnotherRecipient(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(1, 3, "l"))
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	f.Identities = []age.Identity{other}
	_, err = f.Make(context.Background(), f.src, ForPlan)
	if verdict.Reason(err) != "backup-unproven" || !strings.Contains(err.Error(), "decrypting") {
		t.Fatalf("got %v", err)
	}
}

// corrupting is a store on a disk that flips one bit of what it was given.
type corrupting struct {
	Dir
	bit int64
}

func (c corrupting) Put(ctx context.Context, name, dir string) error {
	if err := c.Dir.Put(ctx, name, dir); err != nil {
		return err
	}
	path := filepath.Join(c.Location(name), ArchiveFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	i := c.bit % int64(len(data)*8)
	data[i/8] ^= 1 << (i % 8)
	return os.WriteFile(path, data, 0o600)
}

func TestCopyWithOneFlippedBit(t *testing.T) {
	for range 40 {
		f := newFixture(t)
		f.write(t, stateOf(1, 30, "l"))
		bad := corrupting{f.Offsite.(Dir), rand.Int64N(1 << 40)}
		f.Offsite = bad
		_, err := f.Make(context.Background(), f.src, ForPlan)
		if verdict.Reason(err) != "backup-unproven" {
			t.Fatalf("bit %d: got %v", bad.bit, err)
		}
		if names, _ := bad.List(context.Background()); len(names) != 0 {
			t.Fatalf("bit %d: the bad copy was left where it is taken for a good one: %v", bad.bit, names)
		}
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	for _, where := range []string{"local", "off"} {
		f := newFixture(t)
		f.write(t, stateOf(1, 30, "l"))
		b := f.mustMake(t)
		if err := f.Verify(context.Background(), b.Manifest.Name, b.Manifest.Archive.SHA256); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(f.dir, where, b.Manifest.Name, ArchiveFile)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 4
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.Verify(context.Background(), b.Manifest.Name, b.Manifest.Archive.SHA256); verdict.Reason(err) != "backup-unproven" {
			t.Errorf("%s: got %v", where, err)
		}
		os.RemoveAll(filepath.Dir(path))
		if err := f.Verify(context.Background(), b.Manifest.Name, b.Manifest.Archive.SHA256); verdict.Reason(err) != "backup-unproven" {
			t.Errorf("%s removed: got %v", where, err)
		}
	}
}

// The receipt names an archive and its digest; another archive under that name
// is another backup.
func TestVerifyHoldsTheDigest(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(1, 3, "l"))
	b := f.mustMake(t)
	if err := f.Verify(context.Background(), b.Manifest.Name, strings.Repeat("0", 64)); verdict.Reason(err) != "backup-unproven" {
		t.Fatalf("got %v", err)
	}
}

// The digest that goes into the manifest is the one of the bytes that are read
// back.
func TestCheckHoldsTheDigest(t *testing.T) {
	f := newFixture(t)
	var archive bytes.Buffer
	s, err := seal(context.Background(), &archive, bytes.NewReader(stateOf(1, 3, "l")), f.Recipients)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(bytes.NewReader(archive.Bytes())); err != nil {
		t.Fatal(err)
	}
	s.archive.SHA256 = strings.Repeat("0", 64)
	if err := s.check(bytes.NewReader(archive.Bytes())); err == nil {
		t.Fatal("another digest was accepted")
	}
}

func TestVerifyTakesNoPathForAName(t *testing.T) {
	f := newFixture(t)
	if err := f.Verify(context.Background(), "../../etc", strings.Repeat("0", 64)); verdict.Reason(err) != "backup-unproven" {
		t.Fatal(err)
	}
}

// A state that is encrypted by OpenTofu is archived as the bytes it is.
func TestEncryptedState(t *testing.T) {
	f := newFixture(t)
	want := []byte(`{"serial":3,"lineage":"l-1","meta":{"k":"v"},"encrypted_data":"` + strings.Repeat("QUJD", 40000) + `","encryption_version":"v0"}`)
	f.write(t, want)
	b := f.mustMake(t)
	if got := f.open(t, b.OffsitePath); !bytes.Equal(got, want) {
		t.Error("another state came back")
	}
	if !b.Manifest.State.Encrypted || b.Manifest.State.Serial != 3 {
		t.Errorf("%+v", b.Manifest.State)
	}
}

func TestStateThatIsNotWhole(t *testing.T) {
	for name, state := range map[string][]byte{
		"cut": stateOf(1, 30, "l")[:500], "another document": []byte(`{"version":4}`),
	} {
		f := newFixture(t)
		f.write(t, state)
		_, err := f.Make(context.Background(), f.src, ForPlan)
		if verdict.Reason(err) != "state-whole" {
			t.Errorf("%s: got %v", name, err)
		}
		f.mustBeClean(t, 0)
	}
}

func TestPullSource(t *testing.T) {
	f := newFixture(t)
	want := stateOf(5, 50, "l")
	src := Pull{Backend: "pg", Pull: func(_ context.Context, w io.Writer) error { _, err := w.Write(want); return err }}
	b, err := f.Make(context.Background(), src, ForPlan)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.open(t, b.Path), want) {
		t.Error("another state came back")
	}
	// A pull that breaks off must not become an archive of half a state.
	broken := Pull{Backend: "pg", Pull: func(_ context.Context, w io.Writer) error {
		w.Write(want[:300])
		return errors.New("connection reset")
	}}
	if _, err := f.Make(context.Background(), broken, ForPlan); err == nil || !strings.Contains(err.Error(), "connection reset") {
		t.Fatalf("got %v", err)
	}
	// No state: nothing on stdout.
	none := Pull{Backend: "pg", Pull: func(context.Context, io.Writer) error { return nil }}
	if _, err := f.Make(context.Background(), none, ForPlan); verdict.Reason(err) != "state-vanished" {
		t.Fatalf("got %v", err)
	}
	f.mustBeClean(t, 1)
}

// mustBeClean fails unless both places hold n archives, all of which open, and
// nothing else.
func (f *fixture) mustBeClean(t testing.TB, n int) {
	t.Helper()
	for _, store := range []Dir{f.Local, f.Offsite.(Dir)} {
		entries, err := os.ReadDir(store.Path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		found := 0
		for _, e := range entries {
			switch {
			case e.Name() == ".lock":
			case archiveName.MatchString(e.Name()):
				found++
				f.open(t, store.Location(e.Name()))
			default:
				t.Errorf("%s was left in %s", e.Name(), store.Path)
			}
		}
		if found != n {
			t.Errorf("%d archives in %s, wanted %d", found, store.Path, n)
		}
	}
	if _, err := os.Stat(lockInfoPath(f.state)); err == nil {
		t.Error("the lock info was left at the state")
	}
}

// A manifest is foreign text once it comes from another machine.
func TestParseManifestRefuses(t *testing.T) {
	f := newFixture(t)
	f.write(t, stateOf(1, 1, "l"))
	good := f.mustMake(t).Manifest
	for name, spoil := range map[string]func(m *Manifest){
		"schema":  func(m *Manifest) { m.Schema = "v0" },
		"path":    func(m *Manifest) { m.Name = "../x" },
		"digest":  func(m *Manifest) { m.Archive.SHA256 = "" },
		"lineage": func(m *Manifest) { m.State.Lineage = "" },
	} {
		m := *good
		spoil(&m)
		data, _ := json.Marshal(m)
		if _, err := ParseManifest(bytes.NewReader(data)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
