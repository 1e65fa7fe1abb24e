package stacks_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/stacks"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/runnertest"

	"github.com/google/go-cmp/cmp"
)

// The two actions are built once and run as a runner runs them.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "stacks-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		out, err := exec.Command("go", "build", "-o", dir, "../../actions/tofu-plan-with-state-backup", "../../actions/tofu-apply").CombinedOutput()
		if err != nil {
			fmt.Fprintf(os.Stderr, "building the actions: %v\n%s", err, out)
			return 1
		}
		binaries = dir
		return m.Run()
	}())
}

// rig is a runner with a checkout of several stacks under iac.
type rig struct {
	*runnertest.Runner
	t          *testing.T
	state, off string
	inputs     map[string]string // of both actions
	planned    map[string]string // of the plan alone
}

// four is a diamond: net, then app and db, then web.
var four = map[string]string{
	"net": `id = "net"`,
	"app": "id = \"app\"\n  after = [\"/net\"]",
	"db":  "id = \"db\"\n  after = [\"/net\"]\n  before = [\"tag:last\"]",
	"web": "id = \"web\"\n  tags = [\"last\"]\n  after = [\"../app\"]",
}

func newRig(t *testing.T, blocks map[string]string) *rig {
	t.Helper()
	realtools.Path(t, "tofu")
	r := &rig{Runner: runnertest.New(t), t: t}
	base := t.TempDir()
	r.state, r.off = filepath.Join(base, "state"), filepath.Join(base, "off")
	for _, dir := range []string{r.state, r.off} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	key := filepath.Join(base, "key.txt")
	realtools.Output(t, "age-keygen", "-o", key)
	r.inputs = map[string]string{
		"path": "iac", "backend_config": "path=" + r.state + "/{stack}.tfstate", "offsite": r.off, "lock_timeout": "20s", "stacks_at_once": "2",
		"age_recipients": strings.TrimSpace(realtools.Output(t, "age-keygen", "-y", key)),
	}
	r.planned = map[string]string{"stacks": "terramate", "fmt": "false", "validate": "false"}
	delete(r.Env, "TF_CLI_CONFIG_FILE")
	for path := range blocks {
		r.config(path, "resource \"terraform_data\" \"a\" {\n input = \""+path+"\"\n}\n")
	}
	r.blocks(blocks)
	return r
}

func (r *rig) blocks(blocks map[string]string) {
	r.t.Helper()
	for path, attributes := range blocks {
		r.write(path+"/stack.tm.hcl", "stack {\n  "+attributes+"\n}\n")
	}
}

func (r *rig) write(path, text string) {
	r.t.Helper()
	path = filepath.Join(r.Workspace, "iac", path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) config(path, hcl string) {
	r.t.Helper()
	r.write(path+"/main.tf", "terraform {\n backend \"local\" {}\n}\n"+hcl)
}

func (r *rig) step(action string, more ...map[string]string) *runnertest.Step {
	inputs := maps.Clone(r.inputs)
	if action == "tofu-plan-with-state-backup" {
		maps.Copy(inputs, r.planned)
	}
	for _, m := range more {
		maps.Copy(inputs, m)
	}
	return r.Step([]string{filepath.Join(binaries, action)}, inputs)
}

func (r *rig) plan(more ...map[string]string) *runnertest.Result {
	r.t.Helper()
	return r.step("tofu-plan-with-state-backup", more...).Run()
}

func (r *rig) apply(plan *runnertest.Result, more ...map[string]string) *runnertest.Result {
	r.t.Helper()
	return r.step("tofu-apply", append([]map[string]string{{"receipts": plan.Outputs["stacks"]}}, more...)...).Run()
}

// applied brings all stacks up from nothing.
func (r *rig) applied() {
	r.t.Helper()
	plan := r.plan(fresh)
	r.wantGreen(plan)
	r.wantGreen(r.apply(plan))
}

var fresh = map[string]string{"accept_state": "new"}

func (r *rig) wantGreen(res *runnertest.Result) {
	r.t.Helper()
	if !res.Green() {
		r.t.Fatalf("wanted green, got exit code %d for %q:\n%s", res.ExitCode, res.Outputs["failure_reason"], res.Log)
	}
}

func (r *rig) wantRed(res *runnertest.Result, reason string) {
	r.t.Helper()
	if res.Green() || res.Outputs["failure_reason"] != reason {
		r.t.Fatalf("wanted red for %q, got exit code %d for %q:\n%s", reason, res.ExitCode, res.Outputs["failure_reason"], res.Log)
	}
}

// results reads the output stacks, and fails unless its file is the same.
func (r *rig) results(res *runnertest.Result) map[string]*stacks.Result {
	r.t.Helper()
	var list []*stacks.Result
	if err := json.Unmarshal([]byte(res.Outputs["stacks"]), &list); err != nil {
		r.t.Fatalf("the output stacks: %v\n%s", err, res.Log)
	}
	data, err := os.ReadFile(res.Outputs["stacks_path"])
	if err != nil || strings.TrimSpace(string(data)) != res.Outputs["stacks"] {
		r.t.Errorf("stacks_path is another list (%v)", err)
	}
	out := map[string]*stacks.Result{}
	for _, one := range list {
		out[one.Name] = one
	}
	return out
}

// want holds what a run says of each stack: "name verdict reason outcome".
func (r *rig) want(res *runnertest.Result, want ...string) {
	r.t.Helper()
	var list []*stacks.Result
	if err := json.Unmarshal([]byte(res.Outputs["stacks"]), &list); err != nil {
		r.t.Fatalf("the output stacks: %v\n%s", err, res.Log)
	}
	var got []string
	for _, one := range list {
		got = append(got, strings.TrimSpace(strings.Join(strings.Fields(fmt.Sprint(one.Name, " ", one.Verdict, " ", one.FailureReason, " ", one.Outcome)), " ")))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("%s\n%s", diff, res.Log)
	}
}

func (r *rig) readState(name string) string {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.state, name+".tfstate"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

// archives counts the archives of a stack, here and off the machine.
func (r *rig) archives(name string) (here, off int) {
	r.t.Helper()
	for place, n := range map[string]*int{filepath.Join(r.Home, ".local/state/edge-actions/stacks", name, "archives"): &here, filepath.Join(r.off, name): &off} {
		found, err := filepath.Glob(filepath.Join(place, "2*/manifest.json"))
		if err != nil {
			r.t.Fatal(err)
		}
		*n = len(found)
	}
	return here, off
}
