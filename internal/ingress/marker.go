package ingress

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strings"
	"time"

	"edge-actions/internal/oci"
)

// Marker is what a lease's rule says of itself in its description. It has no
// secret in it: everybody who may read the rules may know it.
type Marker struct {
	// Nonce is 32 hex digits, made before the rule.
	Nonce string `json:"nonce"`
	// Expires is by the cloud's clock, to the second, in UTC. It is zero if
	// what is written there can't be read; then Most decides alone.
	Expires time.Time `json:"expires"`
	// Node is the machine that it was opened for.
	Node string `json:"node"`
	// Run is the run that opened it: owner/repo#run.attempt.
	Run string `json:"run"`
}

// prefix begins every description of ours.
const prefix = "edge-actions-lease/v1 "

var nonceForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

func newNonce() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails: crypto/rand ends the program if it can't
	return hex.EncodeToString(b)
}

// Description is how a marker is written. The run is cut to what fits.
func (m Marker) Description() string {
	s := prefix + "nonce=" + m.Nonce + " expires=" + m.Expires.UTC().Format(time.RFC3339) + " node=" + word(m.Node) + " run="
	run := word(m.Run)
	return s + run[:min(len(run), maxDescription-len(s))]
}

// word makes text one word of plain characters, as a description takes it.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), 63)]
}

// ParseMarker reads a description. ok is false if it is not a lease's: a rule
// without our prefix and a nonce is nobody's to take away.
func ParseMarker(description string) (m Marker, ok bool) {
	rest, ok := strings.CutPrefix(description, prefix)
	if !ok {
		return Marker{}, false
	}
	for _, field := range strings.Fields(rest) {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "nonce":
			m.Nonce = value
		case "expires":
			if t, err := time.Parse(time.RFC3339, value); err == nil {
				m.Expires = t.UTC()
			}
		case "node":
			m.Node = value
		case "run":
			m.Run = value
		}
	}
	return m, nonceForm.MatchString(m.Nonce)
}

// Ends is when a lease's rule may be taken away by anybody: at its expiry, or
// Most after the cloud made it, whichever comes first. ok is false if neither
// is known.
func Ends(m Marker, r oci.Rule) (end time.Time, ok bool) {
	end = m.Expires
	if !r.Created.IsZero() {
		if most := r.Created.Add(Most); end.IsZero() || most.Before(end) {
			end = most
		}
	}
	return end, !end.IsZero()
}
