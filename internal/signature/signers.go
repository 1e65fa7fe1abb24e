package signature

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Signer is a public key that may sign, and when.
type Signer struct {
	Key ssh.PublicKey
	// From and Until bound the time in which it may; zero is no bound.
	From, Until time.Time
}

// ValidAt reports whether the key may sign at that time.
func (s Signer) ValidAt(t time.Time) bool {
	return !t.Before(s.From) && (s.Until.IsZero() || t.Before(s.Until))
}

// ParseSigners reads public keys, one a line: those of a .pub file, or lines of
// the form that ssh-keygen -Y verify reads (ssh-keygen(1), "ALLOWED SIGNERS"), of
// which the options namespaces, valid-after and valid-before are honoured. Keys
// that are for another purpose than the namespace are left out; a certificate
// authority is refused.
func ParseSigners(text, namespace string) ([]Signer, error) {
	var signers []Signer
	var errs []error
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		signer, fits, err := parseSigner(line, namespace)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
		} else if fits {
			signers = append(signers, signer)
		}
	}
	return signers, errors.Join(errs...)
}

func parseSigner(line, namespace string) (s Signer, fits bool, err error) {
	options, rest, err := splitSigner(line)
	if err != nil {
		return s, false, err
	}
	if s.Key, _, _, _, err = ssh.ParseAuthorizedKey([]byte(rest)); err != nil {
		return s, false, fmt.Errorf("no public key: %.80q", line)
	}
	fits = true
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "namespaces":
			fits = fits && inNamespaces(value, namespace)
		case "valid-after", "valid-before":
			at, err := parseStamp(value)
			if err != nil {
				return s, false, err
			}
			// Of several bounds the tightest holds.
			if strings.EqualFold(name, "valid-after") {
				if at.After(s.From) {
					s.From = at
				}
			} else if s.Until.IsZero() || at.Before(s.Until) {
				s.Until = at
			}
		default: // cert-authority among them: it would vouch for keys that nobody named
			return s, false, fmt.Errorf("the option %.40q is not known here", name)
		}
	}
	return s, fits, nil
}

// splitSigner finds the key in a line, and the options before it: a line is
// [principals [options]] type key.
func splitSigner(line string) (options []string, key string, err error) {
	for rest, n := line, 0; rest != ""; n++ {
		field, after := nextField(rest)
		if keyType(field) {
			return options, rest, nil
		}
		switch n {
		case 0: // principals
		case 1:
			options = splitOptions(field)
		default:
			return nil, "", fmt.Errorf("no public key: %.80q", line)
		}
		rest = after
	}
	return nil, "", fmt.Errorf("no public key: %.80q", line)
}

func keyType(s string) bool {
	return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-sha2-") || strings.HasPrefix(s, "sk-")
}

// nextField takes what comes before a blank that is not within quotes.
func nextField(s string) (field, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case (s[i] == ' ' || s[i] == '\t') && !quoted:
			return s[:i], strings.TrimLeft(s[i:], " \t")
		}
	}
	return s, ""
}

func splitOptions(s string) (out []string) {
	quoted, from := false, 0
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			out, from = append(out, s[from:i]), i+1
		}
	}
	return append(out, s[from:])
}

func inNamespaces(list, namespace string) bool {
	for pattern := range strings.SplitSeq(list, ",") {
		if ok, err := path.Match(pattern, namespace); err == nil && ok {
			return true
		}
	}
	return false
}

// parseStamp reads YYYYMMDD[HHMM[SS]][Z]; without a Z it is this machine's time.
func parseStamp(s string) (time.Time, error) {
	digits, zulu := strings.CutSuffix(s, "Z")
	where := time.Local
	if zulu {
		where = time.UTC
	}
	for _, form := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(form) == len(digits) {
			if t, err := time.ParseInLocation(form, digits, where); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("wanted a time of the form YYYYMMDD[HHMM[SS]][Z], found %.40q", s)
}
