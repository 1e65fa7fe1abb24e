package ocitest

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a running double.
type Server struct {
	// URL is its endpoint: http, loopback, a port of its own.
	URL string

	http     *http.Server
	listener net.Listener

	mu        sync.Mutex
	world     *World
	keys      *keyring
	now       func() time.Time
	faults    []*Fault
	lag       int // lists until a change of rules shows
	late      map[string]*lateRule
	gone      Fault // the answer to a remove of a rule that is not there
	pageSize  int
	readiness int // looks at a session until it is ACTIVE
	log       []Request
	serving   sync.WaitGroup
	path      string // of the world file, if there is one
	kept      []byte // what is in it
	control   http.Handler

	onRequest func(*http.Request, Phase)
	onChange  func(Snapshot)
	changing  sync.Mutex // keeps the calls of onChange in order
	seen      string     // the rules of which onChange was told
}

// Phase is where a request is when OnRequest is told of it.
type Phase string

const (
	// Before: the request came in and was found genuine; nothing has happened.
	Before Phase = "before"
	// After: what it asks for has happened; no answer was sent.
	After Phase = "after"
	// Answered: the answer was sent.
	Answered Phase = "answered"
)

// Request is one line of the log.
type Request struct {
	Method string `json:"method"`
	Path   string `json:"path"` // with its query
	Status int    `json:"status"`
	Body   string `json:"body,omitempty"`
	// Fault is the kind of the fault that it met, if it met one.
	Fault FaultKind `json:"fault,omitempty"`
}

