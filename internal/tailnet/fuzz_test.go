package tailnet

import (
	"testing"

	"edge-actions/internal/verdict"
)

// FuzzParseStatus: whatever the document and the name are, there is a status
// whose checks and look-ups are fit for a log, or a refusal that is. It starts
// from the documents of the golden tests.
func FuzzParseStatus(f *testing.F) {
	for _, path := range documents(f) {
		data := read(f, path)
		f.Add(data, "edge-1")
		f.Add(data, "localhost")
		f.Add(data[:len(data)/2], "100.64.0.3")
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		s, err := ParseStatus(data)
		if err != nil {
			if s != nil || verdict.Reason(err) != NoStatus {
				t.Fatalf("%+v, %v", s, err)
			}
			fit(t, verdict.ChecksOf(err))
			return
		}
		checks := s.Check(now, month)
		fit(t, checks)
		if len(checks) != 4 || s.BackendState != running && checks[0].Verdict == verdict.Proven {
			t.Fatalf("%+v", checks)
		}
		p, err := s.Peer(name)
		if (p == nil) == (err == nil) {
			t.Fatalf("%+v, %v", p, err)
		}
		fit(t, verdict.ChecksOf(err))
	})
}
