package delivery

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"edge-actions/internal/forge"
	"edge-actions/internal/handoff"
	"edge-actions/internal/testing/forgetest"

	"golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) { os.Exit(forgetest.Main(m)) }

const workflow = "on:\n  workflow_dispatch:\n    inputs:\n      handoff_sha256:\n        type: string\n      state_serial:\n        type: string\njobs:\n  deploy:\n    runs-on: self-hosted\n    steps:\n      - run: 'true'\n"

// rig is a real Gitea, with what Forgejo answers differently, and a double of the
// one thing that it does not have here: a runner that ends its runs.
type rig struct {
	t        *testing.T
	source   *forgetest.Repo
	target   *forgetest.Repo
	commit   string // of the source
	url      string
	token    string
	signer   ssh.Signer
	journal  *Journal
	mu       sync.Mutex
	status   string                 // of every run
	before   func(r *http.Request)  // the forge has it
	after    func(r *http.Response) // the forge has done it, before the answer arrives
	requests []string
}

func newRig(t *testing.T, forgejo bool) *rig {
	t.Helper()
	f := forgetest.New(t)
	g := &rig{t: t, source: f.Repo(t), target: f.Repo(t), token: f.Token(t, "write:repository"), journal: &Journal{Dir: t.TempDir()}, status: "success"}
	g.commit = g.source.Commit(t, "main", "main.tf", "# a stack")
	g.target.Commit(t, "main", ".gitea/workflows/deploy.yml", workflow)
	upstream := f.URL
	if forgejo {
		upstream = f.Forgejo(t).URL
	}
	to, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ModifyResponse: g.end}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		before := g.before
		g.requests = append(g.requests, r.Method+" "+r.URL.Path)
		g.mu.Unlock()
		if before != nil {
			before(r)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if g.signer, err = ssh.NewSignerFromKey(key); err != nil {
		t.Fatal(err)
	}
	return g
}

var oneRun = regexp.MustCompile(`/actions/runs/[0-9]+$`)

// end has each run be ended as the double of the runner says.
func (g *rig) end(res *http.Response) error {
	g.mu.Lock()
	after := g.after
	g.mu.Unlock()
	if after != nil {
		after(res)
	}
	if !oneRun.MatchString(res.Request.URL.Path) || res.StatusCode != http.StatusOK {
		return nil
	}
	var run map[string]any
	data, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(data, &run)
	}
	if err != nil {
		return err
	}
	g.mu.Lock()
	status := g.status
	g.mu.Unlock()
	if _, gitea := run["conclusion"]; gitea {
		run["status"], run["conclusion"] = "completed", status
	} else {
		run["status"] = status
	}
	data, err = json.Marshal(run)
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	res.Header.Set("Content-Length", strconv.Itoa(len(data)))
	return err
}

// count is how often something was asked for since the last time.
func (g *rig) count(method, part string) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.requests {
		if strings.HasPrefix(r, method+" ") && strings.Contains(r, part) {
			n++
		}
	}
	return n
}

func (g *rig) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests = nil
}

func (g *rig) hook(before func(r *http.Request)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = before
}

// runs counts the runs that the forge has of the target's workflows.
func (g *rig) runs() int {
	g.t.Helper()
	var list struct {
		Runs []struct{ ID int64 } `json:"workflow_runs"`
	}
	forgetest.New(g.t).API(g.t, http.MethodGet, g.target.Path()+"/actions/runs", nil, &list)
	return len(list.Runs)
}

// document is a handoff of one node, by the rig's signer or another.
func (g *rig) document(serial int64, address string, by ssh.Signer) (document, signature []byte) {
	g.t.Helper()
	mapping, err := handoff.ParseMapping("", "edge_nodes")
	if err != nil {
		g.t.Fatal(err)
	}
	outputs := `{"edge_nodes": {"sensitive": false, "type": "dynamic", "value": [{"name": "edge-1", "instance_id": "ocid1.instance.oc1..a", "private_ip": "` + address + `"}]}}`
	doc, err := handoff.Build([]byte(outputs), mapping, handoff.Context{
		Repository: g.source.Owner + "/" + g.source.Name, Commit: g.commit, RunID: "1", RunAttempt: "1", StateLineage: "lineage-1", StateSerial: serial, Created: time.Now(),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	if document, err = doc.Encode(); err != nil {
		g.t.Fatal(err)
	}
	if signature, err = handoff.Sign(document, by); err != nil {
		g.t.Fatal(err)
	}
	return document, signature
}

func (g *rig) delivery() *Delivery {
	g.t.Helper()
	client, err := forge.New(g.url, g.token, forge.Options{Pause: 10 * time.Millisecond, Logf: g.t.Logf})
	if err != nil {
		g.t.Fatal(err)
	}
	d := &Delivery{
		Branch: "main", Path: "handoff/handoff.json", Workflow: "deploy.yml", Signer: g.signer.PublicKey(), Again: time.Hour, Poll: 10 * time.Millisecond, Wait: time.Minute,
		Journal: g.journal, Now: time.Now(), Logf: g.t.Logf,
	}
	if d.Target, err = client.Repo(g.target.Owner, g.target.Name); err != nil {
		g.t.Fatal(err)
	}
	if d.Source, err = client.Repo(g.source.Owner, g.source.Name); err != nil {
		g.t.Fatal(err)
	}
	return d
}

// state is the status on the source's commit.
func (g *rig) state() (state, target string) {
	g.t.Helper()
	var all []struct {
		Context, Status string
		TargetURL       string `json:"target_url"`
	}
	forgetest.New(g.t).API(g.t, http.MethodGet, g.source.Path()+"/commits/"+g.commit+"/statuses", nil, &all)
	if len(all) == 0 {
		return "", ""
	}
	return all[0].Status, all[0].TargetURL
}

// there is what a clone of the target has.
func (g *rig) there() (document, signature string, commits int) {
	g.t.Helper()
	dir := g.target.Clone(g.t)
	read := func(name string) string {
		data, err := os.ReadFile(dir + "/handoff/" + name)
		if err != nil {
			return ""
		}
		return string(data)
	}
	return read("handoff.json"), read("handoff.json.sig"), strings.Count(forgetest.Git(g.t, dir, "log", "--oneline", "--", "handoff"), "\n") + 1
}
