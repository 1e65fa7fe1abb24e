package signature

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVerify(t *testing.T) {
	mine, stranger := newSigner(t), newSigner(t)
	sig, err := Sign([]byte("a document"), mine, "a purpose")
	if err != nil {
		t.Fatal(err)
	}
	armored, err := ParseArmored(Armored(sig))
	if err != nil {
		t.Fatal(err)
	}
	forged := *sig
	forged.PublicKey = stranger.PublicKey()
	for name, tt := range map[string]struct {
		document, namespace string
		sig                 *sshsig.Signature
		keys                []ssh.PublicKey
		unknown, ok         bool
	}{
		"as it is":        {"a document", "a purpose", sig, []ssh.PublicKey{mine.PublicKey()}, false, true},
		"armored":         {"a document", "a purpose", armored, []ssh.PublicKey{mine.PublicKey()}, false, true},
		"one of two keys": {"a document", "a purpose", sig, []ssh.PublicKey{stranger.PublicKey(), mine.PublicKey()}, false, true},
		"another one":     {"A document", "a purpose", sig, []ssh.PublicKey{mine.PublicKey()}, false, false},
		"another purpose": {"a document", "another", sig, []ssh.PublicKey{mine.PublicKey()}, false, false},
		"another key":     {"a document", "a purpose", sig, []ssh.PublicKey{stranger.PublicKey()}, true, false},
		"no key":          {"a document", "a purpose", sig, nil, true, false},
		"a claimed key":   {"a document", "a purpose", &forged, []ssh.PublicKey{stranger.PublicKey()}, false, false},
	} {
		err := Verify([]byte(tt.document), tt.sig, tt.namespace, tt.keys...)
		unknown := (*UnknownKeyError)(nil)
		if (err == nil) != tt.ok || errors.As(err, &unknown) != tt.unknown {
			t.Errorf("%s: %v", name, err)
		}
		if tt.unknown && !strings.Contains(err.Error(), ssh.FingerprintSHA256(mine.PublicKey())) {
			t.Errorf("%s: whose it is: %v", name, err)
		}
	}
}

// A blob is taken in one form only: no byte of it can be changed, or added.
func TestParseBlob(t *testing.T) {
	key := newSigner(t)
	sig, err := Sign([]byte("a document"), key, "a purpose")
	if err != nil {
		t.Fatal(err)
	}
	blob := sig.Marshal()
	good := func(blob []byte) bool {
		sig, err := ParseBlob(blob)
		return err == nil && Verify([]byte("a document"), sig, "a purpose", key.PublicKey()) == nil
	}
	if !good(blob) {
		t.Fatal("refused as it is")
	}
	for i := range blob {
		for _, flip := range []byte{1, 0x80, 0xff} {
			changed := append([]byte(nil), blob...)
			changed[i] ^= flip
			if good(changed) {
				t.Errorf("byte %d ^ %#x is taken", i, flip)
			}
		}
	}
	// The reserved field after the namespace is signed by nobody.
	field := append([]byte{0, 0, 0, byte(len("a purpose"))}, "a purpose"...)
	head, tail, ok := strings.Cut(string(blob), string(field))
	if !ok {
		t.Fatal("no namespace in the blob")
	}
	if stuffed := head + string(field) + "\x00\x00\x00\x01x" + tail[4:]; good([]byte(stuffed)) {
		t.Error("a reserved field with something in it is taken")
	} else if sig, err := sshsig.ParseSignature([]byte(stuffed)); err != nil || Verify([]byte("a document"), sig, "a purpose", key.PublicKey()) != nil {
		t.Errorf("it is refused for another reason: %v", err)
	}
	if good(append(blob, 0)) || good(nil) {
		t.Error("something else is taken")
	}
}

func TestReadSigner(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-N", "correct horse", "-t", "ed25519", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	from := Source{ID: "evidence", Name: "SOME_KEY"}
	for path, want := range map[string]string{key: "ssh-keygen -t ed25519 -N ''", key + ".pub": "not of the .pub file", filepath.Join(dir, "nobody"): "correct the file or SOME_KEY"} {
		if _, err := ReadSigner(path, from); !verdict.Has(err, "evidence") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-p", "-P", "correct horse", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := ReadSigner(key, from); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(key, []byte("hunter2 hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSigner(key, from); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("what is in the file is said: %v", err)
	}
}

func TestParseSigners(t *testing.T) {
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(newSigner(t).PublicKey())))
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	for text, want := range map[string]string{
		"":                                    "0 keys",
		"# a comment\n\n":                     "0 keys",
		key:                                   "1 keys",
		key + " a comment":                    "1 keys",
		"runner " + key + "\n" + key:          "2 keys",
		`"a b",c ` + key:                      "1 keys",
		`runner namespaces="here" ` + key:     "1 keys",
		`runner namespaces="there,h*" ` + key: "1 keys",
		`runner namespaces="there" ` + key:    "0 keys",
		`runner valid-after="20260102Z",valid-before="202601040000Z" ` + key:    "1 keys from 2 until 4",
		`runner valid-after="20260102Z",valid-after="20260103Z" ` + key:         "1 keys from 3 until 0",
		`runner valid-before="20260105Z",valid-before="20260104000000Z" ` + key: "1 keys from 0 until 4",
		`runner cert-authority ` + key:                                          "not known here",
		`runner valid-after="soon" ` + key:                                      "wanted a time",
		"runner x y " + key:                                                     "no public key",
		"ssh-ed25519 AAAA":                                                      "no public key",
		"runner":                                                                "line 1: no public key",
	} {
		signers, err := ParseSigners(text, "here")
		got := fmt.Sprint(len(signers), " keys")
		if err != nil {
			got = err.Error()
		} else if len(signers) == 1 && strings.Contains(text, "valid") {
			from, until := 0, 0
			if s := signers[0]; !s.From.IsZero() {
				from = s.From.Day()
			}
			if s := signers[0]; !s.Until.IsZero() {
				until = s.Until.Day()
			}
			got += fmt.Sprintf(" from %d until %d", from, until)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	s := Signer{From: day(2), Until: day(4)}
	var got []int
	for d := 1; d <= 5; d++ {
		if s.ValidAt(day(d)) {
			got = append(got, d)
		}
	}
	if diff := cmp.Diff([]int{2, 3}, got); diff != "" || !(Signer{}).ValidAt(day(1)) {
		t.Errorf("valid on (-want +got):\n%s", diff)
	}
}
