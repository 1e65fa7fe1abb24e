package handoff

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// ssh-keygen is the judge: it accepts what Write leaves behind, for each type
// of key, and refuses a changed document, another purpose and another signer.
func TestSSHKeygenVerifies(t *testing.T) {
	keygen := needKeygen(t)
	for _, kind := range [][]string{{"ed25519"}, {"ecdsa", "-b", "384"}, {"rsa", "-b", "2048"}, {"rsa", "-b", "2048", "-m", "PEM"}} {
		t.Run(strings.Join(kind, " "), func(t *testing.T) {
			dir := t.TempDir()
			key := makeKey(t, filepath.Join(dir, "key"), "", kind...)
			signer, err := ReadSigner(key)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := Build(outputsOf(t, nodes(2)), conventional(t), about)
			if err != nil {
				t.Fatal(err)
			}
			w, err := doc.Write(dir, signer)
			if err != nil {
				t.Fatal(err)
			}
			pub, err := os.ReadFile(key + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			allowed := filepath.Join(dir, "allowed_signers")
			if err := os.WriteFile(allowed, append([]byte("infra "), pub...), 0o600); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(w.Path)
			if err != nil {
				t.Fatal(err)
			}
			verify := func(data []byte, who, what string) error {
				cmd := exec.Command(keygen, "-Y", "verify", "-f", allowed, "-I", who, "-n", what, "-s", w.SignaturePath)
				cmd.Stdin = bytes.NewReader(data)
				out, err := cmd.CombinedOutput()
				t.Logf("%s", out)
				return err
			}
			if err := verify(data, "infra", Namespace); err != nil {
				t.Errorf("ssh-keygen refuses the signature: %v", err)
			}
			if verify(bytes.Replace(data, []byte("10.0.0.1"), []byte("10.0.0.7"), 1), "infra", Namespace) == nil {
				t.Error("ssh-keygen accepts a changed document")
			}
			if verify(data, "infra", "file") == nil {
				t.Error("ssh-keygen accepts another namespace")
			}
			if verify(data, "mallory", Namespace) == nil {
				t.Error("ssh-keygen accepts another signer")
			}
		})
	}
}

// The other way round: Verify accepts what ssh-keygen signed.
func TestVerify(t *testing.T) {
	keygen, dir := needKeygen(t), t.TempDir()
	key := makeKey(t, filepath.Join(dir, "key"), "", "ed25519")
	signer, err := ReadSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, File)
	sign := func(namespace string, more ...string) []byte {
		if err := os.WriteFile(path, []byte("a handoff"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path + SignatureSuffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if out, err := exec.Command(keygen, append([]string{"-Y", "sign", "-f", key, "-n", namespace}, append(more, path)...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		sig, err := os.ReadFile(path + SignatureSuffix)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	good, stranger := sign(Namespace), newSigner(t)
	for name, tt := range map[string]struct {
		doc  string
		sig  []byte
		keys []ssh.PublicKey
		ok   bool
	}{
		"as it is":          {"a handoff", good, []ssh.PublicKey{signer.PublicKey()}, true},
		"one of two keys":   {"a handoff", good, []ssh.PublicKey{stranger.PublicKey(), signer.PublicKey()}, true},
		"with SHA-256":      {"a handoff", sign(Namespace, "-O", "hashalg=sha256"), []ssh.PublicKey{signer.PublicKey()}, true},
		"a changed one":     {"a Handoff", good, []ssh.PublicKey{signer.PublicKey()}, false},
		"another key":       {"a handoff", good, []ssh.PublicKey{stranger.PublicKey()}, false},
		"no key":            {"a handoff", good, nil, false},
		"another namespace": {"a handoff", sign("file"), []ssh.PublicKey{signer.PublicKey()}, false},
		"no signature":      {"a handoff", nil, []ssh.PublicKey{signer.PublicKey()}, false},
		"a cut signature":   {"a handoff", good[:len(good)/2], []ssh.PublicKey{signer.PublicKey()}, false},
	} {
		err := Verify([]byte(tt.doc), tt.sig, tt.keys...)
		if (err == nil) != tt.ok || err != nil && !verdict.Has(err, "signature") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A signature that claims a known key in its header, made by another one.
func TestVerifyForged(t *testing.T) {
	mine, theirs := newSigner(t), newSigner(t)
	sig, err := sshsig.Sign(strings.NewReader("a handoff"), theirs, sshsig.HashSHA512, Namespace)
	if err != nil {
		t.Fatal(err)
	}
	sig.PublicKey = mine.PublicKey()
	if err := Verify([]byte("a handoff"), sshsig.Armor(sig), mine.PublicKey()); !verdict.Has(err, "signature") {
		t.Errorf("got %v", err)
	}
}

func TestReadSigner(t *testing.T) {
	dir := t.TempDir()
	plain := makeKey(t, filepath.Join(dir, "plain"), "", "ed25519")
	locked := makeKey(t, filepath.Join(dir, "locked"), "correct horse", "ed25519")
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("hunter2 hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		locked:                       "ssh-keygen -t ed25519 -N ''",
		plain + ".pub":               "not of the .pub file",
		junk:                         "not of the .pub file",
		dir:                          "correct the file",
		filepath.Join(dir, "nobody"): "correct the file",
	} {
		_, err := ReadSigner(path)
		if !verdict.Has(err, "input-signing_key") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: wanted %q, got %v", path, want, err)
		}
	}
	if _, err := ReadSigner(plain); err != nil {
		t.Error(err)
	}
}

func TestWrite(t *testing.T) {
	dir, signer := t.TempDir(), newSigner(t)
	doc, err := Build(outputsOf(t, nodes(1)), conventional(t), about)
	if err != nil {
		t.Fatal(err)
	}
	w, err := doc.Write(dir, signer)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := files.SHA256(w.Path)
	if err != nil {
		t.Fatal(err)
	}
	want := Written{Path: filepath.Join(dir, "handoff.json"), SHA256: sum, SignaturePath: filepath.Join(dir, "handoff.json.sig"), Fingerprint: ssh.FingerprintSHA256(signer.PublicKey())}
	if diff := cmp.Diff(want, w); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, p := range []string{w.Path, w.SignaturePath} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", p, info.Mode(), err)
		}
	}
	// Without a key, the signature of the handoff before is not left beside it.
	if w, err = doc.Write(dir, nil); err != nil || w.SignaturePath != "" {
		t.Fatalf("%+v, %v", w, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "handoff.json.sig")); !os.IsNotExist(err) {
		t.Errorf("the old signature is still there: %v", err)
	}
	if _, err := doc.Write(filepath.Join(dir, "gone"), nil); err == nil {
		t.Error("written into a directory that isn't there")
	}
	// What was written is judged by what is read back.
	if err := w.check([]byte("another document"), nil); !verdict.Has(err, "written") {
		t.Errorf("another document on disk passes: %v", err)
	}
}

func needKeygen(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Fatal("ssh-keygen is not on PATH: install openssh-client")
	}
	return path
}

func makeKey(t *testing.T, path, passphrase string, kind ...string) string {
	t.Helper()
	out, err := exec.Command(needKeygen(t), append([]string{"-q", "-N", passphrase, "-C", "infra", "-f", path, "-t"}, kind...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}
