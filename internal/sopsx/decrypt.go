package sopsx

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/verdict"

	"github.com/getsops/sops/v3/aes"
)

// Secrets are the decrypted values of a file. They are in memory only.
type Secrets struct {
	file   *File
	values map[string]any // by Name.key
}

// Decrypt opens the file with the identities and verifies its MAC. Its errors
// are checks with the ids sops-key, sops-encrypted and sops-mac.
func (f *File) Decrypt(ids []Identity) (s *Secrets, err error) {
	defer func() {
		if recover() != nil { // its words may be a secret's
			s, err = nil, tampered("something that sops can't decrypt: a defect in it")
		}
	}()
	if c := f.checkExposed(); c.Verdict != verdict.Proven {
		return nil, &verdict.Refusal{Check: c}
	}
	key, err := f.dataKey(ids)
	if err != nil {
		return nil, err
	}
	tree, err := load(f.data, f.format) // anew, since sops decrypts in place
	if err != nil {
		return nil, notSOPS(f.format, err)
	}
	all, err := places(tree)
	if err != nil {
		return nil, notSOPS(f.format, err)
	}
	c := &opener{cipher: aes.NewCipher(), wrong: "values that sops can't walk"}
	mac, err := tree.Decrypt(key, c)
	if err != nil {
		return nil, tampered(c.wrong)
	}
	want, err := c.cipher.Decrypt(tree.Metadata.MessageAuthenticationCode, key, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		return nil, tampered("a mac, or a lastmodified beside it, that was changed")
	}
	if want != mac {
		return nil, tampered("a mac that is of other values: one was changed, moved, added or taken away")
	}
	s = &Secrets{file: f, values: map[string]any{}}
	for _, p := range all {
		s.values[p.name.key()] = *p.at
	}
	return s, nil
}

func tampered(found string) error {
	return verdict.Refuse("sops-mac", "a file as sops wrote it", found, "look at who changed it (git log -p), and restore it or encrypt it again with sops")
}

// opener is sops' cipher without the values in its errors.
type opener struct {
	cipher aes.Cipher
	wrong  string // what the error was
}

func (o *opener) Decrypt(text string, key []byte, path string) (any, error) {
	v, err := o.cipher.Decrypt(text, key, path)
	if err != nil {
		o.wrong = fmt.Sprintf("an encrypted value in %.200q that was changed, or moved there", strings.TrimSuffix(path, ":"))
		return nil, errors.New(o.wrong)
	}
	return v, nil
}

func (o *opener) Encrypt(any, []byte, string) (string, error) {
	return "", errors.New("nothing is encrypted here")
}

// Value returns a decrypted value as the bytes of its file: text as it is,
// anything else as sops prints it, without a newline.
func (s *Secrets) Value(n Name) ([]byte, error) {
	v, ok := s.values[n.key()]
	if !ok {
		return nil, verdict.Refuse("sops-names", fmt.Sprintf("%q in the file", n), "none", s.file.hintNames(n))
	}
	switch v := v.(type) {
	case string:
		return []byte(v), nil
	case []byte:
		return v, nil
	case bool:
		return strconv.AppendBool(nil, v), nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	case float64:
		return strconv.AppendFloat(nil, v, 'f', -1, 64), nil
	case time.Time:
		return []byte(v.Format(time.RFC3339Nano)), nil
	}
	return nil, verdict.Refuse("sops-names", fmt.Sprintf("%q to be a value", n), "null or a comment", "correct the file with sops")
}
