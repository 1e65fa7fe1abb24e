package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/handoff"

	"github.com/google/go-cmp/cmp"
)

const lineage = "5d8f7e62-1d1c-0f5b-9a3e-2b7c8d9e0f1a"

// job is a runner's job as far as this action sees it.
type job struct {
	t         *testing.T
	workspace string // the checkout
	temp      string // RUNNER_TEMP
	runner    string // what outlives the job
	inputs    map[string]string
	env       []string
}

// result is what a run leaves behind.
type result struct {
	code    int
	log     string
	outputs map[string]string
	raw     string // the output file as it is
	read    map[string]bool
}

func newJob(t *testing.T) *job {
	t.Helper()
	j := &job{t: t, workspace: t.TempDir(), temp: t.TempDir(), runner: t.TempDir(), inputs: map[string]string{"state_lineage": lineage, "state_serial": "7"}}
	j.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + j.runner, "RUNNER_TEMP=" + j.temp, "GITHUB_WORKSPACE=" + j.workspace,
		"GITHUB_OUTPUT=" + filepath.Join(j.temp, "output"), "GITHUB_STEP_SUMMARY=" + filepath.Join(j.temp, "summary"),
		"GITHUB_REPOSITORY=example/infra", "GITHUB_SHA=" + strings.Repeat("0123456789", 4), "GITHUB_RUN_ID=4711", "GITHUB_RUN_ATTEMPT=2",
		// What a runner's own environment may hold; the first would change what
		// tofu prints and the second would make it read another workspace.
		"TF_CLI_ARGS_output=-raw", "TF_WORKSPACE=other", "SOME_TOKEN=hunter2hunter2",
	}
	for _, name := range []string{"output", "summary"} {
		j.write(filepath.Join(j.temp, name), "")
	}
	return j
}

func (j *job) write(path, text string) string {
	j.t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(j.workspace, path)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		j.t.Fatal(err)
	}
	return path
}

// outputsJSON has the job read the given value of edge_nodes from a file.
func (j *job) outputsJSON(value any) {
	j.t.Helper()
	data, err := json.Marshal(map[string]any{"edge_nodes": map[string]any{"sensitive": false, "type": "dynamic", "value": value}})
	if err != nil {
		j.t.Fatal(err)
	}
	j.inputs["outputs_json"] = filepath.Base(j.write("outputs.json", string(data)))
}

func (j *job) do() result {
	j.t.Helper()
	env := slices.Clone(j.env)
	for name, value := range j.inputs {
		env = append(env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	var log bytes.Buffer
	a, err := action.New(metadata, &log, env)
	if err != nil {
		j.t.Fatal(err)
	}
	r := result{code: a.Do(context.Background(), run), log: log.String(), read: a.Read()}
	data, err := os.ReadFile(filepath.Join(j.temp, "output"))
	if err != nil {
		j.t.Fatal(err)
	}
	r.raw = string(data)
	r.outputs = parseOutputs(j.t, r.raw)
	return r
}

// parseOutputs reads the output file as a runner does: NAME<<DELIMITER, lines,
// DELIMITER.
func parseOutputs(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := 0; i < len(lines) && text != ""; i++ {
		if len(lines[i]) >= 60<<10 {
			t.Fatalf("a line of %d bytes", len(lines[i]))
		}
		name, delimiter, ok := strings.Cut(lines[i], "<<")
		if !ok {
			t.Fatalf("line %d of the output file is no entry: %q", i+1, lines[i])
		}
		var value []string
		for i++; i < len(lines) && lines[i] != delimiter; i++ {
			value = append(value, lines[i])
		}
		out[name] = strings.Join(value, "\n")
	}
	return out
}

func node(i int) map[string]any {
	return map[string]any{"name": fmt.Sprintf("edge-%d", i), "instance_id": fmt.Sprintf("i-%d", i), "private_ip": fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)}
}

func many(n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = node(i)
	}
	return out
}

