package handoff

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Namespace is the namespace of a handoff's signature: one made with the same
// key for anything else is not one of a handoff.
const Namespace = "edge-actions-handoff"

// File is the name of a handoff; its signature has SignatureSuffix after it.
const (
	File            = "handoff.json"
	SignatureSuffix = ".sig"
)

// ReadSigner reads a private SSH key in OpenSSH or PEM form. A refusal is
// named "input-signing_key" and shows nothing of the key.
func ReadSigner(path string) (ssh.Signer, error) {
	refuse := func(got, hint string) error {
		return verdict.Refuse("input-signing_key", "a private SSH key without a passphrase: ed25519, ecdsa or rsa", got, hint)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, refuse(quote(err.Error()), "correct the file or the input signing_key")
	}
	signer, err := ssh.ParsePrivateKey(data)
	if locked := (*ssh.PassphraseMissingError)(nil); errors.As(err, &locked) {
		return nil, refuse("one with a passphrase", "nobody is there to type it: make a key for this job with ssh-keygen -t ed25519 -N ''")
	}
	if err != nil {
		// The parser's own words may hold parts of the file.
		return nil, refuse("a file that is none", "give the path of the private key, not of the .pub file")
	}
	switch signer.PublicKey().Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA:
		return signer, nil
	}
	return nil, refuse(quote(signer.PublicKey().Type()), "make a key with ssh-keygen -t ed25519 -N ''")
}

// Sign returns the signature of a document in the armored form of ssh-keygen
// -Y sign.
func Sign(document []byte, signer ssh.Signer) ([]byte, error) {
	sig, err := sshsig.Sign(bytes.NewReader(document), signer, sshsig.HashSHA512, Namespace)
	if err != nil {
		return nil, fmt.Errorf("signing the handoff: %w", err)
	}
	return sshsig.Armor(sig), nil
}

// Verify returns an error named "signature" unless signature is one of the
// document, for this purpose, by one of the keys.
func Verify(document, signature []byte, keys ...ssh.PublicKey) error {
	refuse := func(got string) error {
		return verdict.Refuse("signature", "a handoff signed by a known key", got, "pass handoff.json and handoff.json.sig unchanged, and the public key of the stack's signing_key")
	}
	sig, err := sshsig.Unarmor(signature)
	if err != nil {
		return refuse("no readable signature: " + quote(err.Error()))
	}
	for _, key := range keys {
		if !bytes.Equal(key.Marshal(), sig.PublicKey.Marshal()) {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(document), sig, key, sig.HashAlgorithm, Namespace); err != nil {
			return refuse("one that does not fit: " + quote(err.Error()))
		}
		return nil
	}
	return refuse("one by " + ssh.FingerprintSHA256(sig.PublicKey))
}

// Written is a handoff on disk.
type Written struct {
	Path          string
	SHA256        string // of the bytes at Path, lower-case hex
	SignaturePath string // "" without a signature
	Fingerprint   string // of the key that signed, "SHA256:…"; "" without a signature
}

// Write puts the document into dir as File, and its signature beside it if
// signer is not nil. It reads both back and judges what it finds there, so that
// what it returns has been seen on disk.
func (d *Document) Write(dir string, signer ssh.Signer) (Written, error) {
	w := Written{Path: filepath.Join(dir, File)}
	data, err := d.Encode()
	if err != nil {
		return Written{}, err
	}
	// First the signature of an earlier handoff: beside a new document it would
	// be a wrong one, and without a new one it would stay.
	old := w.Path + SignatureSuffix
	if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Written{}, fmt.Errorf("removing the old signature: %w", err)
	}
	if err := files.Write(w.Path, data); err != nil {
		return Written{}, fmt.Errorf("writing the handoff: %w", err)
	}
	if signer != nil {
		sig, err := Sign(data, signer)
		if err != nil {
			return Written{}, err
		}
		w.SignaturePath, w.Fingerprint = old, ssh.FingerprintSHA256(signer.PublicKey())
		if err := files.Write(w.SignaturePath, sig); err != nil {
			return Written{}, fmt.Errorf("writing the signature: %w", err)
		}
	}
	return w, w.check(data, signer)
}

// check reads the files back: the document is to be the one that was written,
// and the signature one of it.
func (w *Written) check(document []byte, signer ssh.Signer) error {
	data, err := os.ReadFile(w.Path)
	if err != nil {
		return fmt.Errorf("reading the handoff back: %w", err)
	}
	if !bytes.Equal(data, document) {
		return verdict.Refuse("written", "the handoff at "+w.Path, "other bytes", "another run writes to the same handoff_dir: give each stack its own")
	}
	w.SHA256 = fmt.Sprintf("%x", sha256.Sum256(data))
	if signer == nil {
		return nil
	}
	sig, err := os.ReadFile(w.SignaturePath)
	if err != nil {
		return fmt.Errorf("reading the signature back: %w", err)
	}
	return Verify(data, sig, signer.PublicKey())
}
