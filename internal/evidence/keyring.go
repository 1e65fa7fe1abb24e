package evidence

import (
	"fmt"
	"time"

	"edge-actions/internal/signature"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// keyring are the keys that may sign, by their bytes.
type keyring map[string][]signature.Signer

func newKeyring(signers ...signature.Signer) keyring {
	k := keyring{}
	for _, s := range signers {
		name := string(s.Key.Marshal())
		k[name] = append(k[name], s)
	}
	return k
}

// verify returns nil if sig is of the document by a key that could sign then.
// A key that was retired stays listed, so what it signed in its time holds.
func (k keyring) verify(document []byte, sig *sshsig.Signature) error {
	listed := k[string(sig.PublicKey.Marshal())]
	if len(listed) == 0 {
		return &signature.UnknownKeyError{Fingerprint: ssh.FingerprintSHA256(sig.PublicKey)}
	}
	return signature.Verify(document, sig, Namespace, listed[0].Key)
}

// permit returns an error unless the key of sig could sign at that time.
func (k keyring) permit(sig *sshsig.Signature, at time.Time) error {
	for _, s := range k[string(sig.PublicKey.Marshal())] {
		if s.ValidAt(at) {
			return nil
		}
	}
	return fmt.Errorf("by %s, which could not sign at %s", ssh.FingerprintSHA256(sig.PublicKey), at.Format(time.RFC3339))
}
