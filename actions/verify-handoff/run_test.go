package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/handoff"
	"edge-actions/internal/testing/jobtest"

	"golang.org/x/crypto/ssh"
)

// job is a job in the checkout of a runtime repository, to which a signed handoff
// was delivered.
type job struct {
	*jobtest.Job
	t      *testing.T
	signer ssh.Signer
}

func signer(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func line(s ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func newJob(t *testing.T) *job {
	t.Helper()
	j := &job{Job: jobtest.New(t, metadata, run), t: t, signer: signer(t)}
	j.Inputs["repository"], j.Inputs["allowed_signers"], j.Inputs["seen_dir"] = "example/infra", line(j.signer), filepath.Join(j.Home, "seen")
	j.deliver(7, "lineage-1", time.Now(), j.signer)
	return j
}

// deliver puts a handoff and its signature into the checkout.
func (j *job) deliver(serial int64, lineage string, created time.Time, by ssh.Signer) {
	j.t.Helper()
	mapping, err := handoff.ParseMapping("", "edge_nodes")
	if err != nil {
		j.t.Fatal(err)
	}
	outputs := `{"edge_nodes": {"sensitive": false, "type": "dynamic", "value": [{"name": "edge-1", "instance_id": "ocid1.instance.oc1..a", "private_ip": "10.0.0.1"}]}}`
	doc, err := handoff.Build([]byte(outputs), mapping, handoff.Context{
		Repository: "example/infra", Commit: strings.Repeat("a", 40), RunID: "1", RunAttempt: "1", StateLineage: lineage, StateSerial: serial, Created: created,
	})
	if err != nil {
		j.t.Fatal(err)
	}
	dir := filepath.Join(j.Workspace, "handoff")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		j.t.Fatal(err)
	}
	if _, err := doc.Write(dir, by); err != nil {
		j.t.Fatal(err)
	}
}

func (j *job) path() string { return filepath.Join(j.Workspace, "handoff", "handoff.json") }

// first has the first handoff accepted, once.
func (j *job) first() {
	j.t.Helper()
	j.Inputs["accept"] = "new"
	j.Do().Want("", "handoff-serial=unproven (waived)")
	j.Inputs["accept"] = ""
}

func TestDelivered(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	r := j.Do()
	r.Want("", "handoff-serial=unproven")
	r.Says("accept: new once")
	if r.Outputs["handoff_path"] != "" || r.Outputs["matrix"] != "" {
		t.Errorf("outputs of what is not proven: %v", r.Outputs)
	}
	j.first()
	r = j.Do()
	r.Want("")
	data, err := os.ReadFile(j.path())
	if err != nil {
		t.Fatal(err)
	}
	if r.Outputs["handoff_path"] != j.path() || r.Outputs["handoff_sha256"] != fmt.Sprintf("%x", sha256.Sum256(data)) || r.Outputs["state_serial"] != "7" || r.Outputs["node_count"] != "1" || !strings.Contains(r.Outputs["matrix"], `"edge-1"`) {
		t.Errorf("%v", r.Outputs)
	}
	j.deliver(8, "lineage-1", time.Now(), j.signer)
	j.Do().Want("")
	j.deliver(7, "lineage-1", time.Now(), j.signer)
	j.Do().Want("", "handoff-serial=disproven")
	// Once more, after an override: from then on the older one is the last.
	j.Inputs["accept"] = "serial"
	j.Do().Want("", "handoff-serial=disproven (waived)")
	j.Inputs["accept"] = ""
	j.Do().Want("")
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		do   func(*job)
		want string
		says string
	}{
		"another signer":       {func(j *job) { j.deliver(7, "lineage-1", time.Now(), signer(j.t)) }, "signature=disproven", "signed by a known key"},
		"no signature":         {func(j *job) { os.Remove(j.path() + ".sig") }, "handoff=unproven", "nobody vouches for it"},
		"a changed document":   {func(j *job) { j.edit("10.0.0.1", "10.0.0.2") }, "signature=disproven", "does not fit"},
		"another digest":       {func(j *job) { j.Inputs["handoff_sha256"] = strings.Repeat("0", 64) }, "handoff=disproven", "another document"},
		"too old":              {func(j *job) { j.deliver(7, "lineage-1", time.Now().Add(-800*time.Hour), j.signer) }, "handoff-age=disproven", "delivers a new one"},
		"from the future":      {func(j *job) { j.deliver(7, "lineage-1", time.Now().Add(time.Hour), j.signer) }, "handoff-age=disproven", "in the future"},
		"another repository":   {func(j *job) { j.Inputs["repository"] = "example/other"; j.Inputs["accept"] = "new" }, "handoff-serial=unproven (waived), handoff-source=disproven", "example/infra"},
		"another lineage":      {func(j *job) { j.deliver(9, "lineage-2", time.Now(), j.signer) }, "handoff-lineage=disproven", "another state"},
		"a record that is cut": {func(j *job) { j.record("{") }, "handoff-serial=unproven", "no record"},
		"a record of another": {func(j *job) {
			j.record(`{"schema":"edge-actions/handoff-seen/v1","repository":"x/y","state_lineage":"lineage-1"}`)
		}, "handoff-serial=unproven", "no record"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.first()
			before := j.seen()
			tt.do(j)
			r := j.Do()
			r.Want("", strings.Split(tt.want, ", ")...)
			r.Says(tt.says)
			if after := j.seen(); after != before && !strings.HasPrefix(name, "a record") {
				t.Errorf("remembered: %s", after)
			}
		})
	}
}

