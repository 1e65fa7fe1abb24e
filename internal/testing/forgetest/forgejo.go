package forgetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// Double is a double of Forgejo: a proxy before the real Gitea that changes the
// answers in which the two differ, and no others. Its contract, from the sources
// of Forgejo v12 to v15 and of Gitea 1.25:
//
//	what                     Gitea                    Forgejo                      Forgejo's source
//	a version                "1.25.2"                 "12.0.1+gitea-1.22.0"        routers/api/v1/misc/version.go
//	contents, a stale sha    422                      409                          routers/api/v1/repo/file.go, handleCreateOrUpdateFileError
//	contents, a new file     422                      422                          the same
//	  that is there
//	return_run_info          ignored, 204             201 {id, run_number, jobs}   routers/api/v1/repo/action.go, DispatchWorkflow
//	no such workflow         404                      404                          the same
//	a run                    id, run_number, path,    id, index_in_repo,           modules/structs/action.go, ActionRun;
//	                         head_sha, status with    workflow_id, prettyref,      services/convert/action.go, ToActionRun
//	                         conclusion, html_url     commit_sha, status,
//	                                                  trigger_event, html_url
//	a status of a run        queued, waiting,         waiting, blocked, running,   models/actions/status.go
//	                         in_progress, completed   success, failure, cancelled,
//	                                                  skipped, unknown
//	the list of runs         by event, branch         by event, ref, workflow_id   routers/api/v1/repo/action.go, ListActionRuns
//	a push mirror            7 fields                 and public_key,              modules/structs/mirror.go, PushMirror
//	                                                  branch_filter
//	a token without the      403                      403                          routers/api/v1/permissions, TokenRequiresScopes
//	  scope
//	a repository that may    404                      404                          routers/api/v1/api.go, repoAssignment
//	  not be seen
//
// What it leaves out: the refusal of a dispatch without a required input (400;
// Gitea starts it), quotas (413), archived repositories (423), the jobs of a run,
// and the words of errors.
type Double struct {
	URL string
	// Dispatches counts the runs that were started through it.
	Dispatches atomic.Int64
	// Filter is the branch_filter of every push mirror.
	Filter string

	f     *Forge
	proxy *httputil.ReverseProxy
}

// Forgejo puts a double of Forgejo before the forge.
func (f *Forge) Forgejo(t testing.TB) *Double {
	t.Helper()
	to, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	d := &Double{f: f, proxy: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}}
	d.proxy.ModifyResponse = d.change
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

var (
	dispatches = regexp.MustCompile(`^(/api/v1/repos/[^/]+/[^/]+)/actions/workflows/([^/]+)/dispatches$`)
	aRun       = regexp.MustCompile(`/actions/runs/[0-9]+$`)
)

// ServeHTTP implements http.Handler.
func (d *Double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := dispatches.FindStringSubmatch(r.URL.Path)
	if m == nil || r.Method != http.MethodPost {
		d.proxy.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var asked struct {
		Info bool `json:"return_run_info"`
	}
	json.Unmarshal(body, &asked) //nolint:errcheck // Gitea says what is wrong with it
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	rec := httptest.NewRecorder()
	d.proxy.ServeHTTP(rec, r)
	if rec.Code != http.StatusNoContent || !asked.Info {
		copyAnswer(w, rec.Result(), rec.Body.Bytes())
		return
	}
	d.Dispatches.Add(1)
	run, err := d.newest(r, m[1])
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusCreated, map[string]any{"id": run.ID, "run_number": run.Number, "jobs": []string{}})
}

// newest is the run that was just made; the tests start one at a time.
func (d *Double) newest(r *http.Request, repo string) (giteaRun, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, d.f.URL+repo+"/actions/runs", nil)
	if err != nil {
		return giteaRun{}, err
	}
	req.Header.Set("Authorization", r.Header.Get("Authorization"))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return giteaRun{}, err
	}
	defer res.Body.Close()
	var list struct {
		Runs []giteaRun `json:"workflow_runs"`
	}
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		return giteaRun{}, err
	}
	if len(list.Runs) == 0 {
		return giteaRun{}, errors.New("a dispatch without a run")
	}
	return slices.MaxFunc(list.Runs, func(a, b giteaRun) int { return int(a.ID - b.ID) }), nil
}

// change makes Forgejo's answer of one of Gitea's.
func (d *Double) change(res *http.Response) error {
	path := res.Request.URL.Path
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	res.Body.Close()
	switch {
	case path == "/api/v1/version":
		body = encode(map[string]string{"version": "12.0.1+gitea-1.22.0"})
	case res.Request.Method == http.MethodPut && strings.Contains(path, "/contents/") && res.StatusCode == http.StatusUnprocessableEntity && bytes.Contains(body, []byte("sha does not match")):
		res.StatusCode, res.Status = http.StatusConflict, "409 Conflict"
	case res.StatusCode != http.StatusOK:
	case strings.HasSuffix(path, "/actions/runs"):
		body, err = d.runs(body, res.Request.URL.Query())
	case aRun.MatchString(path):
		var run giteaRun
		if err = json.Unmarshal(body, &run); err == nil {
			body = encode(run.forgejo())
		}
	case strings.HasSuffix(path, "/push_mirrors"):
		var list []map[string]any
		if err = json.Unmarshal(body, &list); err == nil {
			for _, m := range list {
				m["public_key"], m["branch_filter"] = "", d.Filter
			}
			body = encode(list)
		}
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return err
}

func (d *Double) runs(body []byte, query url.Values) ([]byte, error) {
	var list struct {
		Runs []giteaRun `json:"workflow_runs"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, run := range list.Runs {
		file, ref, _ := strings.Cut(run.Path, "@")
		if only := query.Get("workflow_id"); only != "" && only != file {
			continue
		}
		if only := query.Get("ref"); only != "" && only != ref {
			continue
		}
		out = append(out, run.forgejo())
	}
	return encode(map[string]any{"total_count": len(out), "workflow_runs": out}), nil
}

type giteaRun struct {
	ID         int64  `json:"id"`
	Number     int64  `json:"run_number"`
	Path       string `json:"path"`
	Event      string `json:"event"`
	HeadSHA    string `json:"head_sha"`
	Status     string `json:"status"`
	Conclusion string `json:"conclusion"`
	HTMLURL    string `json:"html_url"`
}

func (g giteaRun) forgejo() map[string]any {
	status := map[string]string{"queued": "waiting", "waiting": "blocked", "in_progress": "running", "completed": g.Conclusion}[g.Status]
	if status == "" {
		status = "unknown"
	}
	file, ref, _ := strings.Cut(g.Path, "@")
	return map[string]any{
		"id": g.ID, "index_in_repo": g.Number, "workflow_id": file, "prettyref": strings.TrimPrefix(ref, "refs/heads/"), "commit_sha": g.HeadSHA,
		"event": g.Event, "trigger_event": g.Event, "status": status, "html_url": g.HTMLURL,
	}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // of maps and texts
	}
	return data
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(encode(v)) //nolint:errcheck // whoever asked may be gone
}

func copyAnswer(w http.ResponseWriter, res *http.Response, body []byte) {
	for name, values := range res.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(res.StatusCode)
	w.Write(body) //nolint:errcheck // whoever asked may be gone
}
