package sopsx

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Name is where a value is in a file: the keys and list positions on the way
// to it. It is written as sops-nix does, k3s/token or users/0/password, and as
// sops does where a step has other characters than letters, digits and any of
// "._@:-": ["k3s"]["a/b"][0].
type Name struct{ steps []string }

var plainStep = regexp.MustCompile(`^[A-Za-z0-9._@:-]+`)

// ParseName reads a name in either notation.
func ParseName(text string) (Name, error) {
	n, rest, err := CutName(text)
	if err == nil && rest != "" {
		err = fmt.Errorf("%q after the name", rest)
	}
	return n, err
}

// CutName reads a name at the start of text and returns what is after it.
func CutName(text string) (n Name, rest string, err error) {
	if strings.HasPrefix(text, "[") {
		return cutBrackets(text)
	}
	for rest = text; ; rest = rest[1:] {
		step := plainStep.FindString(rest)
		if step == "" {
			return Name{}, "", errors.New(`neither a name such as k3s/token nor one such as ["k3s"]["token"]`)
		}
		n.steps, rest = append(n.steps, step), rest[len(step):]
		if !strings.HasPrefix(rest, "/") {
			return n, rest, nil
		}
	}
}

var index = regexp.MustCompile(`^[0-9]{1,9}`)

func cutBrackets(text string) (n Name, rest string, err error) {
	for rest = text; strings.HasPrefix(rest, "["); {
		rest = rest[1:]
		var step, quoted string
		if quoted, err = strconv.QuotedPrefix(rest); err == nil && quoted[0] != '`' && quoted[0] != '\'' {
			step, err = strconv.Unquote(quoted)
		} else if body, ok := strings.CutPrefix(rest, "'"); ok && strings.Contains(body, "'") {
			step, err = body[:strings.Index(body, "'")], nil
			quoted = rest[:len(step)+2]
		} else if quoted = index.FindString(rest); quoted != "" {
			step, err = quoted, nil
		}
		if err != nil || quoted == "" || !strings.HasPrefix(rest[len(quoted):], "]") {
			return Name{}, "", errors.New(`no name such as ["k3s"]["token"][0]`)
		}
		n.steps, rest = append(n.steps, step), rest[len(quoted)+1:]
	}
	return n, rest, nil
}

// String is the name as it is written.
func (n Name) String() string {
	plain := true
	for _, step := range n.steps {
		plain = plain && step != "" && plainStep.FindString(step) == step
	}
	if plain {
		return strings.Join(n.steps, "/")
	}
	var b strings.Builder
	for _, step := range n.steps {
		if index.FindString(step) == step && step != "" {
			fmt.Fprintf(&b, "[%s]", step)
		} else {
			fmt.Fprintf(&b, "[%q]", step)
		}
	}
	return b.String()
}

// Steps returns the keys and list positions.
func (n Name) Steps() []string { return append([]string(nil), n.steps...) }

// Equal reports whether both are the same place.
func (n Name) Equal(m Name) bool { return n.key() == m.key() }

// key is the same for the same steps only.
func (n Name) key() string { return fmt.Sprintf("%q", n.steps) }

// under reports whether n lies below m.
func (n Name) under(m Name) bool {
	return len(n.steps) > len(m.steps) && Name{n.steps[:len(m.steps)]}.Equal(m)
}
