package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edge-actions/internal/evidence"
	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) { os.Exit(forgetest.Main(m)) }

// job is a job on a runner that keeps a ledger.
type job struct {
	*jobtest.Job
	t      *testing.T
	ledger *evidence.Ledger
	key    string
}

func newJob(t *testing.T) *job {
	t.Helper()
	j := &job{Job: jobtest.New(t, metadata, run), t: t}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	authorized, err := ssh.NewPublicKey(public)
	must(t, err)
	j.key = filepath.Join(j.Home, "ledger_ed25519")
	j.write(j.key, string(pem.EncodeToMemory(block)))
	j.write(j.key+".pub", string(ssh.MarshalAuthorizedKey(authorized)))
	j.ledger = &evidence.Ledger{Dir: filepath.Join(j.Home, "ledger"), Signer: signer, Wait: 10 * time.Second, Logf: t.Logf}
	j.Env = []string{evidence.DirVar + "=" + j.ledger.Dir, evidence.KeyVar + "=" + j.key, "GITHUB_REPOSITORY=operator/ops", "GITHUB_RUN_ID=7"}
	j.Inputs["expect"] = "node-validate 8d"
	return j
}

// add has an action leave its evidence.
func (j *job) add(action, subject string, checks ...verdict.Check) {
	j.t.Helper()
	r := verdict.Report{Action: action, Subject: subject, Checks: checks, Started: time.Now()}
	r.Finish(time.Now())
	_, err := j.ledger.Append(j.t.Context(), evidence.Entry{Repository: "operator/runtime", Workflow: "validate", Job: "node", RunID: "41", RunNumber: "5", Runner: "mac-mini", Report: r})
	must(j.t, err)
}

func (j *job) write(path, text string) {
	j.t.Helper()
	must(j.t, os.WriteFile(path, []byte(text), 0o600))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

func good() verdict.Check { return verdict.Check{ID: "failed-units", Verdict: verdict.Proven} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