// The whole way with a real tofu, in a workspace of its own and with a data
// directory outside the checkout.
func TestWithTofu(t *testing.T) {
	tofu, err := exec.LookPath("tofu")
	if err != nil {
		t.Fatal("tofu is not on PATH: install OpenTofu 1.10 or later")
	}
	j := newJob(t)
	stack, data := filepath.Join(j.workspace, "stack"), filepath.Join(j.runner, "data")
	if err := os.Mkdir(stack, 0o700); err != nil {
		t.Fatal(err)
	}
	// The backend block is what makes tofu ask for an initialized data directory.
	j.write("stack/main.tf", `
terraform {
  backend "local" {}
}
resource "terraform_data" "node" {
  input = { id = "ocid1.instance.oc1..aaaa", ip = "10.0.0.11" }
}
output "edge_nodes" {
  value = [{
    name = "edge-1", instance_id = terraform_data.node.output.id
    private_ip = terraform_data.node.output.ip, public_ip = "203.0.113.11"
    region = "eu-frankfurt-1", availability_domain = "Uocm:EU-FRANKFURT-1-AD-1", subnet_id = "subnet-1"
    volume_attachments = [{ attachment_type = "paravirtualized", device = "/dev/oracleoci/oraclevdb" }]
    tags = { workspace = terraform.workspace }
  }]
}
output "admin" {
  value     = "hunter2hunter2"
  sensitive = true
}
`)
	for _, args := range [][]string{{"init", "-input=false"}, {"workspace", "new", "edge"}, {"apply", "-auto-approve", "-input=false"}, {"workspace", "select", "default"}} {
		cmd := exec.Command(tofu, args...)
		cmd.Dir = stack
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + j.runner, "TF_DATA_DIR=" + data}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("tofu %s: %v\n%s", args[0], err, out)
		}
	}
	var state struct {
		Serial  int
		Lineage string
	}
	raw, err := os.ReadFile(filepath.Join(stack, "terraform.tfstate.d", "edge", "terraform.tfstate"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(j.runner, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen, of openssh-client: %v\n%s", err, out)
	}
	dir := filepath.Join(j.runner, "handoffs", "edge")
	maps.Copy(j.inputs, map[string]string{
		"path": "stack", "workspace": "edge", "data_dir": data, "signing_key": key, "handoff_dir": dir,
		"state_lineage": state.Lineage, "state_serial": fmt.Sprint(state.Serial),
	})
	r := j.do()
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s", r.code, r.log)
	}
	want := map[string]string{
		"handoff_path": filepath.Join(dir, "handoff.json"), "signature_path": filepath.Join(dir, "handoff.json.sig"), "node_count": "1",
		"matrix":    "{\"include\":[\n{\"name\":\"edge-1\",\"hostname\":\"edge-1\",\"address\":\"203.0.113.11\"}\n]}",
		"node_name": "edge-1", "hostname": "edge-1", "instance_id": "ocid1.instance.oc1..aaaa", "private_ip": "10.0.0.11", "public_ip": "203.0.113.11",
		"region": "eu-frankfurt-1", "availability_domain": "Uocm:EU-FRANKFURT-1-AD-1", "subnet_id": "subnet-1", "delivered": "", "delivered_commit": "", "run_id": "", "run_url": "", "ssh_host_key": "", "failure_reason": "",
		"report": r.outputs["report"], "handoff_sha256": r.outputs["handoff_sha256"],
	}
	if diff := cmp.Diff(want, r.outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	doc, err := os.ReadFile(r.outputs["handoff_path"])
	if err != nil {
		t.Fatal(err)
	}
	d, err := handoff.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	if d.Nodes[0].Tags["workspace"] != "edge" || d.Context.StateLineage != state.Lineage || d.Context.RunAttempt != "2" {
		t.Errorf("of another workspace or state: %+v", d)
	}
	report, err := os.ReadFile(r.outputs["report"])
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"outputs-clean", "nodes", "written", "signature"} {
		if !strings.Contains(string(report), `"id": "`+id+`"`) {
			t.Errorf("the report has no check %s:\n%s", id, report)
		}
	}
	if all := r.log + r.raw + string(report) + string(doc); strings.Contains(all, "hunter2") {
		t.Errorf("a secret is shown:\n%s", all)
	}
	// Another run has applied since: these are no longer the outputs of the
	// state that this run knows.
	for name, value := range map[string]string{"state_serial": fmt.Sprint(state.Serial + 1), "state_lineage": lineage} {
		keep := j.inputs[name]
		j.inputs[name] = value
		if r := j.do(); r.code != 1 || r.outputs["failure_reason"] != "state-moved" {
			t.Errorf("another %s: exit code %d, %q\n%s", name, r.code, r.outputs["failure_reason"], r.log)
		}
		j.inputs[name] = keep
	}
}

// A thousand nodes leave as a matrix that no runner cuts.
func TestThousand(t *testing.T) {
	j := newJob(t)
	j.outputsJSON(many(1000))
	r := j.do()
	if r.code != 0 || r.outputs["node_count"] != "1000" || r.outputs["node_name"] != "" || r.outputs["private_ip"] != "" {
		t.Fatalf("exit code %d, %s nodes\n%.2000s", r.code, r.outputs["node_count"], r.log)
	}
	var m struct{ Include []map[string]string }
	if err := json.Unmarshal([]byte(r.outputs["matrix"]), &m); err != nil || len(m.Include) != 1000 {
		t.Errorf("a matrix of %d: %v", len(m.Include), err)
	}
}

