package delivery

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/testing/realtools"

	"golang.org/x/crypto/ssh"
)

// process is the action that delivers, as a runner starts it: in a process group
// that a cancel kills as a whole.
type process struct {
	*rig
	binary, home string
}

func newProcess(t *testing.T, binary string, forgejo bool) *process {
	t.Helper()
	p := &process{rig: newRig(t, forgejo), binary: binary, home: t.TempDir()}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(p.home, "key"), string(pem.EncodeToMemory(block)))
	put(t, filepath.Join(p.home, "token"), p.token)
	return p
}

// start starts it in a job of its own.
func (p *process) start() (*exec.Cmd, *strings.Builder) {
	p.t.Helper()
	workspace, temp := p.t.TempDir(), p.t.TempDir()
	put(p.t, filepath.Join(workspace, "outputs.json"), `{"edge_nodes": {"sensitive": false, "type": "dynamic", "value": [{"name": "edge-1", "instance_id": "i-1", "private_ip": "10.0.0.1"}]}}`)
	cmd, log := exec.Command(p.binary), &strings.Builder{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = realtools.Environ("HOME="+p.home, "RUNNER_TEMP="+temp, "GITHUB_WORKSPACE="+workspace, "GITHUB_OUTPUT="+filepath.Join(temp, "output"),
		"GITHUB_REPOSITORY="+p.source.Owner+"/"+p.source.Name, "GITHUB_SHA="+p.commit, "GITHUB_RUN_ID=1", "GITHUB_RUN_ATTEMPT=1", "GITHUB_SERVER_URL="+p.url)
	for name, value := range map[string]string{
		"outputs_json": "outputs.json", "state_lineage": "lineage-1", "state_serial": "7", "signing_key": "~/key", "deliver": p.target.Owner + "/" + p.target.Name,
		"deliver_token_file": "~/token", "deliver_workflow": "deploy.yml", "deliver_wait": "1m",
	} {
		cmd.Env = append(cmd.Env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return cmd, log
}

// killAt starts it and kills its process group at one request: before the forge
// has it, or when it is done and the answer is on its way.
func (p *process) killAt(done bool, at func(r *http.Request) bool) {
	p.t.Helper()
	group := make(chan int, 1)
	kill := func(r *http.Request) {
		if !at(r) {
			return
		}
		pid := <-group
		if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
			p.t.Errorf("killing group %d: %v", pid, err)
		}
		panic(http.ErrAbortHandler) // nothing of it arrives
	}
	p.mu.Lock()
	if done {
		p.after = func(r *http.Response) { kill(r.Request) }
	} else {
		p.before = kill
	}
	p.mu.Unlock()
	cmd, log := p.start()
	group <- cmd.Process.Pid
	err := cmd.Wait()
	if err == nil || !strings.Contains(err.Error(), "killed") {
		p.t.Fatalf("it was not killed: %v\n%s", err, log)
	}
	p.mu.Lock()
	p.before, p.after = nil, nil
	p.mu.Unlock()
}

// A delivery whose process group is killed, before each thing that it does and
// after it, is completed by the next run: one commit, one run, a status.
func TestKilled(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "emit-handoff")
	realtools.Output(t, "go", "build", "-o", binary, "../../actions/emit-handoff")
	post := func(part string) func(r *http.Request) bool {
		return func(r *http.Request) bool { return r.Method == http.MethodPost && strings.Contains(r.URL.Path, part) }
	}
	for name, at := range map[string]func(r *http.Request) bool{
		"the commit": post("/contents"), "the start": post("/dispatches"), "the status": post("/statuses/"),
		"the look at the run": func(r *http.Request) bool { return oneRun.MatchString(r.URL.Path) },
	} {
		for _, done := range []bool{false, true} {
			for _, forgejo := range []bool{false, true} {
				if !forgejo && name != "the start" { // the two differ in that alone
					continue
				}
				t.Run(fmt.Sprintf("%s, done %t, Forgejo %t", name, done, forgejo), func(t *testing.T) {
					t.Parallel()
					p := newProcess(t, binary, forgejo)
					p.killAt(done, at)
					cmd, log := p.start()
					if err := cmd.Wait(); err != nil {
						t.Fatalf("the next run: %v\n%s", err, log)
					}
					if _, _, commits := p.there(); commits != 1 {
						t.Errorf("%d commits\n%s", commits, log)
					}
					if n := p.runs(); n != 1 {
						t.Errorf("%d runs\n%s", n, log)
					}
					if state, target := p.state(); state != "success" || target == "" {
						t.Errorf("the status is %q, %q\n%s", state, target, log)
					}
				})
			}
		}
	}
}

// If somebody else starts the workflow in between, nobody can tell the two runs
// apart, and neither is taken for ours.
func TestKilledWithAnotherRun(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "emit-handoff")
	realtools.Output(t, "go", "build", "-o", binary, "../../actions/emit-handoff")
	p := newProcess(t, binary, true)
	p.killAt(true, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/dispatches") })
	d := p.delivery()
	other, err := d.Target.Dispatch(t.Context(), "deploy.yml", "main", nil)
	if err != nil {
		t.Fatal(err)
	}
	cmd, log := p.start()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the next run: %v\n%s", err, log)
	}
	if !strings.Contains(log.String(), "can't be told") || strings.Contains(log.String(), fmt.Sprintf("following run %d", other)) || p.runs() != 3 {
		t.Errorf("%d runs\n%s", p.runs(), log)
	}
}
