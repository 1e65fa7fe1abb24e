// Package restictest makes restic repositories for tests: real ones, by the
// real restic, with one thing changed. restic makes the key that a password
// opens so expensive that each command takes half a second before it does
// anything; here that key is sealed anew with a cheap one, in restic's own
// format (its design document, "Keys, Encryption and MAC"). The repository's
// master key, its id and all else are as restic made them.
package restictest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"edge-actions/internal/testing/realtools"

	"golang.org/x/crypto/poly1305" //nolint:staticcheck // restic's format is Poly1305-AES, for which there is nothing else
	"golang.org/x/crypto/scrypt"
)

// Password opens every repository of this package.
const Password = "open sesame"

// template is made once for a test binary.
type template struct {
	dir, id string
	err     error
}

// shared is made by the first test that needs it.
var shared struct {
	sync.Once
	template
}

func made() template {
	shared.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "restictest-"); shared.err == nil {
			shared.id, shared.err = build(shared.dir)
		}
	})
	return shared.template
}

// New makes a repository without a snapshot at dir, which must not exist, and
// returns its id.
func New(t testing.TB, dir string) (id string) {
	t.Helper()
	realtools.Path(t, "restic")
	from := made()
	if from.err != nil {
		t.Fatalf("making a restic repository: %v", from.err)
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(from.dir, "repository"))); err != nil {
		t.Fatalf("copying a restic repository: %v", err)
	}
	return from.id
}

// Main runs the tests of a package that uses New, and removes what it made.
func Main(m *testing.M) int {
	code := m.Run()
	if shared.dir != "" { // no test runs any more
		os.RemoveAll(shared.dir)
	}
	return code
}

func build(dir string) (id string, err error) {
	repo, file := filepath.Join(dir, "repository"), filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte(Password+"\n"), 0o600); err != nil {
		return "", err
	}
	restic := func(args ...string) ([]byte, error) {
		out, err := exec.Command("restic", append([]string{"--repo", repo, "--password-file", file, "--no-cache", "--quiet"}, args...)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("restic %v: %w: %s", args, err, out)
		}
		return out, err
	}
	if _, err := restic("init"); err != nil {
		return "", err
	}
	if err := cheapen(repo); err != nil {
		return "", fmt.Errorf("sealing the key anew: %w", err)
	}
	out, err := restic("cat", "config") // restic takes it
	if err != nil {
		return "", err
	}
	var config struct{ ID string }
	return config.ID, json.Unmarshal(out, &config)
}

// keyFile is what lies in "keys".
type keyFile struct {
	Created  string `json:"created"`
	Username string `json:"username"`
	Hostname string `json:"hostname"`
	KDF      string `json:"kdf"`
	N        int    `json:"N"`
	R        int    `json:"r"`
	P        int    `json:"p"`
	Salt     []byte `json:"salt"`
	Data     []byte `json:"data"`
}

// cheapen seals the one key of a repository with the cheapest scrypt there is.
func cheapen(repo string) error {
	dir := filepath.Join(repo, "keys")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		return fmt.Errorf("wanted one key, found %d: %w", len(entries), err)
	}
	path := filepath.Join(dir, entries[0].Name())
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var k keyFile
	if err := json.Unmarshal(text, &k); err != nil {
		return err
	}
	old, err := derive(k)
	if err != nil {
		return err
	}
	master, err := old.open(k.Data)
	if err != nil {
		return err
	}
	k.N, k.R, k.P = 2, 1, 1
	fresh, err := derive(k)
	if err != nil {
		return err
	}
	if k.Data, err = fresh.seal(master); err != nil {
		return err
	}
	if text, err = json.Marshal(k); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	// A file has the name of its content.
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256(text))), text, 0o600)
}

// sealer is what scrypt makes of the password: a key for AES-256-CTR, and one
// for Poly1305-AES as k and r.
type sealer struct{ encrypt, k, r []byte }

func derive(k keyFile) (*sealer, error) {
	b, err := scrypt.Key([]byte(Password), k.Salt, k.N, k.R, k.P, 64)
	if err != nil {
		return nil, err
	}
	return &sealer{b[:32], b[32:48], b[48:64]}, nil
}

// mac is of a text under a nonce.
func (s *sealer) mac(text, nonce []byte) ([]byte, error) {
	block, err := aes.NewCipher(s.k)
	if err != nil {
		return nil, err
	}
	var key [32]byte
	copy(key[:16], s.r)
	block.Encrypt(key[16:], nonce)
	var out [16]byte
	poly1305.Sum(&out, text, &key)
	return out[:], nil
}

func (s *sealer) crypt(text, nonce []byte) ([]byte, error) {
	block, err := aes.NewCipher(s.encrypt)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(text))
	cipher.NewCTR(block, nonce).XORKeyStream(out, text)
	return out, nil
}

func (s *sealer) open(data []byte) ([]byte, error) {
	if len(data) < 32 {
		return nil, errors.New("too short")
	}
	nonce, text, mac := data[:16], data[16:len(data)-16], data[len(data)-16:]
	want, err := s.mac(text, nonce)
	if err != nil || string(want) != string(mac) {
		return nil, errors.Join(err, errors.New("another password, or another format than the one that is known here"))
	}
	return s.crypt(text, nonce)
}

func (s *sealer) seal(text []byte) ([]byte, error) {
	nonce := make([]byte, 16)
	rand.Read(nonce) // never fails
	sealed, err := s.crypt(text, nonce)
	if err != nil {
		return nil, err
	}
	mac, err := s.mac(sealed, nonce)
	return append(append(nonce, sealed...), mac...), err
}
