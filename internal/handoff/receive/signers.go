package receive

import (
	"errors"
	"time"

	"edge-actions/internal/handoff"
	"edge-actions/internal/signature"

	"golang.org/x/crypto/ssh"
)

// ParseSigners reads public keys, one a line, as signature.ParseSigners does.
// Keys that are for something else or not valid now are left out.
func ParseSigners(text string, now time.Time) ([]ssh.PublicKey, error) {
	signers, err := signature.ParseSigners(text, handoff.Namespace)
	var keys []ssh.PublicKey
	for _, s := range signers {
		if s.ValidAt(now) {
			keys = append(keys, s.Key)
		}
	}
	if err == nil && len(keys) == 0 {
		err = errors.New("there is no key for handoffs in it that is valid now")
	}
	return keys, err
}
