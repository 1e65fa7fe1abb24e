package stack_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/runnertest"
)

// The actions are built once and run as a runner runs them: as processes,
// with a terminal, in a group that can be killed. The double of a provider is
// beside them.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "stack-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		for module, args := range map[string][]string{
			".":                      {"../../actions/tofu-plan-with-state-backup", "../../actions/tofu-apply", "../../actions/tofu-state-restore"},
			"../testing/outsidetest": {"."},
		} {
			cmd := exec.Command("go", append([]string{"build", "-o", dir + "/"}, args...)...)
			cmd.Dir = module
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "building %q: %v\n%s", args, err, out)
				return 1
			}
		}
		binaries = dir
		return m.Run()
	}())
}

// rig is a runner with a checkout, a place for the state, a place off the
// machine and a key.
type rig struct {
	*runnertest.Runner
	t                      *testing.T
	state, off, key, stack string
	inputs                 map[string]string // of both actions
	env                    map[string]string // of each step
}

const stackName = "edge"

func newRig(t *testing.T, config string) *rig {
	t.Helper()
	realtools.Path(t, "tofu")
	r := &rig{Runner: runnertest.New(t), t: t}
	base := t.TempDir()
	r.state, r.off, r.key = filepath.Join(base, "state", "edge.tfstate"), filepath.Join(base, "off"), filepath.Join(base, "key.txt")
	r.stack = filepath.Join(r.Home, ".local/state/edge-actions/stacks", stackName)
	for _, dir := range []string{filepath.Dir(r.state), r.off} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	realtools.Output(t, "age-keygen", "-o", r.key)
	r.inputs = map[string]string{
		"path": "infra", "stack": stackName, "backend_config": "path=" + r.state, "offsite": r.off, "lock_timeout": "3s",
		"age_recipients": strings.TrimSpace(realtools.Output(t, "age-keygen", "-y", r.key)),
	}
	r.env = map[string]string{}
	delete(r.Env, "TF_CLI_CONFIG_FILE")
	r.config(config)
	return r
}

// config puts the configuration into the checkout, formatted as the real tool
// wants it.
func (r *rig) config(hcl string) {
	r.t.Helper()
	path := filepath.Join(r.Workspace, "infra", "main.tf")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("terraform {\n  backend \"local\" {}\n}\n"+hcl), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.tofu("fmt", path)
}

// tofu runs the real tool as somebody beside the actions would.
func (r *rig) tofu(args ...string) string {
	r.t.Helper()
	cmd := r.tofuCmd(args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("tofu %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (r *rig) tofuCmd(args ...string) *exec.Cmd {
	cmd := exec.Command(realtools.Path(r.t, "tofu"), args...)
	cmd.Dir = filepath.Join(r.Workspace, "infra")
	cmd.Env = realtools.Environ("TF_DATA_DIR="+filepath.Join(r.stack, "tofu"), "CHECKPOINT_DISABLE=1")
	return cmd
}

func (r *rig) step(action string, more ...map[string]string) *runnertest.Step {
	inputs := maps.Clone(r.inputs)
	for _, m := range more {
		maps.Copy(inputs, m)
	}
	s := r.Step([]string{filepath.Join(binaries, action)}, inputs)
	maps.Copy(s.Env, r.env)
	return s
}

func (r *rig) plan(more ...map[string]string) *runnertest.Result {
	r.t.Helper()
	return r.step("tofu-plan-with-state-backup", more...).Run()
}

// mustPlan plans and returns what the apply step is given.
func (r *rig) mustPlan(more ...map[string]string) map[string]string {
	r.t.Helper()
	res := r.plan(more...)
	if !res.Green() {
		r.t.Fatalf("the plan is red:\n%s", res.Log)
	}
	return handOver(res)
}

func handOver(plan *runnertest.Result) map[string]string {
	return map[string]string{
		"plan_path": plan.Outputs["plan_path"], "receipt_path": plan.Outputs["receipt_path"], "receipt_sha256": plan.Outputs["receipt_sha256"],
	}
}

func (r *rig) apply(planned map[string]string, more ...map[string]string) *runnertest.Result {
	r.t.Helper()
	return r.step("tofu-apply", append([]map[string]string{planned}, more...)...).Run()
}

// applied brings the stack up from nothing.
func (r *rig) applied() {
	r.t.Helper()
	if res := r.apply(r.mustPlan(map[string]string{"accept_state": "new"})); !res.Green() {
		r.t.Fatalf("the first apply is red:\n%s", res.Log)
	}
}

// wantRed fails unless the step is red for the reason.
func (r *rig) wantRed(res *runnertest.Result, reason string) {
	r.t.Helper()
	if res.Green() || res.Outputs["failure_reason"] != reason {
		r.t.Fatalf("wanted red for %q, got exit code %d for %q:\n%s", reason, res.ExitCode, res.Outputs["failure_reason"], res.Log)
	}
}

func (r *rig) wantGreen(res *runnertest.Result) {
	r.t.Helper()
	if !res.Green() {
		r.t.Fatalf("wanted green, got exit code %d for %q:\n%s", res.ExitCode, res.Outputs["failure_reason"], res.Log)
	}
}

// readState returns the bytes of the state.
func (r *rig) readState() string {
	r.t.Helper()
	data, err := os.ReadFile(r.state)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

func (r *rig) writeState(s string) {
	r.t.Helper()
	if err := os.WriteFile(r.state, []byte(s), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// open opens an archive with age and zstd alone.
func (r *rig) open(dir string) string {
	r.t.Helper()
	return realtools.Output(r.t, "bash", "-c", `set -o pipefail; age -d -i "$1" "$2" | zstd -d`, "-", r.key, filepath.Join(dir, "state.tfstate.zst.age"))
}

// archives returns the directories of the archives in a place.
func (r *rig) archives(root string) []string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "2*"))
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// gate is where a program waits until the test has seen what it came for: a
// wait by the clock is too short on a busy machine and too long on an idle one.
type gate struct{ path string }

func newGate(t *testing.T) gate {
	t.Helper()
	g := gate{filepath.Join(t.TempDir(), "open")}
	t.Cleanup(g.shut)
	return g
}

// wait is a shell command that goes on when the gate is open, or the test gone.
func (g gate) wait() string {
	return fmt.Sprintf("while [ ! -e %s ] && [ -d %s ]; do sleep 0.02; done", g.path, filepath.Dir(g.path))
}

func (g gate) open(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(g.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g gate) shut() { os.Remove(g.path) }

// smallDisk mounts a file system of the given size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	realtools.Output(t, "mount", "-t", "tmpfs", "-o", "mode=0700,size="+size, "small", dir)
	t.Cleanup(func() { realtools.Output(t, "umount", "-l", dir) })
	return dir
}
