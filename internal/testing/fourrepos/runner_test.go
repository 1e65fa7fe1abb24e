package fourrepos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"edge-actions/internal/testing/forgetest"
)

// run is a run that the forge has started and this test's runner carries out.
type run struct {
	status string // by Forgejo's words
	log    string
	ended  chan struct{}
}

var (
	dispatch = regexp.MustCompile(`^/api/v1/repos/` + forgetest.User + `/([^/]+)/actions/workflows/([^/]+)/dispatches$`)
	oneRun   = regexp.MustCompile(`/actions/runs/([0-9]+)$`)
)

// serve puts the double of Forgejo before the forge, and this test's runner before
// that: what is dispatched is run, and a run's status is the one that it has here.
func (w *world) serve() {
	w.t.Helper()
	to, err := url.Parse(w.forge.Forgejo(w.t).URL)
	if err != nil {
		w.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ModifyResponse: w.answer}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		m := dispatch.FindStringSubmatch(r.URL.Path)
		if m == nil || r.Method != http.MethodPost {
			proxy.ServeHTTP(out, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec := httptest.NewRecorder()
		proxy.ServeHTTP(rec, r)
		var asked struct{ Inputs map[string]string }
		var made struct{ ID int64 }
		if rec.Code == http.StatusCreated && json.Unmarshal(body, &asked) == nil && json.Unmarshal(rec.Body.Bytes(), &made) == nil {
			w.take(made.ID, m[1], m[2], asked.Inputs)
		}
		for name, values := range rec.Result().Header {
			out.Header()[name] = values
		}
		out.WriteHeader(rec.Code)
		out.Write(rec.Body.Bytes())
	}))
	w.t.Cleanup(server.Close)
	w.front = server.URL
}

// take runs a workflow of a repository as it is on the forge now.
func (w *world) take(id int64, name, workflow string, inputs map[string]string) {
	r := &run{status: "running", ended: make(chan struct{})}
	w.mu.Lock()
	w.runs[id] = r
	w.mu.Unlock()
	go func() {
		log, err := w.carryOut(name, workflow, inputs)
		w.mu.Lock()
		defer w.mu.Unlock()
		if r.status, r.log = "success", log; err != nil {
			r.status, r.log = "failure", fmt.Sprintf("%s\n%v", log, err)
		}
		close(r.ended)
	}()
}

func (w *world) carryOut(name, workflow string, inputs map[string]string) (string, error) {
	dir, err := os.MkdirTemp(w.base, "run-")
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{{"clone", "--quiet", w.remote(name, true), dir}, {"-C", dir, "remote", "set-url", "origin", w.remote(name, false)}} {
		cmd := exec.Command("git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return string(out), err
		}
	}
	var args []string
	for key, value := range inputs {
		args = append(args, "--input", key+"="+value)
	}
	return w.act(dir, "workflow_dispatch", workflow, args...)
}

// answer says of a run what became of it here.
func (w *world) answer(res *http.Response) error {
	m := oneRun.FindStringSubmatch(res.Request.URL.Path)
	if m == nil || res.StatusCode != http.StatusOK {
		return nil
	}
	var said map[string]any
	data, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(data, &said)
	}
	if err != nil {
		return err
	}
	id, _ := strconv.ParseInt(m[1], 10, 64)
	w.mu.Lock()
	if r := w.runs[id]; r != nil {
		said["status"] = r.status
	}
	w.mu.Unlock()
	data, err = json.Marshal(said)
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	res.Header.Set("Content-Length", strconv.Itoa(len(data)))
	return err
}

// ended waits for a run, and returns how it ended and its log.
func (w *world) ended(id int64) (status, log string) {
	w.t.Helper()
	w.mu.Lock()
	r := w.runs[id]
	w.mu.Unlock()
	if r == nil {
		w.t.Fatalf("there is no run %d", id)
	}
	select {
	case <-r.ended:
	case <-time.After(5 * time.Minute):
		w.t.Fatalf("run %d does not end", id)
	}
	return r.status, r.log
}
