package sopsx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"edge-actions/internal/verdict"

	"filippo.io/age"
	"filippo.io/age/armor"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/shamir"
)

// dataKeySize is the length of the key that all values are encrypted with.
const dataKeySize = 32

// Identity is an age identity: the private half of a recipient.
type Identity struct {
	identity  age.Identity
	recipient string
}

// Recipient is the public half.
func (i Identity) Recipient() string { return i.recipient }

// ParseIdentities reads an age key file: one or several identities, and
// comments. Its errors have no character of them.
func ParseIdentities(data []byte) ([]Identity, error) {
	var out []Identity
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if id, err := age.ParseX25519Identity(line); err == nil {
			out = append(out, Identity{id, id.Recipient().String()})
		} else if id, err := age.ParseHybridIdentity(line); err == nil {
			out = append(out, Identity{id, id.Recipient().String()})
		} else {
			return nil, fmt.Errorf("has something else than an age identity (AGE-SECRET-KEY-1…) in line %d", n)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("has no age identity (AGE-SECRET-KEY-1…)")
	}
	return out, nil
}

// ParseRecipient checks an age recipient.
func ParseRecipient(text string) error {
	_, err := age.ParseX25519Recipient(text)
	if err != nil {
		_, err = age.ParseHybridRecipient(text)
	}
	if err != nil {
		return errors.New("is no age recipient (age1…)")
	}
	return nil
}

// dataKey opens the data key with the identities. Its error is a check with
// the id sops-key.
func (f *File) dataKey(ids []Identity) ([]byte, error) {
	var list []age.Identity
	var own []string
	for _, id := range ids {
		list, own = append(list, id.identity), append(own, id.recipient)
	}
	var parts [][]byte
	for _, group := range f.meta.KeyGroups {
		for _, key := range group {
			key, ok := key.(*sopsage.MasterKey)
			if !ok {
				continue
			}
			if part, err := open(key.EncryptedKey, list); err == nil {
				parts = append(parts, part)
				break
			}
		}
	}
	refuse := func(found, hint string) error {
		return verdict.Refuse("sops-key", "an identity that opens the file, which is for "+f.readers(), found, hint)
	}
	if len(parts) < f.Needed() || len(parts) == 0 {
		found := "one for " + quoted(own)
		if len(f.meta.KeyGroups) > 1 {
			found += fmt.Sprintf(", which opens %d", len(parts))
		}
		return nil, refuse(found, "give the key of one of them, or add this recipient to .sops.yaml and run sops updatekeys")
	}
	key := parts[0]
	if len(f.meta.KeyGroups) > 1 {
		var err error
		if key, err = shamir.Combine(parts); err != nil {
			return nil, refuse("key groups whose parts don't fit together", "restore the file from Git")
		}
	}
	if len(key) != dataKeySize {
		return nil, refuse(fmt.Sprintf("a data key of %d bytes in it, not %d", len(key), dataKeySize), "restore the file from Git")
	}
	return key, nil
}

// open decrypts one copy of the data key, or of a part of it.
func open(text string, ids []age.Identity) ([]byte, error) {
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(text)), ids...)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(r, 4*dataKeySize))
	return b.Bytes(), err
}

// readers says who can read the file.
func (f *File) readers() string {
	text := quoted(f.Recipients())
	if groups := len(f.meta.KeyGroups); groups > 1 {
		text = fmt.Sprintf("%d of %d key groups, with %s", f.Needed(), groups, text)
	}
	if n := f.otherKeys(); n > 0 {
		text += fmt.Sprintf(" (and %d that use no age key)", n)
	}
	return text
}

// maxQuoted is how many of a list a line of a report has.
const maxQuoted = 12

// quoted lists foreign words.
func quoted[T any](words []T) string {
	var out []string
	for i, w := range words {
		if i == maxQuoted {
			return strings.Join(out, ", ") + fmt.Sprintf(" and %d more", len(words)-i)
		}
		out = append(out, fmt.Sprintf("%.200q", fmt.Sprint(w)))
	}
	if len(out) == 0 {
		return "nobody"
	}
	return strings.Join(out, ", ")
}