// New starts a server for one test, with a standard world that the functions
// change.
func New(t testing.TB, build ...func(*World)) *Server {
	t.Helper()
	w := Standard()
	for _, b := range build {
		b(w)
	}
	s, err := Start(w)
	if err != nil {
		t.Fatalf("starting the OCI double: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start serves a world on 127.0.0.1, until Close. The world is the server's
// from then on: see Change and World.
func Start(w *World) (*Server, error) { return StartAt(w, "127.0.0.1:0") }

// StartAt is Start with a loopback address. The functions are called before
// the first request is taken.
func StartAt(w *World, addr string, setup ...func(*Server) error) (*Server, error) {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%q is no loopback address with a port", addr)
	}
	if wrong := w.check(); wrong != "" {
		return nil, fmt.Errorf("no world of OCI's: %s", wrong)
	}
	keys, err := newKeyring()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Server{
		URL: "http://" + l.Addr().String(), listener: l, world: w, keys: keys, now: time.Now, late: map[string]*lateRule{}, pageSize: 100, readiness: 1,
		gone: Fault{Status: 400, Code: "InvalidParameter", Message: "At least one security rule does not exist in the network security group."},
	}
	s.keys.add(w.keyID(s.keys.fingerprint), &s.keys.private.PublicKey)
	for _, f := range setup {
		if err := f(s); err != nil {
			l.Close()
			return nil, err
		}
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.serving.Go(func() { _ = s.http.Serve(l) }) // ends with Close
	return s, nil
}

// Close ends the server and its connections.
func (s *Server) Close() {
	s.http.Close()
	s.serving.Wait()
}

// answer is what a request is told.
type answer struct {
	status int
	body   any // nil is none
	header map[string]string
}

func refuse(status int, code, format string, args ...any) answer {
	return answer{status: status, body: map[string]string{"code": code, "message": fmt.Sprintf(format, args...)}}
}

func missing() answer {
	return refuse(404, "NotAuthorizedOrNotFound", "Authorization failed or requested resource not found.")
}

// ServeHTTP takes one request through its phases.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.control != nil && strings.HasPrefix(r.URL.Path, controlPath) {
		s.control.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	index, fault := s.begin(r, body)
	w.Header().Set("opc-request-id", requestID(r))
	if fault.Kind == LoseRequest {
		hangUp(w)
		return
	}
	a := answer{}
	switch problem := s.verify(r, body); {
	case fault.Kind == Throttle, fault.Kind == Fail:
		a = fault.answer()
	case problem != "":
		a = refuse(401, "NotAuthenticated", "%s", problem)
	default:
		s.tell(r, Before)
		a = s.effect(r, body)
		if err := s.keep(); err != nil {
			a = refuse(500, "InternalError", "writing the world: %v", err)
		}
		s.changed()
		s.tell(r, After)
		if fault.Kind == FailAfter {
			a = fault.answer()
		}
	}
	s.note(index, a.status)
	s.send(w, a, fault.Kind)
	s.tell(r, Answered)
}

// begin writes the log and finds the fault that the request meets.
func (s *Server) begin(r *http.Request, body []byte) (int, Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault := s.meet(r)
	s.log = append(s.log, Request{Method: r.Method, Path: r.URL.RequestURI(), Body: string(body), Fault: fault.Kind})
	return len(s.log) - 1, fault
}

func (s *Server) note(index, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index < len(s.log) {
		s.log[index].Status = status
	}
}

func (s *Server) tell(r *http.Request, p Phase) {
	s.mu.Lock()
	f := s.onRequest
	s.mu.Unlock()
	if f != nil {
		f(r, p)
	}
}

func (s *Server) send(w http.ResponseWriter, a answer, kind FaultKind) {
	if kind == LoseResponse {
		hangUp(w)
		return
	}
	s.mu.Lock()
	date := s.now()
	s.mu.Unlock()
	w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if kind == RepeatPage {
		w.Header().Set("opc-next-page", token(0))
	}
	var data []byte
	if a.body != nil {
		data, _ = json.Marshal(a.body)
		w.Header().Set("Content-Type", "application/json")
	}
	if kind == Garble {
		data = []byte("<html><body>Please log in to the network.</body></html>")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Del("opc-request-id")
		a.status = http.StatusOK
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(a.status)
	if kind == CutResponse {
		data = data[:len(data)/2]
	}
	// A client that has gone away is no concern of a server's.
	_, _ = w.Write(data)
	_ = http.NewResponseController(w).Flush()
	if kind == CutResponse {
		hangUp(w)
	}
}

// hangUp breaks the connection as a cable would, but faster.
func hangUp(w http.ResponseWriter) {
	rc := http.NewResponseController(w)
	if conn, _, err := rc.Hijack(); err == nil {
		conn.Close()
	}
}

func requestID(r *http.Request) string {
	client := r.Header.Get("opc-request-id")
	if client == "" {
		client = random(16)
	}
	return client + "/" + random(16) + "/" + random(16)
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return strings.ToUpper(hex.EncodeToString(b))
}

// Requests is the log so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// World is a copy of what exists now.
func (s *Server) World() *World {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world.clone()
}

// Change changes the world, as somebody else would.
func (s *Server) Change(f func(*World)) {
	s.mu.Lock()
	f(s.world)
	s.mu.Unlock()
	if err := s.keep(); err != nil {
		panic(err)
	}
	s.changed()
}

// OnRequest sets what is told of each request at each of its phases, on the
// request's goroutine: the request goes on when f returns.
func (s *Server) OnRequest(f func(*http.Request, Phase)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onRequest = f
}

// SetClock sets the server's clock.
func (s *Server) SetClock(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// Offset sets the server's clock ahead of this machine's, or behind it.
func (s *Server) Offset(d time.Duration) { s.SetClock(func() time.Time { return time.Now().Add(d) }) }

// Now is the server's time.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// PageSize sets the most items of a page, whatever a request's limit is.
func (s *Server) PageSize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pageSize = n
}

func (w *World) clone() *World {
	data, err := json.Marshal(w)
	if err != nil {
		panic(err)
	}
	out := &World{}
	if err := json.Unmarshal(data, out); err != nil {
		panic(err)
	}
	return out
}
