package ingress

import (
	"strings"
	"testing"
	"time"

	"edge-actions/internal/oci"
)

func TestMarker(t *testing.T) {
	m := Marker{Nonce: newNonce(), Expires: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Node: "edge-1", Run: "owner/infra#12.1"}
	got, ok := ParseMarker(m.Description())
	if !ok || got != m {
		t.Errorf("%+v, %v", got, ok)
	}
	// A repository may have a long name, and a description has 255 characters.
	long := m
	long.Node, long.Run = strings.Repeat("n", 200), strings.Repeat("o", 200)+"/"+strings.Repeat("r", 200)
	d := long.Description()
	if len(d) > maxDescription {
		t.Errorf("%d characters", len(d))
	}
	if got, ok := ParseMarker(d); !ok || got.Nonce != m.Nonce || !got.Expires.Equal(m.Expires) || got.Node != strings.Repeat("n", 63) || got.Run == "" {
		t.Errorf("%+v, %v", got, ok)
	}
	hostile := m
	hostile.Node, hostile.Run = "edge 1 nonce=0 expires=2099-01-01T00:00:00Z", "a\nb expires=2099-01-01T00:00:00Z é"
	if got, ok := ParseMarker(hostile.Description()); !ok || got.Nonce != m.Nonce || !got.Expires.Equal(m.Expires) {
		t.Errorf("%+v, %v", got, ok)
	}
}

// A rule of somebody who writes nearly what we write stays his.
func TestWhatIsNoMarker(t *testing.T) {
	nonce := newNonce()
	for _, d := range []string{
		"", "ssh", "nonce=" + nonce, "edge-actions", prefix, prefix + "nonce=", prefix + "nonce=" + nonce[:31], prefix + "nonce=" + strings.ToUpper(nonce[:31]) + "G",
		" " + prefix + "nonce=" + nonce, strings.Replace(prefix, "v1", "v2", 1) + "nonce=" + nonce, prefix + "Nonce=" + nonce, "see " + prefix + "nonce=" + nonce,
	} {
		if m, ok := ParseMarker(d); ok {
			t.Errorf("%q: %+v", d, m)
		}
	}
}

func TestEnds(t *testing.T) {
	made := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		expires, created, want time.Time
		ok                     bool
	}{
		"as it says":                    {made.Add(time.Hour), made, made.Add(time.Hour), true},
		"no longer than Most":           {made.Add(1000 * time.Hour), made, made.Add(Most), true},
		"what can't be read":            {time.Time{}, made, made.Add(Most), true},
		"the cloud's time is not known": {made.Add(time.Hour), time.Time{}, made.Add(time.Hour), true},
		"nothing is known":              {time.Time{}, time.Time{}, time.Time{}, false},
	} {
		if got, ok := Ends(Marker{Expires: tt.expires}, oci.Rule{Created: tt.created}); ok != tt.ok || !got.Equal(tt.want) {
			t.Errorf("%s: %s, %v", name, got, ok)
		}
	}
}
