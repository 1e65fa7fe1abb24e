package receive

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"edge-actions/internal/handoff"

	"golang.org/x/crypto/ssh"
)

// ParseSigners reads public keys, one a line: those of a .pub file, or lines of
// the form that ssh-keygen -Y verify reads (ssh-keygen(1), "ALLOWED SIGNERS"), of
// which the options namespaces, valid-after and valid-before are honoured. Keys
// that are for something else or not valid now are left out; a certificate
// authority is refused.
func ParseSigners(text string, now time.Time) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	var errs []error
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, valid, err := parseSigner(line, now)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
		} else if valid {
			keys = append(keys, key)
		}
	}
	if len(errs) == 0 && len(keys) == 0 {
		errs = append(errs, errors.New("there is no key for handoffs in it that is valid now"))
	}
	return keys, errors.Join(errs...)
}

func parseSigner(line string, now time.Time) (key ssh.PublicKey, valid bool, err error) {
	options, rest, err := splitSigner(line)
	if err != nil {
		return nil, false, err
	}
	if key, _, _, _, err = ssh.ParseAuthorizedKey([]byte(rest)); err != nil {
		return nil, false, fmt.Errorf("no public key: %.80q", line)
	}
	valid = true
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "namespaces":
			valid = valid && inNamespaces(value)
		case "valid-after", "valid-before":
			at, err := parseStamp(value)
			if err != nil {
				return nil, false, err
			}
			if strings.EqualFold(name, "valid-after") {
				valid = valid && !now.Before(at)
			} else {
				valid = valid && now.Before(at)
			}
		default: // cert-authority among them: it would vouch for keys that nobody named
			return nil, false, fmt.Errorf("the option %.40q is not known here", name)
		}
	}
	return key, valid, nil
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

func inNamespaces(list string) bool {
	for pattern := range strings.SplitSeq(list, ",") {
		if ok, err := path.Match(pattern, handoff.Namespace); err == nil && ok {
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
