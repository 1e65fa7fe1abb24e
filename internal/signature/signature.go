// Package signature makes and reads the signatures of ssh-keygen -Y: a
// document, a purpose and one of a list of SSH keys, so that anybody with
// OpenSSH can check what this project signed. It refuses a key that needs
// somebody to type, and a signature that says the same in other bytes.
package signature

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"edge-actions/internal/verdict"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Source says where the path of a key came from, for the words of a refusal.
type Source struct {
	// ID is that of the check: "input-signing_key".
	ID string
	// Name is what the operator corrects: "the input signing_key".
	Name string
}

// ReadSigner reads a private SSH key in OpenSSH or PEM form. A refusal has the
// source's name and shows nothing of the key.
func ReadSigner(path string, from Source) (ssh.Signer, error) {
	refuse := func(got, hint string) error {
		return verdict.Refuse(from.ID, "a private SSH key without a passphrase: ed25519, ecdsa or rsa", got, hint)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, refuse(quote(err.Error()), "correct the file or "+from.Name)
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

// Sign signs a document for a purpose: a signature for one namespace is none
// for another.
func Sign(document []byte, signer ssh.Signer, namespace string) (*sshsig.Signature, error) {
	return sshsig.Sign(bytes.NewReader(document), signer, sshsig.HashSHA512, namespace)
}

// Armored renders a signature as ssh-keygen -Y sign does.
func Armored(sig *sshsig.Signature) []byte { return sshsig.Armor(sig) }

// ParseArmored reads what ssh-keygen -Y sign writes.
func ParseArmored(data []byte) (*sshsig.Signature, error) { return sshsig.Unarmor(data) }

// ParseBlob reads a signature without its armor. It takes one form of each
// signature only, so that no byte of it can be changed unseen.
func ParseBlob(data []byte) (*sshsig.Signature, error) {
	sig, err := sshsig.ParseSignature(data)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(sig.Marshal(), data) {
		return nil, errors.New("it has bytes that no signature needs")
	}
	return sig, nil
}

// UnknownKeyError says that a signature is by none of the keys.
type UnknownKeyError struct{ Fingerprint string }

func (e *UnknownKeyError) Error() string { return "one by " + e.Fingerprint }

// Verify returns nil if sig is one of the document, for this purpose, by one of
// the keys, and an *UnknownKeyError if it is by none of them.
func Verify(document []byte, sig *sshsig.Signature, namespace string, keys ...ssh.PublicKey) error {
	marshaled := sig.PublicKey.Marshal()
	for _, key := range keys {
		if bytes.Equal(key.Marshal(), marshaled) {
			return sshsig.Verify(bytes.NewReader(document), sig, key, sig.HashAlgorithm, namespace)
		}
	}
	return &UnknownKeyError{ssh.FingerprintSHA256(sig.PublicKey)}
}

// quote shows foreign words, and not a page of them.
func quote(s string) string {
	const most = 120
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%s… (%d bytes)", strconv.Quote(s[:most]), len(s))
}
