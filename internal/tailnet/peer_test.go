package tailnet

import (
	"strings"
	"testing"

	"edge-actions/internal/verdict"
)

func TestPeerFinds(t *testing.T) {
	s := document(t, "running")
	for name, want := range map[string]string{
		"control":                      "control.tail0123.ts.example",
		"Control.":                     "control.tail0123.ts.example",
		"control.tail0123.ts.example":  "control.tail0123.ts.example",
		"control.tail0123.ts.example.": "control.tail0123.ts.example",
		"100.64.0.3":                   "control.tail0123.ts.example",
		"fd7a:115c:a1e0::3":            "control.tail0123.ts.example",
		"fd7a:115c:a1e0:0:0:0:0:3":     "control.tail0123.ts.example",
		"Mac mini":                     "mac-mini.tail0123.ts.example",
		"mac mini":                     "mac-mini.tail0123.ts.example",
		// The control plane's word, although two call themselves so.
		"localhost": "localhost.tail0123.ts.example",
		// Of another tailnet: by its whole name, and by what it calls itself.
		"edge-9.tail9999.ts.example": "edge-9.tail9999.ts.example",
		"edge-9":                     "edge-9.tail9999.ts.example",
		// The node that was asked.
		"edge-1": "edge-1.tail0123.ts.example", "100.64.0.1": "edge-1.tail0123.ts.example",
	} {
		p, err := s.Peer(name)
		if err != nil || p.Name() != want {
			t.Errorf("%q: %+v, %v", name, p, err)
		}
	}
}

func TestPeerRefuses(t *testing.T) {
	ambiguous := document(t, "running")
	for _, p := range ambiguous.Peers {
		if p.Name() == "localhost.tail0123.ts.example" {
			p.DNSName = "other.tail0123.ts.example."
		}
	}
	crowd := document(t, "running")
	for range 20 {
		crowd.Peers = append(crowd.Peers, &Peer{HostName: "localhost"}, &Peer{HostName: "edge-1x"})
	}
	nameless := healthy()
	nameless.Peers = []*Peer{{}, {}}
	for name, tc := range map[string]struct {
		s          *Status
		name       string
		id         string
		verdict    verdict.Verdict
		says, hide string
	}{
		"two call themselves so": {ambiguous, "localhost", NoPeer, verdict.Disproven,
			`found 2: "localhost-1.tail0123.ts.example" 100.64.0.5, "other.tail0123.ts.example" 100.64.0.4`, ""},
		"many of them":           {crowd, "LOCALHOST-", NoPeer, verdict.Disproven, "and 16 more", ""},
		"a typing error":         {document(t, "running"), "edeg-1", NoPeer, verdict.Disproven, `near: "edge-1.tail0123.ts.example" 100.64.0.1`, "control"},
		"a part of a name":       {document(t, "running"), "mini", NoPeer, verdict.Disproven, `near: "mac-mini.`, "control"},
		"nothing like it":        {document(t, "running"), "zzzzzzzz", NoPeer, verdict.Disproven, "none among 6;", "near"},
		"another suffix":         {document(t, "running"), "control.tail9999.ts.example", NoPeer, verdict.Disproven, `near: "control.`, ""},
		"an address of nobody":   {document(t, "running"), "100.64.0.99", NoPeer, verdict.Disproven, "none among 6", "near"},
		"no name":                {document(t, "running"), "", NoPeer, verdict.Disproven, `named ""`, "near"},
		"only a dot":             {document(t, "running"), ".", NoPeer, verdict.Disproven, `named "."`, "near"},
		"no name, and nameless":  {nameless, "", NoPeer, verdict.Disproven, "none among 3", ""},
		"a name for a log":       {document(t, "running"), "x\n::error::\x1b", NoPeer, verdict.Disproven, `"x\n::error::\x1b"`, ""},
		"a name without an end":  {document(t, "running"), strings.Repeat("control", 1000), NoPeer, verdict.Disproven, "none among 6", "near"},
		"hosts with such names":  {document(t, "hostile"), "edge-", NoPeer, verdict.Disproven, `edge-8\n::stop-commands::x.`, ""},
		"while it is stopped":    {document(t, "stopped"), "mac-mini", State, verdict.Unproven, `the state "Stopped"`, "none"},
		"while it is logged out": {document(t, "logged-out"), "mac-mini", State, verdict.Unproven, "log it in again", "none"},
		"a state not known":      {document(t, "state-not-known"), "mac-mini", State, verdict.Unproven, "Hibernating", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := tc.s.Peer(tc.name)
			checks := verdict.ChecksOf(err)
			if p != nil || len(checks) != 1 || checks[0].ID != tc.id || checks[0].Verdict != tc.verdict {
				t.Fatalf("%+v, %v", p, err)
			}
			if text := err.Error(); !strings.Contains(text, tc.says) || tc.hide != "" && strings.Contains(text, tc.hide) {
				t.Errorf("wanted %q and not %q in: %s", tc.says, tc.hide, text)
			}
			fit(t, checks)
		})
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"edge-1", "edge-1", 0}, {"edge-1", "edge-2", 1}, {"edge-1", "edge1", 1}, {"edge-1", "edeg-1", 2}, {"kitten", "sitting", 3}} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("%q to %q: %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
