package ocitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"time"

	"edge-actions/internal/files"
)

// controlPath is where a server that is a process of its own is controlled.
// Nothing there is signed: it is for tests, on loopback.
const controlPath = "/_control/"

// ServeControl serves, below /_control/:
//
//	POST fault     {Fault}             Inject
//	POST heal                          Heal
//	POST clock     {"offset":"-1h"}    Offset
//	POST eventual  {"lists":3}         Eventual
//	POST forbid    {"id":"ocid1…"}     Forbid
//	POST rule      {"nsg":…,"rule":…}  World.AddRule; answers {"id":…}
//	GET  requests                      Requests
//	GET  world                         World
//	GET  allowed?vnic=&source=&port=22 Allowed; answers true or false
//
// It is to be called before the first request.
func (s *Server) ServeControl() {
	mux := http.NewServeMux()
	post := func(name string, into func() any, do func(any) (any, error)) {
		mux.HandleFunc("POST "+controlPath+name, func(w http.ResponseWriter, r *http.Request) {
			v := into()
			data, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
			if err == nil && len(bytes.TrimSpace(data)) > 0 {
				d := json.NewDecoder(bytes.NewReader(data))
				d.DisallowUnknownFields()
				err = d.Decode(v)
			}
			var out any
			if err == nil {
				out, err = do(v)
			}
			reply(w, out, err)
		})
	}
	type settings struct {
		Offset string `json:"offset,omitempty"`
		Lists  int    `json:"lists,omitempty"`
		ID     string `json:"id,omitempty"`
		NSG    string `json:"nsg,omitempty"`
		Rule   Rule   `json:"rule,omitzero"`
	}
	empty := func() any { return &settings{} }
	post("fault", func() any { return &Fault{} }, func(v any) (any, error) { s.Inject(*v.(*Fault)); return nil, nil })
	post("heal", empty, func(any) (any, error) { s.Heal(); return nil, nil })
	post("eventual", empty, func(v any) (any, error) { s.Eventual(v.(*settings).Lists); return nil, nil })
	post("forbid", empty, func(v any) (any, error) { s.Forbid(v.(*settings).ID); return nil, nil })
	post("clock", empty, func(v any) (any, error) {
		d, err := time.ParseDuration(v.(*settings).Offset)
		if err == nil {
			s.Offset(d)
		}
		return nil, err
	})
	post("rule", empty, func(v any) (any, error) {
		in, id := v.(*settings), ""
		s.Change(func(w *World) {
			if w.nsg(in.NSG) != nil {
				now := s.now().UTC()
				in.Rule.TimeCreated = &now
				id = w.AddRule(in.NSG, in.Rule)
			}
		})
		if id == "" {
			return nil, fmt.Errorf("no group %q", in.NSG)
		}
		return map[string]string{"id": id}, nil
	})
	mux.HandleFunc("GET "+controlPath+"requests", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Requests(), nil) })
	mux.HandleFunc("GET "+controlPath+"world", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.World(), nil) })
	mux.HandleFunc("GET "+controlPath+"allowed", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		source, err := netip.ParseAddr(q.Get("source"))
		reply(w, s.Allowed(q.Get("vnic"), source, number(q.Get("port"), 22)), err)
	})
	s.control = mux
}

func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data)
}

// ReadWorld reads a world file.
func ReadWorld(path string) (*World, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	w := &World{}
	if err := json.Unmarshal(data, w); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return w, nil
}

// Persist keeps the world in a file, written whole after each change and
// before the request that made it is answered.
func (s *Server) Persist(path string) error {
	s.mu.Lock()
	s.path, s.kept = path, nil
	s.mu.Unlock()
	return s.keep()
}

func (s *Server) keep() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" {
		return nil
	}
	data, err := json.MarshalIndent(s.world, "", "  ")
	if err != nil || bytes.Equal(data, s.kept) {
		return err
	}
	if err := files.Write(s.path, append(data, '\n')); err != nil {
		return err
	}
	s.kept = data
	return nil
}

// Missing reports that a file is not there.
func Missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