func (j *job) edit(old, new string) {
	j.t.Helper()
	data, err := os.ReadFile(j.path())
	if err != nil || !strings.Contains(string(data), old) {
		j.t.Fatal(err)
	}
	if err := os.WriteFile(j.path(), []byte(strings.ReplaceAll(string(data), old, new)), 0o600); err != nil {
		j.t.Fatal(err)
	}
}

func (j *job) record(text string) {
	j.t.Helper()
	files, err := filepath.Glob(filepath.Join(j.Inputs["seen_dir"], "*"))
	if err != nil || len(files) != 1 {
		j.t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte(text), 0o600); err != nil {
		j.t.Fatal(err)
	}
}

func (j *job) seen() string {
	files, _ := filepath.Glob(filepath.Join(j.Inputs["seen_dir"], "*"))
	var all []string
	for _, f := range files {
		data, _ := os.ReadFile(f)
		all = append(all, string(data))
	}
	return strings.Join(all, "\n")
}

func TestSigners(t *testing.T) {
	t.Parallel()
	day := func(d time.Duration) string { return time.Now().UTC().Add(d).Format("20060102") + "Z" }
	for name, tt := range map[string]struct {
		line func(key string) string
		want string
	}{
		"a .pub file":        {func(k string) string { return k + " infra@runner" }, ""},
		"with a principal":   {func(k string) string { return "# the stack\ninfra@runner " + k }, ""},
		"for handoffs":       {func(k string) string { return `infra@runner namespaces="git,edge-actions-*" ` + k }, ""},
		"for something else": {func(k string) string { return `infra@runner namespaces="git" ` + k }, "no key for handoffs"},
		"valid now": {func(k string) string {
			return `infra@runner valid-after="` + day(-48*time.Hour) + `",valid-before="` + day(48*time.Hour) + `" ` + k
		}, ""},
		"not yet valid":       {func(k string) string { return `infra@runner valid-after="` + day(48*time.Hour) + `" ` + k }, "valid now"},
		"no longer valid":     {func(k string) string { return `infra@runner valid-before="` + day(-48*time.Hour) + `" ` + k }, "valid now"},
		"an authority":        {func(k string) string { return "*@infra cert-authority " + k }, "cert-authority"},
		"a time that is none": {func(k string) string { return `x valid-before="soon" ` + k }, "YYYYMMDD"},
		"no key":              {func(string) string { return "infra@runner ssh-ed25519 nonsense" }, "no public key"},
		"only a comment":      {func(string) string { return "# nobody" }, "no key for handoffs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.Inputs["allowed_signers"], j.Inputs["accept"] = tt.line(line(j.signer)), "new"
			r := j.Do()
			if tt.want == "" {
				r.Want("", "handoff-serial=unproven (waived)")
				return
			}
			if r.Outputs["failure_reason"] != "input-allowed_signers" {
				t.Errorf("%v", r.Outputs)
			}
			r.Says(tt.want)
		})
	}
}

func TestWrongInputs(t *testing.T) {
	jobtest.RefusesEach(t, func(t *testing.T) *jobtest.Job { return newJob(t).Job }, []jobtest.Wrong{
		{Input: "handoff", Value: "nowhere.json", Wanted: "a file in the checkout"},
		{Input: "handoff_sha256", Value: "abc", Wanted: "64 lower-case hex digits"},
		{Input: "allowed_signers", Value: "x", Wanted: "public SSH keys"},
		{Input: "allowed_signers", Value: "", Wanted: "a value"},
		{Input: "repository", Value: "infra", Wanted: "owner/name"},
		{Input: "max_age", Value: "30d", Wanted: "with its unit"},
		{Input: "max_skew", Value: "2h", Wanted: "a time from"},
		{Input: "seen_dir", Value: "seen", Wanted: "an absolute path that outlives the job"},
		{Input: "accept", Value: "everything", Wanted: "some of new, serial, lineage"},
	})
}

// A document with another form, well signed.
func TestAnotherForm(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.first()
	data, err := os.ReadFile(j.path())
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	doc["nodes"] = []any{}
	if data, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	sig, err := handoff.Sign(data, j.signer)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{j.path(): data, j.path() + ".sig": sig} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j.Do().Want("", "schema=disproven")
}
