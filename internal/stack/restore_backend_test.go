package stack_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// remote is a rig whose state is in the http backend. gate, if set, is asked
// about each write before it is answered.
type remote struct {
	*rig
	server *stateServer
	gate   func(body string) bool
	http   *httptest.Server
}

func newRemote(t *testing.T) *remote {
	r := &remote{rig: newRig(t, ""), server: &stateServer{}}
	r.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPost && r.gate != nil && !r.gate(q.URL.Path) {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		r.server.ServeHTTP(w, q)
	}))
	t.Cleanup(r.http.Close)
	r.inputs["backend_config"] = fmt.Sprintf("address=%[1]s/state\nlock_address=%[1]s/state\nunlock_address=%[1]s/state\nretry_max=0", r.http.URL)
	return r
}

func (r *remote) config(hcl string) {
	r.rig.config(hcl)
	path := filepath.Join(r.Workspace, "infra", "main.tf")
	data, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), `backend "local"`, `backend "http"`, 1)), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *remote) state() string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return string(r.server.state)
}

func (r *remote) set(state string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	if r.server.state = []byte(state); state == "" {
		r.server.state = nil
	}
}

const secretInput = "hunter2-c0rrect-horse"

// twice is rig.twice; the first state has a secret in it.
func (r *remote) twice() (name string) {
	r.t.Helper()
	r.config("resource \"terraform_data\" \"a\" {\n  input = sensitive(\"" + secretInput + "\")\n}\n")
	r.applied()
	name = filepath.Base(last(r.archives(filepath.Join(r.off, stackName))))
	r.config("resource \"terraform_data\" \"a\" {\n  input = \"uno\"\n}\n")
	r.wantGreen(r.apply(r.mustPlan()))
	return name
}

var lineageOf = regexp.MustCompile(`"lineage": ?"([^"]*)"`)

func lineage(state string) string { return lineageOf.FindStringSubmatch(state)[1] }

// restored proves that the first state is there again.
func (r *remote) restored(lin string, above int) {
	r.t.Helper()
	got := r.state()
	if !strings.Contains(got, secretInput) || strings.Contains(got, `"uno"`) || lineage(got) != lin || serial(r.t, got) <= above {
		r.t.Errorf("wanted the first state with lineage %s and a serial above %d:\n%s", lin, above, got)
	}
	if found := r.FilesWith(secretInput); len(found) > 0 {
		r.t.Errorf("in clear in %q", found)
	}
	r.nothingLeft()
}

func TestRestoreToAnotherBackend(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	name := r.twice()
	before := r.state()
	stale := r.mustPlan()
	res := r.restore(name)
	r.wantGreen(res)
	r.restored(lineage(before), serial(t, before))
	if kept := r.open(res.Outputs["backup_path"]); !strings.Contains(kept, `"uno"`) || serial(t, kept) != serial(t, before) || res.Outputs["serial"] != fmt.Sprint(serial(t, r.state())) {
		t.Errorf("%v", res.Outputs)
	}
	r.wantRed(r.apply(stale), "state-moved")
	r.wantGreen(r.plan())

	// There is none any more: OpenTofu would give the pushed state another
	// lineage and the serial 1.
	top, lin := serial(t, r.state()), lineage(before)
	r.set("")
	r.wantRed(r.restore(name), "state-vanished")
	r.wantGreen(r.restore(name, map[string]string{"accept_state": "vanished"}))
	r.restored(lin, top)
	r.wantGreen(r.plan())

	// And over another lineage it would have to be forced.
	top = serial(t, r.state())
	r.set(strings.Replace(r.state(), lin, "11111111-2222-3333-4444-555555555555", 1))
	r.wantRed(r.restore(name), "state-lineage")
	r.wantGreen(r.restore(name, map[string]string{"accept_state": "lineage"}))
	r.restored(lin, top)

	// Held, damaged, and away.
	now := r.state()
	r.server.mu.Lock()
	r.server.lock = []byte(`{"ID":"x","Who":"somebody@else","Operation":"OperationTypeApply"}`)
	r.server.mu.Unlock()
	res = r.restore(name, map[string]string{"lock_timeout": "0s"})
	r.wantRed(res, "restore-failed")
	if !strings.Contains(res.Log, "somebody@else") || r.state() != now {
		t.Errorf("who holds the lock is not shown:\n%s", res.Log)
	}
	r.server.mu.Lock()
	r.server.lock = nil
	r.server.mu.Unlock()
	r.nothingLeft()
	r.set("no state")
	r.wantRed(r.restore(name), "state-unreadable")
	r.http.Close()
	r.wantRed(r.restore(name), "state-unreadable")
}

