package sopsx

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/getsops/sops/v3"
)

// State is how a value is in the file.
type State string

const (
	// Sealed: encrypted, as the file's own rules want it.
	Sealed State = "encrypted"
	// Clear: not encrypted, as the file's own rules want it.
	Clear State = "in clear by the file's own rules"
	// Exposed: not encrypted against the file's own rules. sops refuses to
	// decrypt such a file.
	Exposed State = "in clear against the file's own rules"
	// Stray: encrypted against the file's own rules, so that sops would hand it
	// out as it is.
	Stray State = "encrypted against the file's own rules"
	// Empty: there is nothing. sops leaves an empty value as it is, and the MAC
	// does not see it: anybody can add one.
	Empty State = "empty"
)

// sealed is what sops writes for a value. Its own pattern has no end, and
// would pass over clear text that follows.
var sealed = regexp.MustCompile(`^ENC\[AES256_GCM,data:[A-Za-z0-9+/=]+,iv:[A-Za-z0-9+/=]+,tag:[A-Za-z0-9+/=]+,type:[a-z]+\]$`)

// place is where a value is in sops' tree. Decrypting replaces it there.
type place struct {
	name Name
	at   *any
}

// places lists the values of a tree.
func places(tree sops.Tree) ([]place, error) {
	var out []place
	var walk func(at *any, steps []string) error
	branch := func(b sops.TreeBranch, steps []string) error {
		for i := range b {
			key, ok := b[i].Key.(string)
			if !ok {
				return errors.New("a key that is no text")
			}
			if err := walk(&b[i].Value, append(steps[:len(steps):len(steps)], key)); err != nil {
				return err
			}
		}
		return nil
	}
	walk = func(at *any, steps []string) error {
		switch v := (*at).(type) {
		case sops.TreeBranch:
			return branch(v, steps)
		case []any:
			n := 0
			for i := range v {
				if text, ok := v[i].(string); ok && sealed.MatchString(text) && strings.HasSuffix(text, ",type:comment]") {
					continue // sops writes the comments of a list as items
				}
				if err := walk(&v[i], append(steps[:len(steps):len(steps)], strconv.Itoa(n))); err != nil {
					return err
				}
				n++
			}
			return nil
		}
		if out = append(out, place{Name{steps}, at}); len(out) > maxNames {
			return fmt.Errorf("more than %d values", maxNames)
		}
		return nil
	}
	for _, b := range tree.Branches {
		if err := branch(b, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// entries has sops say which values its rules encrypt, and compares that with
// how they are. It leaves the tree without its values.
func entries(tree sops.Tree) ([]Entry, error) {
	all, err := places(tree)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, len(all))
	found := make([]any, len(all))
	for i, p := range all {
		out[i].Name, found[i] = p.name, *p.at
		if *p.at != nil {
			*p.at = "value" // text, as sops wants it of what is encrypted
		}
	}
	if _, err := tree.Decrypt(nil, marker{}); err != nil {
		return nil, errors.New("something that sops can't walk")
	}
	for i, p := range all {
		_, bySops := (*p.at).([]byte)
		out[i].State = stateOf(found[i], bySops)
	}
	return out, nil
}

func stateOf(value any, ruledSealed bool) State {
	text, isText := value.(string)
	looks := isText && sealed.MatchString(text)
	switch {
	case value == nil, isText && text == "":
		return Empty
	case looks && ruledSealed:
		return Sealed
	case looks:
		return Stray
	case ruledSealed:
		return Exposed
	default:
		return Clear
	}
}

// marker is a cipher that marks what it is asked to decrypt.
type marker struct{}

func (marker) Decrypt(string, []byte, string) (any, error) { return []byte{}, nil }

func (marker) Encrypt(any, []byte, string) (string, error) {
	return "", errors.New("nothing is encrypted here")
}
