package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/handoff"
	"edge-actions/internal/handoff/schema"
	"edge-actions/internal/testing/realtools"
)

// TestKilledAtEveryBoundary kills the action with SIGKILL at the entry of each
// system call by which it changes something, over a handoff of an earlier run.
// After each, what lies there is a whole document, old or new, and a signature
// is either of that document or not there; and the next run is green.
func TestKilledAtEveryBoundary(t *testing.T) {
	strace := realtools.Path(t, "strace")
	binary := filepath.Join(t.TempDir(), "emit-handoff")
	realtools.Output(t, "go", "build", "-o", binary, ".")
	j := newJob(t)
	key := filepath.Join(j.runner, "key")
	realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	dir := filepath.Join(j.runner, "handoffs")
	j.inputs["signing_key"], j.inputs["handoff_dir"] = key, dir
	pub, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	signers := filepath.Join(j.runner, "allowed_signers")
	if err := os.WriteFile(signers, append([]byte("operator "), pub...), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) ([]byte, error) {
		cmd := exec.Command(strace, append(args, binary)...)
		cmd.Env = append([]string{}, j.env...)
		for name, value := range j.inputs {
			cmd.Env = append(cmd.Env, "INPUT_"+strings.ToUpper(name)+"="+value)
		}
		return cmd.CombinedOutput()
	}
	calls := func() map[string]int {
		trace := filepath.Join(j.runner, "trace")
		if out, err := run("-f", "-qq", "-o", trace, "-e", "trace=renameat,unlinkat,fsync,mkdirat"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for _, name := range []string{"renameat", "unlinkat", "fsync", "mkdirat"} {
			n[name] = strings.Count(string(data), name+"(")
		}
		return n
	}
	nodes := 1
	next := func() {
		nodes++
		j.outputsJSON(many(nodes)) // another document each time
	}
	next()
	const enough = 8
	points := 0
	// strace counts the calls of each thread, so on a busy machine, where the
	// work wanders from one to another, some of the kills hit nothing.
	for round := 0; round < 3 && points < enough; round++ {
		for name, n := range calls() {
			for i := 1; i <= n; i++ {
				next()
				out, err := run("-f", "-qq", "-o", os.DevNull, "-e", "trace="+name, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", name, i))
				var exit *exec.ExitError
				if err == nil {
					continue // one call fewer this time
				}
				if !errors.As(err, &exit) || !strings.Contains(err.Error(), "killed") {
					t.Fatalf("%s %d: %v\n%s", name, i, err, out)
				}
				points++
				doc, err := os.ReadFile(filepath.Join(dir, "handoff.json"))
				if err != nil {
					t.Fatalf("%s %d: %v", name, i, err)
				}
				if err := schema.Validate(doc); err != nil {
					t.Errorf("%s %d: %v", name, i, err)
				}
				sig := filepath.Join(dir, "handoff.json.sig")
				if _, err := os.Stat(sig); err == nil {
					verify := exec.Command("ssh-keygen", "-Y", "verify", "-f", signers, "-I", "operator", "-n", handoff.Namespace, "-s", sig)
					verify.Stdin = strings.NewReader(string(doc))
					if out, err := verify.CombinedOutput(); err != nil {
						t.Errorf("%s %d: a signature of another document: %s", name, i, out)
					}
				}
				if out, err := run("-f", "-qq", "-o", os.DevNull, "-e", "trace=none"); err != nil {
					t.Fatalf("%s %d: the next run: %v\n%s", name, i, err, out)
				}
			}
		}
	}
	if points < enough {
		t.Errorf("only %d points", points)
	}
	t.Logf("killed at %d points", points)
}