// A cancel during a push ends the step and not the push; and what ends the
// push too leaves a state that nobody takes for the old one or the new one.
func TestPushKilled(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	name := r.twice()
	before := r.state()
	lin := lineage(before)
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release() // or the server would wait for ever
	posts := make(chan string, 10)
	r.gate = func(path string) bool {
		posts <- path
		<-hold
		return true
	}
	s := r.restoring("restore", name, map[string]string{"lock_timeout": "30s"})
	s.Start()
	<-posts
	s.KillGroup()
	next := r.step("tofu-plan-with-state-backup", map[string]string{"lock_timeout": "30s"})
	next.Start()
	next.WaitLog("is under way: waiting for its end")
	release()
	res := next.Wait()
	r.wantGreen(res)
	if !strings.Contains(res.Log, "which nobody saw end, came to its end") {
		t.Errorf("the push was not found:\n%s", res.Log)
	}
	r.restored(lin, serial(t, before))

	// The backend refuses the second of two pushes: it has made room, and the
	// state is empty. Nobody plans with that; the same restore goes on.
	r.set("")
	n := 0
	r.gate = func(string) bool { n++; return n == 1 }
	res = r.restore(name, map[string]string{"accept_state": "vanished"})
	r.wantRed(res, "restore-failed")
	r.gate = nil
	if strings.Contains(r.state(), secretInput) {
		t.Fatal("this was no failure half-way")
	}
	r.wantRed(r.plan(), "restore-unfinished")
	r.wantGreen(r.restore(name)) // no word of the operator's is needed for that
	r.restored(lin, serial(t, before))

	// The same, killed: the record is there, and says what to do.
	r.set("")
	n = 0
	gone, second := make(chan struct{}), make(chan struct{})
	refuse := sync.OnceFunc(func() { close(gone) })
	defer refuse()
	r.gate = func(string) bool {
		if n++; n == 2 {
			close(second)
			<-gone
			return false
		}
		return true
	}
	s = r.restoring("restore", name, map[string]string{"accept_state": "vanished"})
	s.Start()
	<-second
	s.KillGroup()
	refuse()
	res = r.plan(map[string]string{"lock_timeout": "30s"})
	r.wantRed(res, "restore-unfinished")
	if !strings.Contains(res.Log, "run tofu-state-restore with mode: restore and archive: "+name) {
		t.Errorf("the log does not say the way out:\n%s", res.Log)
	}
	r.gate = nil
	r.wantGreen(r.restore(name))
	r.restored(lin, serial(t, before))
	r.wantGreen(r.plan())
}

// An encrypted state has its serial inside as well: OpenTofu alone can write
// it. It is never in clear on the disk.
func TestRestoreOfAnEncryptedState(t *testing.T) {
	t.Parallel()
	r := newRig(t, "resource \"terraform_data\" \"a\" {\n  input = sensitive(\""+secretInput+"\")\n}\n")
	r.Env["TF_ENCRYPTION"] = encryption
	r.applied()
	name := filepath.Base(last(r.archives(filepath.Join(r.off, stackName))))
	r.config("resource \"terraform_data\" \"a\" {\n  input = \"uno\"\n}\n")
	r.wantGreen(r.apply(r.mustPlan()))
	before := r.readState()
	stale := r.mustPlan()
	res := r.restore(name)
	r.wantGreen(res)
	now := r.readState()
	if !strings.Contains(now, "encrypted_data") || serial(t, now) <= serial(t, before) || lineage(now) != lineage(before) {
		t.Errorf("the state is\n%.300s", now)
	}
	cmd := r.tofuCmd("state", "pull")
	cmd.Env = append(cmd.Env, "TF_ENCRYPTION="+encryption)
	if plain, err := cmd.Output(); err != nil || !strings.Contains(string(plain), secretInput) || serial(t, string(plain)) != serial(t, now) {
		t.Errorf("OpenTofu reads %v\n%s", err, plain)
	}
	if found := r.FilesWith(secretInput); len(found) > 0 {
		t.Errorf("in clear in %q", found)
	}
	r.nothingLeft()
	r.wantRed(r.apply(stale), "state-moved")
	r.wantGreen(r.plan())

	// Without the settings nobody can open it, and nothing is changed.
	r.Env["TF_ENCRYPTION"] = strings.Replace(encryption, "correct-horse", "another-horse", 1)
	r.wantRed(r.restore(name), "state-encrypted")
	if r.readState() != now {
		t.Error("the state was changed")
	}
}
