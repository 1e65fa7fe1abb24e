package handoff

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"edge-actions/internal/files"
	"edge-actions/internal/signature"
	"edge-actions/internal/verdict"

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
	return signature.ReadSigner(path, signature.Source{ID: "input-signing_key", Name: "the input signing_key"})
}

// Sign returns the signature of a document in the armored form of ssh-keygen
// -Y sign.
func Sign(document []byte, signer ssh.Signer) ([]byte, error) {
	sig, err := signature.Sign(document, signer, Namespace)
	if err != nil {
		return nil, fmt.Errorf("signing the handoff: %w", err)
	}
	return signature.Armored(sig), nil
}

// Verify returns an error named "signature" unless armored is a signature of
// the document, for this purpose, by one of the keys.
func Verify(document, armored []byte, keys ...ssh.PublicKey) error {
	refuse := func(got string) error {
		return verdict.Refuse("signature", "a handoff signed by a known key", got, "pass handoff.json and handoff.json.sig unchanged, and the public key of the stack's signing_key")
	}
	sig, err := signature.ParseArmored(armored)
	if err != nil {
		return refuse("no readable signature: " + quote(err.Error()))
	}
	err = signature.Verify(document, sig, Namespace, keys...)
	if unknown := (*signature.UnknownKeyError)(nil); errors.As(err, &unknown) {
		return refuse(unknown.Error())
	}
	if err != nil {
		return refuse("one that does not fit: " + quote(err.Error()))
	}
	return nil
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
