package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"edge-actions/internal/evidence"
	"edge-actions/internal/signature"
	"edge-actions/internal/testing/runnertest"
	"edge-actions/internal/verdict"
)

// TestMain lets this test binary be the action itself, with all that main does.
func TestMain(m *testing.M) {
	if os.Getenv("VERIFY_HANDOFF_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// On a runner with a ledger each run of the action leaves an entry, and a run
// that could leave none is red.
func TestLedger(t *testing.T) {
	t.Parallel()
	r := runnertest.New(t)
	j := newJob(t)
	j.Workspace = r.Workspace
	j.deliver(7, "lineage-1", time.Now(), j.signer)
	key, dir := filepath.Join(r.Home, "key"), filepath.Join(r.Home, "ledger")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	signers, err := signature.ParseSigners(string(public), evidence.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	r.Env[evidence.DirVar], r.Env[evidence.KeyVar], r.Env["RUNNER_NAME"] = dir, key, "mini"
	step := func(accept string) *runnertest.Result {
		inputs := map[string]string{"repository": "example/infra", "allowed_signers": line(j.signer), "seen_dir": filepath.Join(r.Home, "seen"), "accept": accept}
		s := r.Step([]string{os.Args[0]}, inputs)
		s.Env["VERIFY_HANDOFF_TEST_MAIN"] = "1"
		return s.Run()
	}
	var got []evidence.Entry
	read := func() {
		t.Helper()
		got = nil
		if _, err := evidence.Check(t.Context(), dir, signers, evidence.Options{Each: func(e *evidence.Entry) error { got = append(got, *e); return nil }}); err != nil {
			t.Fatal(err)
		}
	}
	red, green := step(""), step("new")
	read()
	if red.Green() || !green.Green() || len(got) != 2 {
		t.Fatalf("green: %v and %v, %d entries; the logs:\n%s\n%s", red.Green(), green.Green(), len(got), red.Log, green.Log)
	}
	for i, want := range []verdict.Verdict{verdict.Unproven, verdict.Proven} {
		e := got[i]
		if e.Report.Verdict != want || e.Report.Action != "verify-handoff" || e.Repository != "operator/infra" || e.Workflow != "runnertest" || e.Job != "job" || e.RunID != "1001" || e.RunNumber != "7" || e.Runner != "mini" || len(e.Commit) != 40 {
			t.Errorf("entry %d: %+v", i+1, e)
		}
	}
	if got[0].Outputs["failure_reason"] != "handoff-serial" || got[1].Outputs["handoff_sha256"] != green.Outputs["handoff_sha256"] || green.Outputs["handoff_sha256"] == "" {
		t.Errorf("outputs %v and %v", got[0].Outputs, got[1].Outputs)
	}
	if by := r.FilesWith(runnertest.Token); len(by) > 0 {
		t.Errorf("the token is in %v", by)
	}
	delete(r.Env, evidence.KeyVar)
	if lost := step("new"); lost.Green() || lost.Outputs["failure_reason"] != "evidence" {
		t.Errorf("evidence that was lost is green: outputs %v, the log:\n%s", lost.Outputs, lost.Log)
	}
	if read(); len(got) != 2 {
		t.Errorf("%d entries", len(got))
	}
}