// Hostile text in the outputs of a stack reaches neither the log as a command
// nor the output file as an entry; a fact with it is refused.
func TestHostile(t *testing.T) {
	for name, text := range map[string]string{
		"a line":               "edge\nevil=1",
		"a set-output":         "x\n::set-output name=matrix::evil",
		"an add-path":          "x\n::add-path::/evil",
		"a set-env":            "::set-env name=PATH::/evil",
		"an expression":        "${{ secrets.X }}",
		"a constant delimiter": "x\n_GitHubActionsFileCommandDelimeter_\nevil<<_GitHubActionsFileCommandDelimeter_\n1\n_GitHubActionsFileCommandDelimeter_",
		"an EOF delimiter":     "x\nEOF\nevil=1",
		"a 70 KB line":         strings.Repeat("a", 70<<10),
		"a carriage return":    "x\r::add-path::/evil",
		"an old command":       "##[add-path]/evil",
	} {
		for _, field := range []string{"name", "hostname", "instance_id", "private_ip", "public_ip", "region", "availability_domain", "subnet_id", "ssh_host_key"} {
			n := node(1)
			n[field] = text
			j := newJob(t)
			j.outputsJSON([]any{n})
			r := j.do()
			if r.code != 1 || r.outputs["failure_reason"] != "malformed-value" {
				t.Errorf("%s in %s: exit code %d, %q", name, field, r.code, r.outputs["failure_reason"])
			}
			harmless(t, name+" in "+field, r)
		}
		// A tag may be almost any text. It is in no output.
		n := node(1)
		n["tags"] = map[string]any{"k": text}
		j := newJob(t)
		j.outputsJSON([]any{n})
		harmless(t, name+" in a tag", j.do())
		// So may a key be that nobody knows.
		n = node(1)
		n[text] = "x"
		j = newJob(t)
		j.outputsJSON(map[string]any{text: n})
		r := j.do()
		if r.code != 1 {
			t.Errorf("%s as a key is accepted", name)
		}
		harmless(t, name+" as a key", r)
	}
	j := newJob(t)
	j.inputs["outputs_json"] = j.write("outputs.json", "{\"edge_nodes\": {\"sensitive\": false, \"value\": [{\"name\": \"\xff\xfe\n::add-path::/evil\"}]}}")
	r := j.do()
	if r.outputs["failure_reason"] != "outputs-json" {
		t.Errorf("invalid UTF-8: %s", r.log)
	}
	harmless(t, "invalid UTF-8", r)
}

var commandLine = regexp.MustCompile(`(?m)^\s*(::|##\[)`)

// harmless holds the log and the output file to what a runner would do with
// them.
func harmless(t *testing.T, name string, r result) {
	t.Helper()
	for got := range r.outputs {
		if !strings.Contains(string(metadata), "steps.run.outputs."+got+" }}") {
			t.Errorf("%s: set an output %q", name, got)
		}
	}
	var token string
	for line := range strings.Lines(r.log) {
		line = strings.TrimRight(line, "\n")
		if len(line) > 8<<10 {
			t.Errorf("%s: a log line of %d bytes", name, len(line))
		}
		if stop, ok := strings.CutPrefix(line, "::stop-commands::"); ok && token == "" {
			token = stop
			continue
		}
		if line == "::"+token+"::" {
			token = ""
			continue
		}
		if commandLine.MatchString(line) || strings.ContainsAny(line, "\r\x1b\x00") {
			t.Errorf("%s: the log has %.200q", name, line)
		}
	}
	if strings.Contains(r.raw, "evil") {
		t.Errorf("%s: the output file has %.500q", name, r.raw)
	}
}

// Without an applied stack, or with a broken one, nothing is handed over.
func TestTofuHasNothing(t *testing.T) {
	if _, err := exec.LookPath("tofu"); err != nil {
		t.Fatal("tofu is not on PATH: install OpenTofu 1.10 or later")
	}
	for name, tt := range map[string]struct{ config, reason string }{
		"not applied": {`output "edge_nodes" { value = [] }`, "state-moved"},
		"broken":      {"terraform {\n  backend \"no_such_backend\" {}\n}\n", "tofu-output"},
	} {
		j := newJob(t)
		j.write("main.tf", tt.config)
		if r := j.do(); r.code != 1 || r.outputs["failure_reason"] != tt.reason || r.outputs["handoff_path"] != "" {
			t.Errorf("%s: exit code %d, %q\n%s", name, r.code, r.outputs["failure_reason"], r.log)
		}
	}
}

// A run that fails leaves the handoff and the signature of the last good one.
func TestFailureKeepsTheLast(t *testing.T) {
	j := newJob(t)
	j.inputs["handoff_dir"] = filepath.Join(j.runner, "handoffs")
	j.outputsJSON(many(2))
	if r := j.do(); r.code != 0 {
		t.Fatal(r.log)
	}
	before, err := os.ReadFile(filepath.Join(j.runner, "handoffs", "handoff.json"))
	if err != nil {
		t.Fatal(err)
	}
	j.write(filepath.Join(j.temp, "output"), "")
	j.outputsJSON([]any{})
	if r := j.do(); r.code != 1 || r.outputs["failure_reason"] != "no-nodes" {
		t.Fatal(r.log)
	}
	after, err := os.ReadFile(filepath.Join(j.runner, "handoffs", "handoff.json"))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the last handoff was changed: %v", err)
	}
}
