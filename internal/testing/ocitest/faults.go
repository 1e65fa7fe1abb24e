package ocitest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// FaultKind is what goes wrong.
type FaultKind string

const (
	// Throttle: 429, and nothing happens.
	Throttle FaultKind = "throttle"
	// Fail: the fault's status, and nothing happens.
	Fail FaultKind = "fail"
	// FailAfter: the fault's status, and it happens all the same.
	FailAfter FaultKind = "fail-after"
	// LoseRequest: the connection breaks, and nothing happens.
	LoseRequest FaultKind = "lose-request"
	// LoseResponse: it happens, and the connection breaks.
	LoseResponse FaultKind = "lose-response"
	// CutResponse: it happens, and the connection breaks in mid-answer.
	CutResponse FaultKind = "cut-response"
	// Garble: it happens, and the answer is somebody else's, with status 200.
	Garble FaultKind = "garble"
	// RepeatPage: the answer says that the list goes on at its beginning.
	RepeatPage FaultKind = "repeat-page"
)

// Fault meets the next requests that match it.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Method is GET, POST, DELETE, or "" for any; Path is a part of the path
	// with its query, or "" for any.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	// Skip lets as many matching requests pass first.
	Skip int `json:"skip,omitempty"`
	// Times is how many it meets; all of them if it is negative.
	Times int `json:"times"`
	// Status, Code and Message are of fail and fail-after; RetryAfter is a
	// header, in seconds or as a date.
	Status     int    `json:"status,omitempty"`
	Code       string `json:"code,omitempty"`
	Message    string `json:"message,omitempty"`
	RetryAfter string `json:"retryAfter,omitempty"`
}

// Inject adds a fault. Of several that match, the first decides.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal takes all faults away.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Throttle answers the next n requests with 429.
func (s *Server) Throttle(n int) { s.Inject(Fault{Kind: Throttle, Times: n}) }

// LoseResponse breaks the connection of the next n requests that match after
// they have taken effect.
func (s *Server) LoseResponse(method, path string, n int) {
	s.Inject(Fault{Kind: LoseResponse, Method: method, Path: path, Times: n})
}

// LoseRequest breaks the connection of the next n requests that match before
// they take effect.
func (s *Server) LoseRequest(method, path string, n int) {
	s.Inject(Fault{Kind: LoseRequest, Method: method, Path: path, Times: n})
}

// Fail answers the next n requests that match with a status.
func (s *Server) Fail(method, path string, n, status int, code string) {
	s.Inject(Fault{Kind: Fail, Method: method, Path: path, Times: n, Status: status, Code: code, Message: "as the test wants it"})
}

// Eventual makes a change of rules show only in the nth list after it; 1 is at
// once. Traffic obeys a change at once.
func (s *Server) Eventual(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = n
}

// GoneRule sets the answer to a remove of a rule that is not there: 200 says
// nothing of it and removes the others.
func (s *Server) GoneRule(status int, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = Fault{Status: status, Code: code, Message: "no such rule"}
}

// Forbid hides an object from the user; so does the world's Forbidden.
func (s *Server) Forbid(id string) {
	s.Change(func(w *World) { w.Forbidden = append(w.Forbidden, id) })
}

// SessionReady makes a session ACTIVE once it was looked at n times.
func (s *Server) SessionReady(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readiness = n
}

// meet finds the fault of a request and counts it.
func (s *Server) meet(r *http.Request) Fault {
	for i, fault := range s.faults {
		if fault.Method != "" && fault.Method != r.Method || !strings.Contains(r.URL.RequestURI(), fault.Path) {
			continue
		}
		if fault.Skip > 0 {
			fault.Skip--
			continue
		}
		if fault.Times == 0 {
			continue
		}
		met := *fault
		if fault.Times--; fault.Times == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return met
	}
	return Fault{}
}

func (f *Fault) answer() answer {
	a := refuse(f.Status, f.Code, "%s", f.Message)
	if f.Kind == Throttle {
		a = refuse(429, "TooManyRequests", "Too many requests for the user.")
	}
	if f.RetryAfter != "" {
		a.header = map[string]string{"Retry-After": f.RetryAfter}
	}
	return a
}

// lateRule is a rule whose coming or going does not show yet.
type lateRule struct {
	nsg   string
	rule  Rule
	gone  bool
	lists int // that don't show it yet
}

// delay remembers a change of a rule for the lists that come.
func (s *Server) delay(nsg string, r Rule, gone bool) {
	if l := s.late[r.ID]; gone && l != nil { // it never showed
		delete(s.late, r.ID)
	} else if s.lag > 1 {
		s.late[r.ID] = &lateRule{nsg: nsg, rule: r, gone: gone, lists: s.lag - 1}
	}
}

// shown is the rules of a group as a list shows them. A list that begins
// counts.
func (s *Server) shown(g *NSG, begins bool) []Rule {
	var out []Rule
	for _, r := range g.Rules {
		if l := s.late[r.ID]; l == nil || l.gone {
			out = append(out, r)
		}
	}
	var old []Rule
	for id, l := range s.late {
		if l.nsg != g.ID {
			continue
		}
		if l.gone {
			old = append(old, l.rule)
		}
		if begins {
			if l.lists--; l.lists <= 0 {
				delete(s.late, id)
			}
		}
	}
	slices.SortFunc(old, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) })
	return append(out, old...)
}

func number(s string, otherwise int) int {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return n
	}
	return otherwise
}
