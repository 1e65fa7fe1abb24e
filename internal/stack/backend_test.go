package stack_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// stateServer is the other end of OpenTofu's http backend: a state, and a lock
// that is respected.
type stateServer struct {
	mu          sync.Mutex
	state, lock []byte
}

func (s *stateServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	switch r.Method {
	case "LOCK":
		if s.lock != nil {
			w.WriteHeader(http.StatusLocked)
			w.Write(s.lock)
			return
		}
		s.lock = body
	case "UNLOCK":
		s.lock = nil
	case http.MethodGet:
		if s.state == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Write(s.state)
	case http.MethodPost:
		s.state = body
	}
}

// A state in another backend is read with state pull and archived without ever
// being on the disk in clear.
func TestHTTPBackend(t *testing.T) {
	t.Parallel()
	server := &stateServer{}
	h := httptest.NewServer(server)
	defer h.Close()
	const secret = "hunter2-c0rrect-horse"
	r := newRig(t, "")
	r.inputs["backend_config"] = fmt.Sprintf("address=%s/state\nlock_address=%s/state\nunlock_address=%s/state\nretry_max=0", h.URL, h.URL, h.URL)
	config := func(hcl string) {
		r.config(hcl)
		path := filepath.Join(r.Workspace, "infra", "main.tf")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(data), `backend "local"`, `backend "http"`, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	config(strings.Replace(two, "output", "resource \"terraform_data\" \"s\" {\n  input = sensitive(\""+secret+"\")\n}\noutput", 1))
	r.wantRed(r.plan(), "state-new")
	r.wantGreen(r.apply(r.mustPlan(map[string]string{"accept_state": "new"})))
	res := r.plan()
	r.wantGreen(res)
	if got := r.open(res.Outputs["offsite_path"]); !strings.Contains(got, `"lineage":"`+res.Outputs["state_lineage"]+`"`) {
		t.Errorf("the archive is not the state:\n%.300s", got)
	}
	os.Remove(filepath.Join(r.Workspace, "infra", "main.tf")) // has it in clear
	if files := r.FilesWith(secret); len(files) > 0 {
		t.Errorf("the state was left in clear in %q", files)
	}
	// The same serial with other contents, which OpenTofu would accept.
	config(strings.Replace(two, `"one"`, `"uno"`, 1))
	planned := r.mustPlan()
	server.mu.Lock()
	server.state = []byte(strings.Replace(string(server.state), `"two"`, `"owt"`, 1))
	server.mu.Unlock()
	r.wantRed(r.apply(planned), "state-moved")
	r.wantRed(r.plan(), "state-forked")
	// Gone altogether.
	server.mu.Lock()
	server.state = nil
	server.mu.Unlock()
	r.wantRed(r.plan(), "state-vanished")
	// And a backend that does not answer is no lost state.
	h.Close()
	if res := r.plan(); res.Green() || strings.Contains(res.Log, "state-vanished") {
		t.Errorf("a server that is down:\n%s", res.Log)
	}
}

// encryption has the cheapest key that OpenTofu makes.
const encryption = `key_provider "pbkdf2" "k" {
  iterations    = 200000
  hash_function = "sha256"
  passphrase    = "correct-horse-battery-staple"
}
method "aes_gcm" "m" {
  keys = key_provider.pbkdf2.k
}
state {
  method   = method.aes_gcm.m
  enforced = true
}
plan {
  method   = method.aes_gcm.m
  enforced = true
}
`

// With OpenTofu's own encryption, state and plan are JSON that says little; the
// archive keeps the bytes as they are.
func TestEncryptedStateAndPlan(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	r.Env["TF_ENCRYPTION"] = encryption
	r.applied()
	if !strings.Contains(r.readState(), "encrypted_data") || strings.Contains(r.readState(), "terraform_data") {
		t.Fatalf("the state is not encrypted:\n%.300s", r.readState())
	}
	r.config(strings.Replace(two, `"one"`, `"uno"`, 1))
	plan := r.plan()
	r.wantGreen(plan)
	if plan.Outputs["to_change"] != "1" || r.open(plan.Outputs["offsite_path"]) != r.readState() {
		t.Errorf("%v", plan.Outputs)
	}
	if data, err := os.ReadFile(plan.Outputs["plan_path"]); err != nil || !strings.HasPrefix(string(data), "{") {
		t.Errorf("the plan is not encrypted (%v)", err)
	}
	res := r.apply(handOver(plan))
	r.wantGreen(res)
	if r.open(res.Outputs["backup_path"]) != r.readState() {
		t.Error("the archive is not the state")
	}
	os.Remove(r.state)
	r.wantRed(r.plan(), "state-vanished")
}

// What a tool inherits is chosen: nothing of the job's and nothing that would
// change what it does.
func TestEnvironmentOfTofu(t *testing.T) {
	t.Parallel()
	r := newRig(t, two)
	dump := filepath.Join(t.TempDir(), "env")
	r.wrapTofu("env >>" + dump + "\nif [ -n \"$GITHUB_OUTPUT\" ]; then echo changes=owned >>\"$GITHUB_OUTPUT\"; fi\nexec \"$real\" \"$@\"\n")
	r.Env["TF_CLI_ARGS"], r.Env["TF_LOG_PATH"], r.Env["MY_SECRET"], r.Env["MY_PROVIDER"] = "-x", "/x", "s", "p"
	r.Env["TF_VAR_x"], r.Env["OCI_REGION"] = "1", "eu"
	planned := r.mustPlan(map[string]string{"accept_state": "new", "pass_env": "MY_PROVIDER"})
	r.wantGreen(r.apply(planned, map[string]string{"pass_env": "MY_PROVIDER"}))
	data, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		name, _, _ := strings.Cut(line, "=")
		for _, prefix := range []string{"GITHUB_", "RUNNER_", "INPUT_", "TF_CLI_ARGS", "TF_LOG", "MY_SECRET", "ACTIONS_", "FORGEJO_"} {
			if strings.HasPrefix(name, prefix) {
				t.Errorf("tofu was given %s", line)
			}
		}
	}
	for _, want := range []string{"MY_PROVIDER=p", "TF_VAR_x=1", "OCI_REGION=eu", "TF_INPUT=0", "GIT_TERMINAL_PROMPT=0"} {
		if !strings.Contains(string(data), want+"\n") {
			t.Errorf("tofu was not given %s", want)
		}
	}
}
